"""Phantom slides: what is written can be opened, is the same every time, and its truth lies where
the tumour is."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import shapely
from gigaslide.cohort import Cohort
from gigaslide.phantom import (
    GRADES,
    Anatomy,
    PhantomSettings,
    PhantomSlide,
    annotate,
    make_cohort,
    make_slide,
    plan_cohort,
    write_cohort,
)
from gigaslide.phantom.anatomy import rasterise
from gigaslide.phantom.lattice import Grid, noise, scatter
from gigaslide.phantom.lesions import grow_lesions
from gigaslide.phantom.painter import Painter
from gigaslide.phantom.pyramid import PyramidSpec, write_pyramid
from gigaslide.storage import SettingsError
from gigaslide.wsi import Annotation
from pydantic import ValidationError
from shapely.geometry import Polygon
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score


def planned(**changes) -> PhantomSlide:
    plan = PhantomSlide(
        slide_id="odd",
        label="tumor",
        patient="p",
        split="train",
        seed=5,
        index=3,
        width_px=1100,
        height_px=700,
        mpp=0.5,
    )
    return replace(plan, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[PhantomSlide, Path]:
    out = tmp_path_factory.mktemp("phantom")
    plan = planned()
    assert make_slide(plan, out)
    return plan, out


def test_openslide_opens_it_with_size_spacing_and_levels(made):
    _, out = made
    with openslide.OpenSlide(out / "slides" / "odd.tif") as slide:
        assert slide.level_dimensions == ((1100, 700), (275, 175))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)
        assert slide.properties["openslide.level[0].tile-width"] == "256"
        assert slide.associated_images == {}


def test_file_holds_what_was_painted_and_its_levels_are_means(made):
    plan, out = made
    painted = Painter(plan).region(x=0, y=0, width=1100, height=700)
    with openslide.OpenSlide(out / "slides" / "odd.tif") as slide:
        full = np.asarray(slide.read_region((0, 0), 0, (1100, 700)).convert("RGB"))
        small = np.asarray(slide.read_region((0, 0), 1, (275, 175)).convert("RGB"))
    assert np.abs(full.astype(int) - painted).mean() < 5
    means = painted.reshape(175, 4, 275, 4, 3).mean(axis=(1, 3))
    error = np.abs(small - means).mean()
    assert error < 2  # grey levels: what JPEG costs
    for axis in (0, 1):
        assert np.abs(np.roll(small, 1, axis=axis) - means).mean() > 1.5 * error


def test_sizes_that_are_no_multiple_of_anything_are_averaged_to_the_last_pixel(tmp_path):
    def paint(*, x: int, y: int, width: int, height: int) -> np.ndarray:
        columns, rows = np.meshgrid(x + np.arange(width), y + np.arange(height))
        return np.stack([columns // 12, rows // 12, 0 * rows + 90], axis=-1).astype(np.uint8)

    spec = PyramidSpec(
        width_px=2310, height_px=1541, mpp=0.37, tile_px=128, jpeg_quality=95, block_px=256
    )
    write_pyramid(tmp_path / "ramp.tif", spec, paint)
    with openslide.OpenSlide(tmp_path / "ramp.tif") as slide:
        assert slide.level_dimensions == ((2310, 1541), (578, 386), (145, 97))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.37, rel=1e-4)
        for level, factor in ((0, 1), (1, 4), (2, 16)):
            width, height = slide.level_dimensions[level]
            seen = np.asarray(
                slide.read_region((0, 0), level, (width, height)).convert("RGB")
            ).astype(float)
            columns, rows = np.meshgrid(
                (np.arange(width) + 0.5) * factor, (np.arange(height) + 0.5) * factor
            )
            assert np.abs(seen[..., 0] - columns / 12).max() < 8
            assert np.abs(seen[..., 1] - rows / 12).max() < 8


def test_same_plan_gives_the_same_bytes_whatever_the_block(made, tmp_path):
    plan, out = made
    make_slide(plan, tmp_path, block_px=256)
    for name in ("slides/odd.tif", "annotations/odd.xml"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_another_index_or_seed_is_another_slide():
    first = Painter(planned()).region(x=400, y=200, width=200, height=100)
    for other in (planned(index=4), planned(seed=6)):
        assert (
            np.abs(
                first.astype(int) - Painter(other).region(x=400, y=200, width=200, height=100)
            ).mean()
            > 3
        )


def test_neighbouring_blocks_agree_on_their_border():
    painter = Painter(planned(width_px=4000, height_px=3000))
    whole = painter.block(x=1024, y=1024, side_px=1024).astype(int)
    for x, y in ((0, 0), (512, 0), (0, 512), (512, 512)):
        quarter = painter.block(x=1024 + x, y=1024 + y, side_px=512)
        difference = np.abs(whole[y : y + 512, x : x + 512] - quarter)
        assert (difference > 2).mean() < 1e-4  # rounding
        assert difference.max() < 12
    assert whole.std() > 10


def test_regions_are_windows_of_one_picture():
    painter = Painter(planned(width_px=4000, height_px=3000))
    wide = painter.region(x=900, y=950, width=400, height=130)
    np.testing.assert_array_equal(
        painter.region(x=1000, y=1000, width=77, height=55), wide[50:105, 100:177]
    )


def test_lattice_values_belong_to_places():
    near = Grid.over(x=-64, y=128, width=256, height=192, step=4)
    far = Grid.over(x=0, y=192, width=96, height=64, step=4)
    inside = noise(7, near, period_px=30.7)[16:32, 16:40]
    np.testing.assert_array_equal(inside, noise(7, far, period_px=30.7))
    wide = noise(7, Grid.over(x=0, y=0, width=40_000, height=20_000, step=40), period_px=90)
    assert abs(wide.mean()) < 0.05
    assert 0.8 < wide.std() < 1.2
    all_points = scatter(3, near, spacing_px=11, margin_px=0, jitter=0.5)
    few_points = scatter(3, far, spacing_px=11, margin_px=0, jitter=0.5)
    known = dict(zip(zip(all_points.x, all_points.y, strict=True), all_points.mark(1), strict=True))
    for x, y, mark in zip(few_points.x, few_points.y, few_points.mark(1), strict=True):
        assert known[x, y] == mark


def test_tumour_is_drawn_inside_its_outline_and_nowhere_else():
    """The same slide with and without tumour differs where the outline says, and only there."""
    plan = planned(width_px=2048, height_px=1100, seed=8)
    painter = Painter(plan)
    lesions = painter.anatomy.lesions
    tumour = painter.region(x=0, y=0, width=2048, height=1100).astype(int)
    normal = Painter(replace(plan, label="normal")).region(x=0, y=0, width=2048, height=1100)
    changed = cv2.blur((np.abs(tumour - normal).max(axis=2) > 25).astype(np.float32), (9, 9)) > 0.2
    outline = shapely.union_all([lesion.polygon for lesion in lesions])
    grid = Grid.over(x=0, y=0, width=2048, height=1100, step=1)
    inside, near = rasterise(outline, grid), rasterise(outline.buffer(60), grid)
    assert 0.01 < inside.mean() < 0.5
    assert changed[inside].mean() > 0.75
    assert changed[~near].mean() < 0.002
    swapped = rasterise(shapely.transform(outline, lambda points: points[:, ::-1]), grid)
    assert changed[swapped].mean() < 0.75


def test_annotation_round_trips_with_its_holes(tmp_path):
    lesions = with_islands()
    annotate(lesions).save(tmp_path / "a.xml")
    loaded = Annotation.load(tmp_path / "a.xml")
    truth = shapely.union_all([lesion.polygon for lesion in lesions])
    assert loaded.tumor.symmetric_difference(truth).area < 1e-3 * truth.area
    assert (
        sum(len(part.interiors) for part in loaded.tumor.geoms)
        == sum(len(lesion.islands) for lesion in lesions)
        > 0
    )
    assert {outline.group for outline in loaded.outlines} <= {"_0", "_1", "_2"}


def with_islands():
    """The lesions of the first slide that has some with holes; enough room everywhere."""
    room_um = np.full((300, 500), 900, np.float32)
    for index in range(20):
        lesions = grow_lesions(planned(index=index), room_um=room_um, step_px=16)
        if any(lesion.islands for lesion in lesions):
            return lesions
    raise AssertionError("no lesion with an island in 20 slides")


def test_holes_hold_no_tumour():
    grid = Grid.over(x=0, y=0, width=8000, height=4800, step=8)
    for lesion in with_islands():
        drawn = rasterise(lesion.drawn, grid)
        assert drawn.any() or lesion.length_um < 60
        for ring in lesion.polygon.interiors:
            assert not (drawn & rasterise(Polygon(ring).buffer(-8), grid)).any()


def test_lesions_range_from_clusters_to_macrometastases():
    slides = [
        Anatomy(planned(index=index, width_px=16_000, height_px=14_000)).lesions
        for index in range(8)
    ]
    lengths = np.array([lesion.length_um for lesions in slides for lesion in lesions])
    assert (lengths < 200).sum() >= 4
    assert ((lengths > 250) & (lengths < 2000)).sum() >= 10
    assert (lengths > 2000).sum() >= 2
    assert all(max(lesion.length_um for lesion in lesions) > 250 for lesions in slides)


def test_lesions_lie_in_tissue_and_apart():
    for index in range(6):
        anatomy = Anatomy(planned(index=index, width_px=6000, height_px=5000))
        grid = Grid.over(x=0, y=0, width=6000, height=5000, step=20)
        tissue = anatomy.depth_um(grid) > 0
        assert 0.15 < tissue.mean() < 0.75
        for lesion in anatomy.lesions:
            assert tissue[rasterise(lesion.polygon, grid)].mean() > 0.85
        gaps = [
            a.polygon.distance(b.polygon)
            for a in anatomy.lesions
            for b in anatomy.lesions
            if a is not b
        ]
        assert min(gaps, default=1000) > 200


def test_normal_slides_hold_no_lesion():
    assert Anatomy(planned(label="normal")).lesions == ()


def test_mean_colour_alone_does_not_find_tumour():
    """Whole slides on either side; tumour against whatever tissue lies in the same and in other
    slides."""
    colours, labels, sides = [], [], []
    for index in range(6):
        painter = Painter(planned(index=index, seed=21, width_px=5000, height_px=5000))
        lesion = max(painter.anatomy.lesions, key=lambda found: found.length_um)
        depth = painter.anatomy.depth_um(Grid.over(x=0, y=0, width=5000, height=5000, step=50))
        places = [lesion.polygon.representative_point().coords[0]]
        rows, columns = np.nonzero(depth > 150)
        for chosen in np.random.default_rng(index).integers(rows.size, size=2):
            places.append((columns[chosen] * 50, rows[chosen] * 50))
        for x, y in places:
            # One painted block around each place, cut into windows of 128 px.
            left, top = int(x) // 1024 * 1024, int(y) // 1024 * 1024
            means = (
                painter.region(x=left, y=top, width=1024, height=1024)
                .reshape(8, 128, 8, 128, 3)
                .mean(axis=(1, 3))
            )
            for row in range(8):
                for column in range(8):
                    box = shapely.box(
                        *(left + 128 * column, top + 128 * row),
                        *(left + 128 * column + 128, top + 128 * row + 128),
                    )
                    if means[row, column].mean() < 215:
                        covered = sum(
                            box.intersection(found.polygon).area
                            for found in painter.anatomy.lesions
                        )
                        colours.append(means[row, column])
                        labels.append(covered > 0.5 * box.area)
                        sides.append(index % 2)
    colours, labels, sides = np.array(colours), np.array(labels), np.array(sides)
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(
        colours[sides == 0] / 255, labels[sides == 0]
    )
    found = roc_auc_score(labels[sides == 1], model.predict_proba(colours[sides == 1] / 255)[:, 1])
    assert labels[sides == 1].sum() > 20
    assert found < 0.85


def test_patients_keep_to_one_split_and_every_split_has_both_labels():
    plans = plan_cohort(PhantomSettings(slides=24))
    assert len({plan.slide_id for plan in plans}) == 24
    for patient in {plan.patient for plan in plans}:
        assert len({(plan.split, plan.label) for plan in plans if plan.patient == patient}) == 1
    counts = {
        split: sum(plan.split == split for plan in plans)
        for split in ("train", "validation", "test")
    }
    assert counts == {"train": 12, "validation": 4, "test": 8}
    for split in counts:
        assert {plan.label for plan in plans if plan.split == split} == {"tumor", "normal"}


@pytest.mark.parametrize("slides", [1, 2, 7, 12, 61])
def test_any_number_of_slides_can_be_planned(slides):
    plans = plan_cohort(PhantomSettings(slides=slides, tumor_share=0.3))
    assert [plan.index for plan in plans] == list(range(slides))
    assert sum(plan.label == "tumor" for plan in plans) == round(0.3 * slides)


def test_cohort_is_kept_until_its_recipe_changes(tmp_path):
    settings = PhantomSettings(slides=2, size_px=300, slides_per_patient=1, seed=2)
    seen: list[str] = []
    table = make_cohort(tmp_path, settings, on_slide=seen.append)
    assert seen == ["phantom_001", "phantom_002"]
    cohort = Cohort.load(table)
    assert {slide.label: slide.annotation is not None for slide in cohort} == {
        "tumor": True,
        "normal": False,
    }
    assert all(slide.path.exists() for slide in cohort)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    make_cohort(tmp_path, settings)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    make_cohort(tmp_path, settings.model_copy(update={"jpeg_quality": 60}))
    assert all(path.stat().st_mtime_ns > made for path, made in before.items())
    assert not list(tmp_path.rglob("*.partial"))


def test_memory_does_not_grow_with_the_height_of_the_slide(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (1024, 1024, 3), np.uint8)

    def paint(*, x: int, y: int, width: int, height: int) -> np.ndarray:
        return pixels[:height, :width]

    peaks = []
    for height in (3000, 24_000):
        spec = PyramidSpec(
            width_px=2000, height_px=height, mpp=0.5, tile_px=256, jpeg_quality=40, block_px=1024
        )
        tracemalloc.start()
        write_pyramid(tmp_path / "tall.tif", spec, paint)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3e6  # level 1 of the taller slide alone has 9 MB of pixels


@pytest.mark.parametrize(
    "wrong",
    [
        {"slides": 0},
        {"tile_px": 100},
        {"tumor_share": 1.5},
        {"mpp": 0},
        {"size": 3},
        {"size_px": 10},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        PhantomSettings(**wrong)


def test_blocks_that_cut_tiles_are_refused():
    with pytest.raises(SettingsError, match=" px"):
        PyramidSpec(width_px=9, height_px=9, mpp=1, tile_px=256, jpeg_quality=80, block_px=640)


def test_graded_slides_step_through_the_grades_with_and_without_tumour(tmp_path):
    plans = plan_cohort(PhantomSettings(slides=36, difficulty="graded"))
    for label in ("tumor", "normal"):
        counts = Counter(plan.grade for plan in plans if plan.label == label)
        assert counts == dict.fromkeys(GRADES, 3)
    table = write_cohort(plans, tmp_path)
    graded = {row.id: row.column("difficulty") for row in Cohort.load(table)}
    assert graded == {plan.slide_id: plan.grade for plan in plans}
    assert {plan.grade for plan in plan_cohort(PhantomSettings(difficulty="faint"))} == {"faint"}


def test_plain_slides_are_those_made_before_there_were_grades(tmp_path):
    plans = plan_cohort(PhantomSettings(slides=4))
    assert not any("grade" in plan.as_settings() for plan in plans)
    assert "difficulty" not in write_cohort(plans, tmp_path).read_text()
    assert planned(grade="hard").as_settings()["grade"] == "hard"


@pytest.mark.parametrize(
    ("grade", "shortest_um", "longest_um"), [("micro", 170, 650), ("isolated", 40, 200)]
)
def test_lesions_of_a_grade_have_its_size(grade, shortest_um, longest_um):
    lengths_um = [
        lesion.length_um
        for index in range(8)
        for lesion in Anatomy(
            planned(grade=grade, index=index, width_px=4000, height_px=3000)
        ).lesions
    ]
    assert len(lengths_um) >= 8
    assert shortest_um < min(lengths_um)
    assert max(lengths_um) < longest_um


def test_decoys_are_drawn_apart_from_the_lesions_and_nowhere_outlined():
    plan = planned(width_px=2600, height_px=2000, seed=1)
    with_decoys = Painter(replace(plan, grade="decoys"))
    lesions, decoys = with_decoys.anatomy.lesions, with_decoys.anatomy.decoys
    assert len(decoys) >= 2
    assert lesions
    assert annotate(lesions).tumor.equals(annotate(Painter(plan).anatomy.lesions).tumor)
    outline = shapely.union_all([decoy.polygon for decoy in decoys])
    assert min(outline.distance(lesion.polygon) for lesion in lesions) > 200
    whole = {"x": 0, "y": 0, "width": 2600, "height": 2000}
    difference = np.abs(with_decoys.region(**whole).astype(int) - Painter(plan).region(**whole))
    changed = cv2.blur((difference.max(axis=2) > 25).astype(np.float32), (9, 9)) > 0.2
    grid = Grid.over(**whole, step=1)
    assert changed[rasterise(outline, grid)].mean() > 0.6
    assert changed[~rasterise(outline.buffer(60), grid)].mean() < 0.002
    assert Anatomy(replace(plan, grade="decoys", label="normal")).lesions == ()
    assert len(Anatomy(replace(plan, grade="decoys", label="normal")).decoys) >= 2


def test_faint_slides_absorb_less_light():
    for index in range(3):
        density = {}
        for grade in ("plain", "faint"):
            painter = Painter(planned(grade=grade, index=index))
            rgb = painter.region(x=300, y=200, width=400, height=300)
            density[grade] = -np.log10((rgb.astype(float) + 1) / 250).mean()
        assert 0.25 < density["faint"] / density["plain"] < 0.85
