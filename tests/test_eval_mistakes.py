"""What went wrong: which lesions were missed, which detections are false, and pictures of the very
places."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from gigaslide.eval import EvaluateSettings
from gigaslide.eval.report.drawing import MOST_MARKS, Frame, draw_detections, draw_scale_bar
from gigaslide.wsi import Heatmap, Slide, SlideFrame, heatmap_colours
from PIL import ImageDraw
from predictions import HEIGHT, LESION, WIDTH, Bench, Page
from shapely.geometry import Point, box

SETTINGS = EvaluateSettings(resamples=0, picture_px=300, slide_threshold=0.6)
SECOND, THIRD = box(100, 100, 300, 260), box(620, 470, 880, 690)
RED = (220, 20, 20)


@pytest.fixture
def mistaken(bench: Bench) -> Bench:
    """Of three lesions one is found, one below the threshold, one not at all though the heatmap is
    warm there."""
    bench.slide("t", "tumor", tumor=(LESION, SECOND, THIRD), patient="p")
    probability = np.full((11, 15), 0.1, np.float32)
    probability[8, 12], probability[9, 11] = (
        0.57,
        0.45,
    )  # in the third: cell (8, 12) is x 768..832, y 512..576
    probability[2, 2] = 0.3  # in the second
    points = [(600, 200, 0.9), (200, 150, 0.55), (400, 600, 0.7), (420, 640, 0.4)]
    bench.predict("t", probability=probability, points=points)
    bench.slide("n", "normal", patient="q")
    bench.predict("n", hot=[(3, 10)], points=[(700, 250, 0.95), (96, 608, 0.6), (300, 300, 0.59)])
    return bench


def test_mistakes_are_those_from_the_operating_point_on(mistaken):
    got = mistaken.evaluate(SETTINGS)
    point = mistaken.metrics()["operating_point"]
    counts = ("lesions", "lesions_found", "missed_count", "false_positive_count", "slides")
    assert [point[name] for name in counts] == [3, 1, 2, 3, 2]
    # The tumour slide scores 0.57, its heatmap's highest cell, and is not called; the normal one
    # 0.9.
    calls = ("tumor_slides", "tumor_slides_called", "normal_slides", "normal_slides_called")
    assert [point[name] for name in calls] == [1, 0, 1, 1]
    missed = mistaken.table("missed")
    assert missed["probability"].tolist() == pytest.approx([0.57, 0.3])  # the nearest miss first
    assert missed[["peak_x", "peak_y"]].to_numpy().tolist() == [[800, 544], [160, 160]]
    assert missed["best_probability"].tolist()[1] == 0.55
    assert np.isnan(missed["best_probability"][0])
    assert missed["x_um"].tolist() == pytest.approx((missed["x"] * 2).tolist())
    false = mistaken.table("false_positives")
    assert false[["slide", "x", "y", "probability"]].to_numpy().tolist() == [
        ["n", 700, 250, 0.95],
        ["t", 400, 600, 0.7],
        ["n", 96, 608, 0.6],
    ]
    distance = min(Point(400, 600).distance(one) for one in (LESION, SECOND, THIRD))
    assert false["from_tumor_um"].tolist() == pytest.approx(
        [np.nan, 2 * distance, np.nan], nan_ok=True
    )
    assert false["y_um"].tolist() == [500, 1200, 1216]
    slides = mistaken.table("slides").set_index("slide")
    assert slides.loc["t", "lesions_found_from_threshold"] == 1
    assert slides["false_positives_from_threshold"].tolist() == [1, 2]
    assert (len(got.missed_crops), len(got.false_positive_crops)) == (2, 3)


def test_the_gallery_tells_what_it_leaves_out(mistaken):
    got = mistaken.evaluate(SETTINGS.model_copy(update={"gallery": 1}))
    assert (len(got.missed_crops), len(got.false_positive_crops)) == (1, 1)
    text = Page(mistaken.html()).text
    assert "The first 1 of 3 are pictured; all are in false_positives.csv" in text
    assert "The first 1 of 2 are pictured; all are in missed.csv" in text
    assert len(mistaken.table("false_positives")) == 3


def test_a_slide_is_opened_and_its_heatmap_loaded_once(mistaken, monkeypatch):
    """By scoring, by its picture, by crops of its mistakes, and by the size of a mask."""
    opened, loaded = [], []
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[128:320, 512:768] = 255
    path = mistaken.folder / "mask.tif"
    tifffile.imwrite(path, mask, tile=(128, 128), compression="zlib", metadata=None)
    mistaken.slide("m", "tumor")
    mistaken.rows[2] = replace(mistaken.rows[2], annotation=path)
    mistaken.predict("m", points=[(200, 600, 0.9)])
    mistaken.slide("absent", "normal")
    build, load, read = Slide.__init__, Heatmap.load.__func__, SlideFrame.of_file.__func__

    def count_build(self, path, **options):
        opened.append(path)
        build(self, path, **options)

    def count_load(cls, path):
        loaded.append(path.parent.name)
        return load(cls, path)

    def count_read(cls, path):
        opened.append(path)
        return read(cls, path)

    monkeypatch.setattr(Slide, "__init__", count_build)
    monkeypatch.setattr(Heatmap, "load", classmethod(count_load))
    monkeypatch.setattr(SlideFrame, "of_file", classmethod(count_read))
    got = mistaken.evaluate(SETTINGS.model_copy(update={"official": True, "pn_stages": True}))
    assert (len(got.point.missed), len(got.point.false_positives)) == (3, 4)
    assert sorted(opened) == sorted(row.path for row in mistaken.rows)
    assert loaded == ["t", "n", "m"]


def test_the_gallery_holds_the_first_mistakes_of_all_slides(bench):
    """The most probable stand on the last slide, and of equal ones the first slide's come first."""
    probabilities = {"a": (0.7, 0.95), "b": (0.8, 0.7), "c": (0.99, 0.8)}
    for name, found in probabilities.items():
        bench.slide(name, "normal")
        bench.predict(name, points=[(100 + 50 * i, 600, p) for i, p in enumerate(found)])
    whole = bench.evaluate(SETTINGS)
    assert [(one.slide, one.probability) for one in whole.point.false_positives] == [
        ("c", 0.99),
        ("a", 0.95),
        ("b", 0.8),
        ("c", 0.8),
        ("a", 0.7),
        ("b", 0.7),
    ]
    first = bench.evaluate(SETTINGS.model_copy(update={"gallery": 3}))
    crops = [picture(one.close) for one in first.false_positive_crops]
    for crop, one in zip(crops, whole.false_positive_crops[:3], strict=True):
        assert np.abs(crop - picture(one.close)).mean() < 5


