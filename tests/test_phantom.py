"""Phantom slides: what is written can be opened, is the same every time, and its truth lies where
the tumour is."""

import tracemalloc
from pathlib import Path

import numpy as np
import openslide
import pytest
from gigaslide.phantom import (
    PhantomSlide,
    make_slide,
)
from gigaslide.phantom.lattice import Grid, noise, scatter
from gigaslide.phantom.painter import Painter
from gigaslide.phantom.pyramid import PyramidSpec, write_pyramid
from gigaslide.storage import SettingsError
from phantom_plans import planned


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


def test_blocks_that_cut_tiles_are_refused():
    with pytest.raises(SettingsError, match=" px"):
        PyramidSpec(width_px=9, height_px=9, mpp=1, tile_px=256, jpeg_quality=80, block_px=640)


def test_faint_slides_absorb_less_light():
    for index in range(3):
        density = {}
        for grade in ("plain", "faint"):
            painter = Painter(planned(grade=grade, index=index))
            rgb = painter.region(x=300, y=200, width=400, height=300)
            density[grade] = -np.log10((rgb.astype(float) + 1) / 250).mean()
        assert 0.25 < density["faint"] / density["plain"] < 0.85
