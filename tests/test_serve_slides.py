"""The server shows slides, heatmaps and detections; every picture lies where it belongs."""

import io
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import tifffile
from conftest import tile_place, wave_slide, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve.tiles import TileGrid, encode_jpeg
from gigaslide.wsi import Detections, Region, open_slide
from PIL import Image
from serving import (
    HEIGHT,
    MPP,
    ORIGIN,
    STRIDE,
    WIDTH,
    Served,
    feature,
    heatmap_of,
    make_slide,
    make_workspace,
    serve,
    wait_until,
)


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_the_list_tells_what_is_known_of_each_slide(shown):
    wait_until(lambda: shown.ask("/api/slides").plain["complete"])
    plain = shown.ask("/api/slides").plain
    a, b = plain["slides"]
    assert (a["id"], a["width"], a["height"], a["mpp"]) == ("a", WIDTH, HEIGHT, MPP)
    assert (a["score"], b["score"]) == (1.0, None)
    assert (a["has_heatmap"], b["has_heatmap"]) == (True, False)
    assert (a["state"], a["newest"], plain["read_only"]) == ("none", 0, False)
    assert plain["annotator"] == "Ada"


def test_a_score_predicted_meanwhile_comes_into_the_list(served):
    wait_until(lambda: served.ask("/api/slides").plain["complete"])
    heatmap_of("b").save(served.folder / "predictions" / "b" / "heatmap.zarr")
    wait_until(lambda: served.ask("/api/slides").plain["slides"][1]["score"] == 1.0)


def test_geometry_is_that_of_the_slide(shown):
    plain = shown.ask("/api/slides/a").plain
    assert (plain["width"], plain["height"], plain["mpp"]) == (WIDTH, HEIGHT, MPP)
    assert plain["resolutions"] == [8, 4, 2, 1]
    assert plain["tile_px"] == 256
    assert shown.ask("/api/slides/c").status == 404


