"""Mask files as truth: what the official programs read of their level 5, and what ours does."""

import numpy as np
import pytest
import tifffile
from gigaslide.cohort import CohortSlide
from gigaslide.eval import EvaluateSettings, SlideResult, SlideStatus, Truth
from gigaslide.eval.camelyon16.lesions import find_level_5, label_level_5
from gigaslide.eval.camelyon16.programs import PROGRAMS
from scipy import ndimage
from skimage import measure


def write_mask(path, mask: np.ndarray, *, value: int, mpp: float | None = None) -> None:
    """A mask with a pyramid by 4 and 8, so that level 5's downsample is there; the last is not
    sampled but shifted."""
    scale = (
        {}
        if mpp is None
        else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    )
    levels = [
        np.kron(mask, np.ones((32, 32), np.uint8)),
        np.kron(mask, np.ones((8, 8), np.uint8)),
        mask,
    ]
    with tifffile.TiffWriter(path) as tiff:
        for index, level in enumerate(levels):
            pixels = (level * value).astype(np.uint8)
            tiff.write(
                pixels,
                tile=(128, 128),
                compression="zlib",
                subfiletype=int(index > 0),
                metadata=None,
                **scale,
            )


@pytest.mark.parametrize(("value", "groups"), [(1, {"binary-1": "tumor"}), (2, {}), (255, {})])
def test_masks_of_1_2_and_255_speak_for_themselves_at_level_5(tmp_path, value, groups):
    mask = np.zeros((40, 70), np.uint8)
    mask[5:18, 9:42] = 1
    mask[25:27, 50:53] = 1
    path = tmp_path / "mask.tif"
    write_mask(path, mask, value=value)
    truth, official = read(path, size=(70 * 32, 40 * 32), mpp=0.243, groups=groups)
    assert truth.lesions.measures.is_itc.tolist() == [False, True]
    px = 32 * 0.243
    for lesions in official.values():
        twin = measure.label(ndimage.distance_transform_edt(mask == 0) < 37.5 / px, connectivity=2)
        assert ((lesions.labels > 0) == (twin > 0)).all()
        assert lesions.measures.drawn_um2 / px**2 == pytest.approx([429, 6])


def read(path, *, size: tuple[int, int], mpp: float, groups=None) -> tuple[Truth, dict]:
    """The truth of a tumour slide, and its lesions by each official program."""
    slide = CohortSlide(id="s", path=path.parent / "none.tif", annotation=path, label="tumor")
    settings = EvaluateSettings(groups=groups or {})
    truth = Truth.of_slide(slide, slide_size=size, slide_mpp=mpp, settings=settings)
    result = SlideResult(
        slide=slide, status=SlideStatus.EVALUATED, slide_size=size, slide_mpp=mpp, truth=truth
    )
    level = find_level_5(result, truth, settings)
    return truth, {n: label_level_5(level, p, slide_size=size) for n, p in PROGRAMS.items()}


def test_e2_goes_by_the_masks_own_spacing_and_downsample_and_e1_by_neither(tmp_path):
    mask = np.zeros((40, 70), np.uint8)
    mask[5:18, 9:42] = 1
    path = tmp_path / "mask.tif"
    write_mask(path, mask, value=2, mpp=0.5)
    _, official = read(path, size=(70 * 32 - 9, 40 * 32 - 5), mpp=0.25)
    e1, e2 = official["camelyon16-e1"].raster, official["camelyon16-e2"].raster
    assert (e1.pixel_level0, e1.pixel_um) == (32, 32 * 0.243)
    assert (e2.pixel_level0, e2.pixel_um) == (32, 16)  # of the mask; the slide's would be 8
    write_mask(path, mask, value=2)
    _, official = read(path, size=(2240, 1280), mpp=0.25)
    assert official["camelyon16-e2"].raster.pixel_um == 8


def test_a_mask_that_is_not_in_the_slides_px_is_drawn_anew_for_the_programs(tmp_path):
    """Its own level 5 would be the slide's level 6."""
    mask = np.zeros((40, 70), np.uint8)
    mask[5:18, 9:42] = 1
    path = tmp_path / "mask.tif"
    write_mask(path, mask, value=2)
    _, official = read(path, size=(4480, 2560), mpp=0.25)
    assert {lesions.labels.shape for lesions in official.values()} == {(80, 140)}


def test_an_empty_mask_of_a_normal_slide_makes_no_lesion(tmp_path):
    path = tmp_path / "mask.tif"
    write_mask(path, np.zeros((40, 70), np.uint8), value=255)
    slide = CohortSlide(id="s", path=tmp_path / "none.tif", annotation=path, label="normal")
    truth = Truth.of_slide(
        slide, slide_size=(2240, 1280), slide_mpp=0.243, settings=EvaluateSettings()
    )
    assert truth.lesions is None
