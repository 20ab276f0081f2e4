"""Pixels of slides against arrays and formulas known beforehand."""

import pickle

import numpy as np
import pytest
import simplejpeg
from conftest import (
    HEIGHT,
    MPP,
    WIDTH,
    block_means,
    offset_level0,
    position_coded,
    wave,
    wave_slide,
    windows_of,
    write_tiff,
)
from gigaslide.storage import SpacingError
from gigaslide.wsi import Region, open_slide
from gigaslide.wsi import overview as overview_module
from gigaslide.wsi.readers.openslide_reader import onto_background


def crops(pixels: np.ndarray, xy: np.ndarray, size: int, background: int = 255) -> np.ndarray:
    """Windows cut out of an array that was first laid on a far larger sheet of background."""
    reach = 600
    sheet = np.full(
        (pixels.shape[0] + 2 * reach, pixels.shape[1] + 2 * reach, 3), background, np.uint8
    )
    sheet[reach : reach + pixels.shape[0], reach : reach + pixels.shape[1]] = pixels
    return np.stack(
        [sheet[reach + y : reach + y + size, reach + x : reach + x + size] for x, y in xy]
    )


INSIDE = [
    (0, 0),
    (1, 0),
    (0, 1),
    (255, 255),
    (256, 511),
    (700, 300),
    (1023, 1024),
    (1025, 70),
    (1530, 1126),
]
OVER_THE_BORDER = [
    (1400, 1000),
    (-40, 30),
    (30, -40),
    (-298, -298),
    (1500, -250),
    (-299, 5),
    (1531, 3),
    (3, 1127),
]
PLACES = np.array([*INSIDE, *OVER_THE_BORDER])


def test_windows_at_level_0_are_the_pixels_themselves(coded_slide):
    expected = crops(position_coded(), PLACES, 299)
    for index, window in enumerate(windows_of(coded_slide, PLACES, size=299)):
        assert window.dtype == np.uint8
        assert np.array_equal(window, expected[index]), f"window at {PLACES[index]}"


def test_outside_the_slide_is_background_not_black(coded_slide):
    (window,) = windows_of(coded_slide, [(WIDTH - 10, HEIGHT - 20)], size=64)
    assert (window[20:] == 255).all()
    assert (window[:, 10:] == 255).all()
    assert not (window[:20, :10] == 255).all(axis=2).any()


@pytest.mark.parametrize("mpp", [0.5, 0.73, 1.0, 1.37])
def test_pixels_of_a_window_do_not_depend_on_its_company(coded_slide, mpp):
    rng = np.random.default_rng(3)
    xy = np.stack([rng.integers(-90, WIDTH, 40), rng.integers(-90, HEIGHT, 40)], axis=1)
    together = windows_of(coded_slide, xy, size=75, mpp=mpp)
    alone = [windows_of(coded_slide, xy[i : i + 1], size=75, mpp=mpp)[0] for i in range(len(xy))]
    order = rng.permutation(len(xy))
    shuffled = windows_of(coded_slide, xy[order], size=75, mpp=mpp)
    for index in range(len(xy)):
        assert np.array_equal(together[index], alone[index])
    for position, index in enumerate(order):
        assert np.array_equal(shuffled[position], alone[index])


def test_no_windows_is_no_work_and_repeated_ones_are_given_twice(coded_slide):
    assert windows_of(coded_slide, np.zeros((0, 2), int), size=30) == []
    first, second = windows_of(coded_slide, [(77, 33), (77, 33)], size=30)
    assert np.array_equal(first, position_coded()[33:63, 77:107])
    assert np.array_equal(first, second)


@pytest.mark.parametrize("mpp", [0.25, 0.31, 0.37, 0.5, 0.6, 0.93, 1.3, 2.0, 3.1])
def test_any_mpp_shows_the_right_place_and_colour(wave_file, mpp):
    with open_slide(wave_file) as slide:
        scale = slide.scale(mpp)
        size = 101
        side = size * scale.level0
        right, bottom = 2025 - side - scale.level0, 1511 - side - scale.level0
        places = [(0, 0), (703, 205), (right, bottom), (right, 3), (5, bottom)]
        xy = np.floor(places).astype(int)
        columns_of_level, rows_of_level = slide.info.level_sizes[scale.level]
        step = (
            (2025 / columns_of_level, 1511 / rows_of_level)
            if scale.resample == 1
            else (scale.level0,) * 2
        )
        for index, window in slide.read_windows(xy, size=size, mpp=mpp):
            x, y = np.rint(xy[index] / step) * step  # the nearest whole window px
            rows, columns = np.mgrid[:size, :size] + 0.5
            expected = wave_mean(x + columns * step[0], y + rows * step[1], step)
            assert offset_level0(window, x=x, y=y, px_level0=scale.level0) == pytest.approx(
                (0, 0), abs=0.6
            )
            assert (
                np.abs(window - expected).max() <= 2
            )  # the slope is about one grey level a level-0 px
        assert scale.mpp == pytest.approx(mpp, rel=0.03)
        assert scale.level0 == pytest.approx(scale.mpp / 0.25, rel=1e-3)


