"""Several magnifications of one patch: the same centre, the same draw, read together."""

import numpy as np
import pytest
import zarr
from conftest import as_cohort, offset_level0, wave_slide, write_tiff
from gigaslide.cohort import CohortSlide
from gigaslide.patching import AugmentSettings, PatchStore, TileSettings, draw_augmentation
from pydantic import ValidationError
from tiling import SETTINGS, SIDE, tile

SCALES = {"images": 0.5, "images_1": 1.0, "images_1.7": 1.7}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    """Of a slide whose colour tells the place: 2025 × 1511 px at 0.5 µm/px."""
    folder = tmp_path_factory.mktemp("scales")
    path = write_tiff(folder / "wave.tif", wave_slide(2025, 1511), level_sizes=((1013, 756),))
    slide = CohortSlide(id="wave", path=path, label="normal", patient="p", split="train")
    # Everything counts as tissue: the grey of the wave is below the paper's limit nearly
    # everywhere.
    grey = SETTINGS.tissue.model_copy(update={"method": "grey"})
    tile(
        as_cohort(slide), folder / "store", further_mpp=(1.0, 1.7), normal_per_slide=12, tissue=grey
    )
    return PatchStore(folder / "store")


def read_scales(store: PatchStore, wanted: list[tuple[str, str, int]]) -> np.ndarray:
    return np.stack([store.read_many(wanted, array=name) for name in SCALES], axis=1)


def test_every_scale_shows_the_same_centre(store):
    group = zarr.open_group(store.path / "wave" / "normal", mode="r")
    centres = group["xy"][:] + SIDE / 2
    inside = 0
    for name, mpp in SCALES.items():
        px_level0 = mpp / 0.5
        side = SIDE * px_level0
        for (x, y), patch in zip(centres.tolist(), group[name][:], strict=True):
            if not (side / 2 <= x <= 2025 - side / 2 and side / 2 <= y <= 1511 - side / 2):
                continue  # part of it is glass that was added outside the slide
            inside += 1
            dx, dy = offset_level0(patch, x=x - side / 2, y=y - side / 2, px_level0=px_level0)
            assert abs(dx) <= px_level0 / 2 + 0.6  # a window begins on a whole px, its corner too
            assert abs(dy) <= px_level0 / 2 + 0.6  # a window begins on a whole px, its corner too
    assert inside > 20


def test_scales_are_read_together(store):
    group = zarr.open_group(store.path / "wave" / "normal", mode="r")
    order = [5, 0, -1, 5]
    read = read_scales(store, [("wave", "normal", index) for index in order])
    assert read.shape == (4, 3, SIDE, SIDE, 3)
    for position, name in enumerate(SCALES):
        assert np.array_equal(read[:, position], group[name][:][order])
    assert np.array_equal(store.read("wave", "normal", np.array(order)), read[:, 0])


def test_one_draw_moves_all_scales_alike(store):
    (scales,) = read_scales(store, [("wave", "normal", 3)])
    still = AugmentSettings(
        jitter_px=4, orientations=False, brightness=0, saturation=0, hue=0, contrast=0
    )
    draw = draw_augmentation(np.random.default_rng(3), still)
    x, y = draw.shift_px
    assert abs(x) >= 2
    fine, coarse = draw.apply(scales[0], side_px=75), draw.apply(scales[1], side_px=75, coarser=2)
    assert np.array_equal(fine, scales[0][4 + y : 79 + y, 4 + x : 79 + x])
    x, y = round(x / 2), round(y / 2)
    assert np.array_equal(coarse, scales[1][4 + y : 79 + y, 4 + x : 79 + x])


@pytest.mark.parametrize(
    "wrong", [{"further_mpp": (0.1,)}, {"further_mpp": (0.5, 0.5)}, {"further_mpp": (0,)}]
)
def test_scales_that_are_finer_or_twice_are_refused(wrong):
    with pytest.raises(ValidationError):
        TileSettings(**wrong)
    with pytest.raises(ValidationError, match=r"copies.*further_mpp"):
        TileSettings(further_mpp=(0.5,), copies=1)