def picture(data: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return found[..., ::-1].astype(float)


def test_crops_show_the_very_place_at_both_scales(mistaken):
    pixels = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
    pixels[240:260, 690:710] = RED  # under the false positive at x 700, y 250
    options = {
        "tile": (256, 256),
        "photometric": "rgb",
        "resolution": (5000, 5000),
        "resolutionunit": "CENTIMETER",
    }
    tifffile.imwrite(mistaken.rows[1].path, pixels, metadata=None, **options)
    crops = mistaken.evaluate(SETTINGS).false_positive_crops[0]
    # The network's px are two of level 0: 320 of them, 1280 µm; from afar the whole slide, no more.
    assert (crops.close_um, crops.wide_um) == (1280, 1800)
    close, wide, heat = (picture(data) for data in (crops.close, crops.wide, crops.heatmap))
    assert close.shape == (320, 320, 3)
    is_red = np.abs(close - RED).max(axis=2) < 60
    assert np.argwhere(is_red).mean(axis=0) == pytest.approx([159.5, 159.5], abs=1)
    assert is_red.sum() == pytest.approx(10 * 10, rel=0.3)
    # The slide is 900 × 700: the square of 900 hangs over by 100 above and below.
    scale = 900 / 256
    at = np.argwhere(np.abs(wide - RED).max(axis=2) < 90).mean(axis=0)
    assert at == pytest.approx([350 / scale - 0.5, 700 / scale - 0.5], abs=1)
    warm, cold = (
        heat[round(300 / scale), round(650 / scale)],
        heat[round(300 / scale), round(580 / scale)],
    )
    for colour, p in ((warm, 0.9), (cold, 0.1)):
        assert np.abs(colour - heatmap_colours(np.array([p]))).max() < 25


def test_a_missed_lesion_is_pictured_where_its_heatmap_is_highest(mistaken):
    crops = mistaken.evaluate(SETTINGS).missed_crops[0]
    # Its close crop is about (800, 544): the lesion's right border, x 880, runs 80 level-0 px or 40
    # px right of the middle, its lower one, y 690, 73 px below.
    close = picture(crops.close)
    is_line = np.abs(close - (0, 60, 170)).max(axis=2) < 70
    assert is_line[160, 195:206].any()
    assert not is_line[160, 100:190].any()
    assert is_line[228:240, 160].any()
    assert not is_line[140:225, 160].any()


def test_detections_alone_have_crops_without_heatmap(mistaken):
    for row, lines in ((mistaken.rows[0], "0.7,400,600\n"), (mistaken.rows[1], "0.9,700,250\n")):
        (mistaken.folder / f"{row.id}.csv").write_text(lines, encoding="utf-8")
    mistaken.predictions = mistaken.folder / "files"
    mistaken.predictions.mkdir()
    for name in ("t", "n"):
        (mistaken.folder / f"{name}.csv").rename(mistaken.predictions / f"{name}.csv")
    got = mistaken.evaluate(SETTINGS)
    assert (len(got.missed_crops), len(got.false_positive_crops)) == (3, 2)
    assert all(one.heatmap is None for one in got.missed_crops + got.false_positive_crops)
    assert mistaken.table("missed")["probability"].isna().all()
    html = mistaken.html()
    text = Page(html).text
    assert "no detection inside" in text
    assert "Truth and detections" in text
    for words in (
        "no score inside",
        "their heatmap",
        "Truth and heatmap",
        'class="bar"',
        'class="hatch"',
    ):
        assert words not in html


def test_a_lesion_found_on_every_slide_is_no_mistake(plain):
    plain.evaluate(SETTINGS)
    assert plain.table("missed").empty
    assert "None: every lesion was found." in Page(plain.html()).text


def test_a_fault_in_drawing_costs_that_picture_only(plain, monkeypatch):
    monkeypatch.setattr("gigaslide.eval.report.pictures.draw_outlines", lambda *_: 1 / 0)
    got = plain.evaluate(SETTINGS)
    assert [isinstance(one, str) for one in got.pictures.values()] == [True, False]
    assert got.figures.countable_lesions == 1
    assert "no picture: division by zero" in Page(plain.html()).text


def test_one_crop_that_fails_costs_no_other_picture_and_says_why(mistaken, monkeypatch):
    made = Slide.read_region

    def spoilt(slide, region, **options):
        if region.x == 700 - 320:
            raise ValueError("a spot of ink")
        return made(slide, region, **options)

    monkeypatch.setattr(Slide, "read_region", spoilt)
    points = [(700, 250, 0.95), (96, 608, 0.6), (5000, 300, 0.99)]  # the last is outside the slide
    mistaken.predict("n", hot=[(3, 10)], points=points)
    got = mistaken.evaluate(SETTINGS)
    false = got.false_positive_crops
    assert len(false) == 4
    assert false[:2] == ("it lies outside the slide (see Cohort and exclusions)", "a spot of ink")
    assert not any(isinstance(one, str) for one in false[2:])
    assert not any(isinstance(one, str) for one in got.pictures.values())
    text = Page(mistaken.html()).text
    assert "No picture: it lies outside the slide (see Cohort and exclusions)." in text
    assert "No picture: a spot of ink." in text


def test_of_many_detections_the_most_probable_in_view_are_marked(mistaken, monkeypatch):
    image = np.full((90, 400, 3), 255, np.uint8)
    x = np.concatenate([np.full(5, 5000.0), np.full(MOST_MARKS, 1100.0), np.full(9, 1300.0)])
    xy = np.stack([x, np.full(len(x), 590.0)], axis=1)
    draw_detections(image, xy, None, Frame(x=1000, y=500, scale=2))
    dark = np.argwhere(image.min(axis=2) < 100)  # about x 50 - 0.5, y 45 - 0.5; nothing about x 150
    assert dark.mean(axis=0) == pytest.approx([44.5, 49.5], abs=1)
    assert np.ptp(dark[:, 1]) < 20
    monkeypatch.setattr("gigaslide.eval.report.drawing.MOST_MARKS", 1)
    mistaken.predict("n", points=[(96, 608, 0.6), (700, 250, 0.95)])
    heat = picture(mistaken.evaluate(SETTINGS).pictures["n"].heatmap)
    assert heat[82:85, 232:235].max(axis=2).min() < 90
    assert heat[195:210, 24:40].max(axis=2).min() > 90


@pytest.mark.parametrize(
    ("pixel_um", "length_px", "words"),
    [(2.0, 50, "100 µm"), (0.5, 40, "20 µm"), (20.0, 50, "1 mm")],
)
def test_a_scale_bar_is_as_long_as_it_says_in_letters_that_its_font_has(
    pixel_um, length_px, words, monkeypatch
):
    written = []

    def text(draw, xy, words, **options):
        written.append(words)
        unknown, *known = (
            bytes(options["font"].getmask(letter)) for letter in ("\ue000", *words.replace(" ", ""))
        )
        assert unknown not in known  # no box in place of a letter

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    image = np.full((200, 230, 3), 120, np.uint8)
    draw_scale_bar(image, pixel_um=pixel_um)
    assert written == [words]
    dark = np.flatnonzero((image[-9] < 60).all(axis=1))
    assert dark[[0, -1]] == pytest.approx((10, 10 + length_px), abs=2)  # its ends are round