def test_the_check_of_places_sees_one_pixel():
    pixels = wave_slide(400, 300)
    dx, dy = offset_level0(pixels[52:152, 41:141], x=40, y=50, px_level0=1.0)
    assert (dx, dy) == pytest.approx((1, 2), abs=0.05)


def test_scale_takes_the_coarsest_level_that_is_fine_enough(coded_slide):
    with open_slide(coded_slide) as slide:
        info = slide.info
        found = {
            mpp: slide.scale(mpp)
            for mpp in (0.486, 0.5, 0.514, 0.6, 0.969, 0.98, 1.0, 1.02, 1.5, 2.0, 2.2, 80)
        }
    assert [s.level for s in found.values()] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert info.level_downsamples[1:] == pytest.approx((2, 4), rel=3e-3)
    snapped = {0.486, 0.5, 0.514, 0.98, 1.0, 1.02, 2.0}
    for mpp, scale in found.items():
        assert scale.requested_mpp == mpp
        if mpp in snapped:
            assert scale.resample == 1.0
            assert scale.mpp == info.mpp * info.level_downsamples[scale.level]
        else:
            assert scale.mpp == mpp
            assert scale.level0 == pytest.approx(mpp / 0.5)
            assert scale.resample == pytest.approx(mpp / 0.5 / info.level_downsamples[scale.level])


def test_finer_than_the_slide_is_refused_with_advice(coded_slide):
    with open_slide(coded_slide) as slide:
        with pytest.raises(SpacingError, match=r"coded\.tif.* 0\.5 .* 0\.25") as info:
            slide.scale(0.25)
        assert "--allow-upsampling" in str(info.value)
        with pytest.raises(SpacingError):
            next(slide.read_windows(np.array([(0, 0)]), size=10, mpp=0.25))
        scale = slide.scale(0.25, allow_upsampling=True)
        assert (scale.level, scale.level0, scale.mpp) == (0, 0.5, 0.25)
        for absurd in (0, -1, float("nan"), float("inf")):
            with pytest.raises(SpacingError, match=r"coded\.tif"):
                slide.scale(absurd)


def test_upsampled_windows_show_the_right_place(wave_file):
    with open_slide(wave_file) as slide:
        ((_, window),) = slide.read_windows(
            np.array([(811, 407)]), size=90, mpp=0.125, allow_upsampling=True
        )
    assert offset_level0(window, x=811, y=407, px_level0=0.5) == pytest.approx((0, 0), abs=0.1)


def test_read_region_agrees_with_the_array_and_with_windows(coded_slide, wave_file):
    with open_slide(coded_slide) as slide:
        region = slide.read_region(Region(x=-7, y=1100, width=91, height=44), mpp=MPP)
        assert np.array_equal(region[:27, 7:], position_coded()[1100:, :84])
        assert (region[27:] == 255).all()
        assert (region[:, :7] == 255).all()
        assert region.shape == (44, 91, 3)
    with open_slide(wave_file) as slide:
        region = slide.read_region(Region(x=900, y=1100, width=600, height=300), mpp=0.75)
        assert region.shape == (100, 200, 3)
        assert offset_level0(region, x=900, y=1100, px_level0=3.0) == pytest.approx((0, 0), abs=1.3)


def test_read_level_counts_in_level_px(coded_slide):
    level1 = block_means(position_coded(), columns=766, rows=564)
    with open_slide(coded_slide) as slide:
        cut = slide.read_level(0, x=333, y=222, width=50, height=20)
        assert np.array_equal(cut, position_coded()[222:242, 333:383])
        assert np.array_equal(slide.read_level(1, x=0, y=0, width=766, height=564), level1)
        assert np.array_equal(
            slide.read_level(1, x=701, y=502, width=65, height=62), level1[502:, 701:]
        )


def test_info_says_size_spacing_and_levels(coded_slide):
    with open_slide(coded_slide) as slide:
        info = slide.info
        assert slide.size == (WIDTH, HEIGHT) == (info.width, info.height)
        assert info.level_sizes == ((1531, 1127), (766, 564), (383, 282))
        assert (info.mpp, info.mpp_source, info.background) == (
            pytest.approx(0.5),
            "file",
            (255, 255, 255),
        )
        assert info.path == coded_slide