@pytest.mark.parametrize(
    ("z", "x", "y"), [(3, 0, 0), (3, 5, 4), (3, 2, 1), (2, 1, 2), (1, 1, 1), (0, 0, 0)]
)
def test_a_tile_equals_the_region_that_the_reader_reads(shown, z, x, y):
    geometry = shown.ask("/api/slides/a").plain
    resolution = geometry["resolutions"][z]
    side = 256 * resolution
    answer = shown.ask(f"/api/slides/a/tiles/{z}/{x}/{y}.jpg?v={geometry['v']}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    with open_slide(shown.workspace.slides["a"].path) as slide:
        region = Region(x=x * side, y=y * side, width=side, height=side)
        pixels = slide.read_region(region, mpp=MPP * resolution)
        pixels = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA)
    shown = picture(answer.content)
    assert shown.shape == (256, 256, 3)
    if resolution != 2:  # there, blocks of 2 × 2 px are averaged with another rounding
        assert encode_jpeg(pixels, full_colour=resolution == 1) == answer.content
    assert np.abs(shown.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("place", ["3/6/0", "3/0/5", "4/0/0", "0/1/0", "x/0/0", "-1/0/0", "9" * 40])
def test_tiles_outside_the_grid_are_absent(shown, place):
    path = place if "/" in place else f"{place}/{place}/{place}"
    assert shown.ask(f"/api/slides/a/tiles/{path}.jpg").status == 404


@pytest.mark.parametrize("size", [(1, 1), (256, 256), (257, 3), (100_000, 70_001)])
def test_the_coarsest_tile_shows_the_whole_slide(size):
    grid = TileGrid(width=size[0], height=size[1])
    region = grid.region(0, 0, 0)
    assert region is not None
    assert region.width >= max(size) > region.width // 2 - 256
    assert grid.region(0, 1, 0) is None
    assert grid.resolutions[-1] == 1


def test_the_thumbnail_has_the_form_of_the_slide(shown):
    thumbnail = picture(shown.ask("/api/slides/a/thumbnail.jpg").content)
    height, width = thumbnail.shape[:2]
    assert max(width, height) == 256
    assert height / width == pytest.approx(HEIGHT / WIDTH, abs=0.01)


def test_the_heatmap_lies_on_its_squares_at_all_corners(shown):
    facts = shown.ask("/api/slides/a/heatmap").plain
    left, top, right, bottom = facts["extent"]
    assert (left, top) == ORIGIN
    assert (right - left, bottom - top) == (16 * STRIDE, 12 * STRIDE)
    grey = shown.ask(f"/api/slides/a/heatmap-grey.png?v={facts['v']}")
    values = np.asarray(Image.open(io.BytesIO(grey.content)))
    assert values.shape == (facts["rows"], facts["columns"]) == (12, 16)

    def value(x: float, y: float) -> int:
        """Value of the px that a page draws at a place of the slide."""
        column = int((x - left) / (right - left) * values.shape[1])
        row = int((y - top) / (bottom - top) * values.shape[0])
        return int(values[row, column])

    half, near = STRIDE / 2, STRIDE * 0.01
    for at in (half, near, STRIDE - near):
        assert value(left + at, top + at) == 2
        assert value(right - at, top + at) == 255
        assert value(left + at, bottom - at) == 2 + round(253 * 0.6)
        assert value(right - at, bottom - at) == 2 + round(253 * 0.4)
    assert value(left + 5.5 * STRIDE, top + 3.5 * STRIDE) == 0
    assert value(left + 6.5 * STRIDE, top + 4.5 * STRIDE) == 1
    assert (facts["fits"], facts["score"], facts["counts"]["unreadable"]) == (True, 1.0, 1)


def test_cells_without_a_score_are_transparent(shown):
    image = Image.open(io.BytesIO(shown.ask("/api/slides/a/heatmap.png").content))
    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert alpha[3, 5] == 0
    assert 0 < alpha[4, 6] < 255
    assert (alpha[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()


def test_a_heatmap_of_a_slide_of_another_size_does_not_fit(tmp_path):
    workspace = make_workspace(tmp_path)
    heatmap_of("b", slide_size=(HEIGHT, WIDTH)).save(tmp_path / "predictions/b/heatmap.zarr")
    for served in serve(workspace, tmp_path):
        assert served.ask("/api/slides/b/heatmap").plain["fits"] is False


def test_a_slide_without_predictions_has_none(shown):
    assert shown.ask("/api/slides/b/heatmap").status == 404
    assert shown.ask("/api/slides/b/heatmap.png").status == 404
    assert shown.ask("/api/slides/b/detections").plain == {"detections": []}


def test_detections_are_those_of_the_table(served):
    found = Detections.of_slide(
        "a",
        np.array([[10.5, 20], [1500, 1000]]),
        np.array([0.9, 0.2]),
        area_um2=np.array([5.0, np.nan]),
    )
    found.save(served.folder / "predictions" / "a" / "detections.csv")
    one, two = served.ask("/api/slides/a/detections").plain["detections"]
    assert (one["x"], one["y"], one["probability"], one["area_um2"]) == (10.5, 20, 0.9, 5)
    assert (two["x"], two["area_um2"], two["longest_um"]) == (1500, None, None)


def test_unreadable_parts_are_hatched_and_the_rest_is_shown(tmp_path):
    workspace = make_workspace(tmp_path)
    path = workspace.slides["a"].path
    offset, length = tile_place(path, 8)  # column 2, row 1 of the finest level
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))
    for served in serve(workspace, tmp_path):
        bad = served.ask("/api/slides/a/tiles/3/2/1.jpg")
        good = served.ask("/api/slides/a/tiles/3/1/1.jpg")
        assert (bad.status, good.status) == (200, 200)
        assert bad.headers["x-unreadable"]
        assert "x-unreadable" not in good.headers
        assert str(tmp_path) not in bad.headers["x-unreadable"]
        assert bad.headers["cache-control"] == "no-store"
        stripes = picture(bad.content)
        assert stripes.std() > 40
        assert abs(stripes.mean() - 200) < 15
        shrunk = served.ask("/api/slides/a/tiles/2/1/0.jpg")  # half of it is another tile
        assert shrunk.headers["x-unreadable"]
        top, bottom = np.split(picture(shrunk.content).astype(float), 2)
        with open_slide(path) as slide:
            region = Region(x=512, y=0, width=512, height=256)
            true = slide.read_region(region, mpp=2 * MPP)
        assert np.abs(top - true).mean() < 4
        assert bottom[:, :128].std() > 40
        assert served.ask("/api/slides/a").plain["unreadable"] == [[512, 256, 256, 256]]


JPEG_WIDTH, JPEG_HEIGHT, JPEG_SIDE = 2000, 1500, 240


@pytest.fixture
def stored(tmp_path) -> Iterator[Served]:
    """A slide of JPEG tiles of 240 px, as Aperio's are, with a level of a quarter."""
    sizes = ((JPEG_WIDTH // 4, JPEG_HEIGHT // 4),)
    pixels = wave_slide(JPEG_WIDTH, JPEG_HEIGHT)
    rows, columns = np.mgrid[:JPEG_HEIGHT, :JPEG_WIDTH]
    pixels[(rows % 20 < 10) & (columns % 16 < 8)] //= 2  # so that a px more or less shows
    path = tmp_path / "jpeg.tif"
    write_tiff(path, pixels, level_sizes=sizes, tile_px=JPEG_SIDE, jpeg=True)
    cohort = Cohort(slides=(CohortSlide(id="a", path=path),))
    yield from serve(make_workspace(tmp_path, cohort=cohort), tmp_path)


def read_square(served: Served, place: tuple[int, int], resolution: int) -> np.ndarray:
    """Pixels of a tile, (x, y) in the page's grid, as the reader gives them."""
    side = JPEG_SIDE * resolution
    region = Region(x=place[0] * side, y=place[1] * side, width=side, height=side)
    with open_slide(served.workspace.slides["a"].path) as slide:
        return slide.read_region(region, mpp=slide.info.mpp * resolution)


def test_a_jpeg_that_the_file_stores_is_passed_on_as_it_is(stored):
    geometry = stored.ask("/api/slides/a").plain
    assert (geometry["tile_px"], geometry["resolutions"]) == (JPEG_SIDE, [16, 8, 4, 2, 1])
    for z, resolution, place in ((4, 1, (3, 5)), (4, 1, (7, 0)), (2, 4, (1, 0))):
        content = stored.ask(f"/api/slides/a/tiles/{z}/{place[0]}/{place[1]}.jpg").content
        assert (picture(content) == read_square(stored, place, resolution)).all()
    # At the edge, what lies outside the slide is background, not the file's padding.
    edge = picture(stored.ask("/api/slides/a/tiles/4/8/6.jpg").content)
    true = read_square(stored, (8, 6), 1)
    assert np.abs(edge.astype(int) - true).mean() < 6
    assert (true[-1, -1] == 255).all()


def test_tiles_between_levels_are_halved_in_their_place(stored):
    content = stored.ask("/api/slides/a/tiles/3/2/1.jpg").content
    true = read_square(stored, (2, 1), 2).astype(int)
    shown = picture(content).astype(int)
    assert shown.shape == true.shape
    assert np.abs(shown - true).mean() < 5
    assert np.abs(shown[:, :-1] - true[:, 1:]).mean() > 8  # a px off would be seen


def test_a_stored_jpeg_that_is_damaged_is_hatched(stored):
    path = stored.workspace.slides["a"].path
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        tile = 1 * 9 + 2  # row 1, column 2
        middle, length = page.dataoffsets[tile] + page.databytecounts[tile] // 2, 40
    with path.open("r+b") as file:
        file.seek(middle)
        file.write(b"\xff\xd9" * length)
    for place in ("4/2/1", "3/1/0"):
        answer = stored.ask(f"/api/slides/a/tiles/{place}.jpg")
        assert answer.headers["x-unreadable"]
        assert answer.headers["cache-control"] == "no-store"


def test_v6_a_replaced_slide_answers_410_to_tiles_of_the_old_one(served):
    path = served.workspace.slides["a"].path
    old = served.ask("/api/slides/a").plain["v"]
    assert served.ask(f"/api/slides/a/tiles/0/0/0.jpg?v={old}").status == 200
    before = served.ask("/api/slides/a/tiles/3/1/1.jpg").content
    make_slide(path.with_name("other.tif"), seed=2).replace(path)
    assert served.ask(f"/api/slides/a/tiles/0/0/0.jpg?v={old}").status == 410
    assert served.ask(f"/api/slides/a/thumbnail.jpg?v={old}").status == 410
    new = served.ask("/api/slides/a").plain["v"]
    assert new != old
    after = served.ask(f"/api/slides/a/tiles/3/1/1.jpg?v={new}")
    assert (after.status, after.content != before) == (200, True)


def test_v6_a_slide_that_is_gone_is_told_without_its_path(served):
    path = served.workspace.slides["a"].path
    assert served.ask("/api/slides/a").status == 200
    path.rename(path.with_suffix(".moved"))
    answer = served.ask("/api/slides/a/tiles/0/0/0.jpg")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert str(served.folder) not in answer.plain["error"]
    saved = served.save("a", [feature()], parent=0)
    assert (saved.status, "a" in saved.plain["error"]) == (503, True)
    assert served.ask("/api/slides/b/tiles/0/0/0.jpg").status == 200
    path.with_suffix(".moved").rename(path)
    assert served.ask("/api/slides/a/tiles/0/0/0.jpg").status == 200


def test_few_slides_are_open_at_once(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path)
    monkeypatch.setattr(workspace.shelf, "_most_open", 1)
    for served in serve(workspace, tmp_path):
        for name in "abab":
            assert served.ask(f"/api/slides/{name}/tiles/3/1/1.jpg").status == 200
        assert list(workspace.shelf._open) == ["b"]


def test_slides_are_open_once_and_closed_in_the_end(tmp_path):
    workspace = make_workspace(tmp_path)
    for served in serve(workspace, tmp_path):
        served.ask("/api/slides/a")
        with workspace.shelf.borrow("a") as held:
            assert held.slide.size == (1531, 1127)
    assert held.is_old
    assert held.users == 0
