"""Tissue found in drawn images, and shares of squares counted pixel by pixel."""

import numpy as np
import pytest
from conftest import REAL_DATA, write_tiff
from gigaslide.wsi import TissueMask, TissueSettings, open_slide, tissue_in_image, tissue_mask

PINK = (200, 120, 170)
SETTINGS = TissueSettings(mpp=8.0, min_area_um2=10_000, min_hole_um2=10_000)


def drawn(rows: int = 90, columns: int = 140, glass: int = 243) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.clip(rng.normal(glass, 1.5, (rows, columns, 3)), 0, 255).astype(np.uint8)


def paint(image: np.ndarray, rows: slice, columns: slice, colour=PINK) -> np.ndarray:
    image[rows, columns] = colour
    return image


@pytest.mark.parametrize("method", ["density", "grey"])
@pytest.mark.parametrize("glass", [215, 243, 255])
def test_tissue_is_where_it_was_painted(method, glass):
    image = paint(drawn(glass=glass), slice(20, 50), slice(60, 130))
    found = tissue_in_image(image, mpp=8, settings=SETTINGS.model_copy(update={"method": method}))
    truth = np.zeros(found.shape, bool)
    truth[20:50, 60:130] = True
    assert found.dtype == bool
    # The rim of one pixel may go either way after blurring.
    rim = np.zeros_like(truth)
    rim[18:52, 58:132] = True
    rim[22:48, 62:128] = False
    assert np.array_equal(found | rim, truth | rim)
    assert np.array_equal(found & ~rim, truth & ~rim)


def test_dirt_goes_and_small_holes_are_filled_by_area():
    image = paint(drawn(), slice(20, 70), slice(20, 70))
    paint(
        image, slice(30, 40), slice(30, 40), (243, 243, 243)
    )  # a hole of 100 px, 6 400 µm²: filled
    paint(image, slice(45, 65), slice(45, 65), (243, 243, 243))  # 400 px, 25 600 µm²: stays
    paint(image, slice(40, 50), slice(110, 120))  # 100 px of dirt
    paint(image, slice(70, 86), slice(110, 126))  # 256 px, 16 384 µm²: stays
    found = tissue_in_image(image, mpp=8, settings=SETTINGS)
    assert found[35, 35]
    assert not found[55, 55]
    assert not found[45, 115]
    assert found[78, 118]
    finer = tissue_in_image(
        image, mpp=16, settings=SETTINGS
    )  # the same px are now four times the area
    assert not finer[35, 35]
    assert finer[45, 115]


def test_nothing_is_found_on_glass_and_all_of_a_field_without_glass():
    assert not tissue_in_image(drawn(), mpp=8, settings=SETTINGS).any()
    assert not tissue_in_image(np.full((40, 60, 3), 255, np.uint8), mpp=8, settings=SETTINGS).any()
    field = np.clip(np.random.default_rng(0).normal(PINK, 12, (60, 80, 3)), 0, 220).astype(np.uint8)
    assert tissue_in_image(field, mpp=8, settings=SETTINGS).mean() > 0.95


def test_pale_tissue_is_found_by_density_where_grey_sees_none():
    pale = (225, 200, 222)
    image = paint(drawn(glass=247), slice(10, 60), slice(30, 90), pale)
    assert tissue_in_image(image, mpp=8, settings=SETTINGS)[15:55, 35:85].all()
    assert not tissue_in_image(
        image, mpp=8, settings=SETTINGS.model_copy(update={"method": "grey"})
    ).any()


def test_mask_of_a_slide_lies_where_the_slide_has_its_tissue(tmp_path):
    # 0.5 µm/px; the overview at 8 µm/px has 16 level-0 px a pixel.
    pixels = np.full((1127, 1531, 3), 244, np.uint8)
    pixels[200:900, 1000:1400] = PINK
    with open_slide(write_tiff(tmp_path / "one.tif", pixels)) as slide:
        found = tissue_mask(slide, SETTINGS)
    assert found.scale_level0 == 16
    rows, columns = np.nonzero(found.mask)
    assert np.abs(np.array([rows.min(), rows.max() + 1]) * 16 - (200, 900)).max() <= 32
    assert np.abs(np.array([columns.min(), columns.max() + 1]) * 16 - (1000, 1400)).max() <= 32
    assert not found.is_empty


def test_fault_12_slide_without_tissue_gives_an_empty_mask(tmp_path):
    path = write_tiff(tmp_path / "glass.tif", np.full((600, 900, 3), 245, np.uint8))
    with open_slide(path) as slide:
        found = tissue_mask(slide, SETTINGS)
    assert found.is_empty
    assert found.mask.shape == (38, 57)


def test_fraction_counts_mask_pixels():
    rng = np.random.default_rng(4)
    mask = rng.random((31, 47)) < 0.4
    tissue = TissueMask(mask=mask, scale_level0=12.5)
    xy = rng.uniform(-120, 650, (200, 2))
    for side in (12.5, 64.0, 130.0):
        shares = tissue.fraction(xy, side_level0=side)
        count = max(1, round(side / 12.5))
        for (x, y), share in zip(xy, shares, strict=True):
            left, top = int(np.floor(x / 12.5 + 0.5)), int(np.floor(y / 12.5 + 0.5))
            inside = [
                mask[row, column]
                for row in range(top, top + count)
                for column in range(left, left + count)
                if 0 <= row < 31 and 0 <= column < 47
            ]
            assert share == pytest.approx(np.mean(inside) if inside else 0, abs=1e-6)
    assert tissue.fraction(np.zeros((0, 2)), side_level0=64).shape == (0,)


def test_square_over_the_border_is_judged_by_its_part_on_the_slide():
    tissue = TissueMask(mask=np.ones((20, 40), bool), scale_level0=10)
    corners = np.array([(-30, -40), (380, 30), (100, 170), (-50, 20), (410, 0), (20, 200)])
    assert tissue.fraction(corners, side_level0=50).tolist() == [1, 1, 1, 0, 0, 0]


def test_fraction_is_not_symmetric_in_x_and_y():
    mask = np.zeros((20, 40), bool)
    mask[5:10, 25:35] = True
    tissue = TissueMask(mask=mask, scale_level0=10)
    assert tissue.fraction(np.array([(250, 50), (50, 250)]), side_level0=50).tolist() == [1, 0]


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_tissue_of_a_real_overview_is_its_middle_not_its_glass():
    import cv2

    image = cv2.cvtColor(cv2.imread(str(REAL_DATA / "tissue" / "overview.jpeg")), cv2.COLOR_BGR2RGB)
    found = tissue_in_image(image, mpp=8, settings=SETTINGS)
    assert 0.05 < found.mean() < 0.9
    grey = image.mean(axis=2)
    assert grey[found].mean() < grey[~found].mean() - 20