def test_slide_pickles_as_its_path(coded_slide):
    with open_slide(coded_slide, mpp=0.4) as slide:
        content = pickle.dumps(slide)
        copy = pickle.loads(content)
    assert len(content) < 1000
    with copy:  # the first one is closed
        assert copy.info == slide.info
        assert copy.info.mpp == 0.4
        ((_, window),) = copy.read_windows(np.array([(100, 900)]), size=64, mpp=0.4)
    assert np.array_equal(window, position_coded()[900:964, 100:164])


def test_overview_does_not_depend_on_its_blocks(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "even.tif", position_coded(1536, 1152), level_sizes=((768, 576),))
    with open_slide(path) as slide:
        whole = [slide.overview(mpp) for mpp in (0.5, 1.0, 3.0, 7.5)]
        monkeypatch.setattr(overview_module, "BLOCK_PX", 200)
        in_blocks = [slide.overview(mpp) for mpp in (0.5, 1.0, 3.0, 7.5)]
    for one, other in zip(whole, in_blocks, strict=True):
        assert np.array_equal(one.image, other.image)
    assert np.array_equal(whole[0].image, position_coded(1536, 1152))
    assert [overview.scale_level0 for overview in whole] == [1, 2, 6, 14]


def wave_mean(x: np.ndarray, y: np.ndarray, side: tuple[float, float]) -> np.ndarray:
    """The wave's mean over rectangles around (x, y): the wave itself, flattened by sin(u) / u on
    each axis."""
    half_x, half_y = side[0] / 2 / np.pi, side[1] / 2 / np.pi
    flat = [
        np.sinc(half_x / 97),
        np.sinc(half_y / 61),
        np.sinc(half_x / 233) * np.sinc(half_y / 171),
    ]
    return 128 + (wave(x, y) - 128) * flat


@pytest.mark.parametrize("mpp", [1.0, 3.0, 4.0, 8.0, 20.0])
def test_overview_is_an_area_mean_of_the_whole_slide(wave_file, mpp):
    with open_slide(wave_file) as slide:
        overview = slide.overview(mpp)
    assert overview.scale_level0 == pytest.approx(mpp / 0.25, rel=0.35)
    assert overview.scale_level0 <= mpp / 0.25 * 1.002
    rows, columns = overview.image.shape[:2]
    assert 2025 <= columns * overview.scale_level0 + 4 < 2025 + overview.scale_level0 + 8
    assert 1511 <= rows * overview.scale_level0 + 4 < 1511 + overview.scale_level0 + 8
    inner = overview.image[: rows - 2, : columns - 2]
    if min(inner.shape[:2]) > 50:
        dx, dy = offset_level0(inner, x=0, y=0, px_level0=overview.scale_level0)
        assert max(abs(dx), abs(dy)) < 1.0
    at_y, at_x = (np.mgrid[: rows - 2, : columns - 2] + 0.5) * overview.scale_level0
    expected = wave_mean(at_x, at_y, (overview.scale_level0,) * 2)
    assert np.abs(inner - expected).max() < 4


def test_alpha_is_laid_on_the_background_pixel_by_pixel():
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    rgba[0, 0], rgba[1, 1] = (10, 20, 30, 0), (10, 20, 30, 255)
    background = (200, 100, 50)
    laid = onto_background(rgba, background)
    for row in range(5):
        for column in range(7):
            *rgb, alpha = map(int, rgba[row, column])
            exact = [
                (c * alpha + b * (255 - alpha)) / 255 for c, b in zip(rgb, background, strict=True)
            ]
            assert np.abs(laid[row, column] - exact).max() <= 0.501
    assert laid[0, 0].tolist() == [200, 100, 50]
    assert laid[1, 1].tolist() == [10, 20, 30]


def test_a_little_finer_than_the_slide_is_the_slide_or_refused(coded_slide):
    with open_slide(coded_slide) as slide:
        for mpp in np.linspace(0.48, 0.5, 41):
            try:
                assert slide.scale(mpp).resample == 1
            except SpacingError:
                assert 0.5 / mpp > 1.03


def test_a_stored_tile_is_found_where_the_size_of_its_level_was_rounded(tmp_path):
    wide, high = 4 * 64 + 3, 4 * 48 + 3  # a level of a quarter drops three px
    pixels = wave_slide(wide, high)
    path = write_tiff(tmp_path / "s.tif", pixels, level_sizes=((64, 48),), tile_px=16, jpeg=True)
    with open_slide(path) as slide:
        for column, row in ((0, 0), (3, 2), (3, 0), (1, 2)):
            region = Region(x=64 * column, y=64 * row, width=64, height=64)
            stored = slide.stored_jpeg(region, mpp=4 * MPP)
            assert stored is not None
            true = slide.read_level(1, x=16 * column, y=16 * row, width=16, height=16)
            assert (simplejpeg.decode_jpeg(stored) == true).all()
        aside = Region(x=64 * 3 + 8, y=64, width=64, height=64)
        assert slide.stored_jpeg(aside, mpp=4 * MPP) is None
