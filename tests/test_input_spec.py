"""The record of what a network takes, and windows of several scales around one centre."""

import numpy as np
import pytest
from conftest import offset_level0, tile_place, wave_slide, write_tiff
from gigaslide.patching import TileSettings
from gigaslide.wsi import CLASSES, InputSpec, open_slide
from gigaslide.wsi import concentric as concentric_module
from pydantic import ValidationError

SIZE = (2025, 1511)
SPEC = InputSpec(patch_px=61, centre_px=30, mpps=(0.5, 1.0, 1.7))
MARGIN = 4
SIDE = SPEC.patch_px + 2 * MARGIN


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A slide whose grey tells the place: 0.5 µm/px, and a level of half that."""
    file = tmp_path_factory.mktemp("concentric") / "wave.tif"
    return write_tiff(file, wave_slide(*SIZE), level_sizes=((1013, 756),))


@pytest.fixture
def corners():
    rng = np.random.default_rng(2)
    return np.stack([rng.integers(-40, SIZE[0], 40), rng.integers(-40, SIZE[1], 40)], axis=1)


def test_a_spec_survives_json():
    spec = InputSpec(
        patch_px=299, centre_px=128, mpps=(0.25, 1.0), stain="hsd", classes=("a", "tumor", "b")
    )
    assert InputSpec.model_validate_json(spec.model_dump_json()) == spec
    assert (spec.mpp, spec.tumor, spec.shape) == (0.25, 1, (2, 299, 299, 3))
    assert spec.finest.mpps == (0.25,)
    assert InputSpec(patch_px=9, centre_px=9, mpps=(1,)).classes == CLASSES == ("normal", "tumor")


@pytest.mark.parametrize(
    "wrong",
    [
        {"centre_px": 62},
        {"patch_px": 0},
        {"mpps": ()},
        {"mpps": (1.0, 0.5)},
        {"mpps": (0.5, 0.5)},
        {"mpps": (0.0,)},
        {"mpps": (float("nan"),)},
        {"mpps": (float("inf"),)},
        {"classes": ("normal", "cancer")},
        {"classes": ("tumor", "tumor")},
        {"stain": "purple"},
        {"side_px": 3},
    ],
)
def test_a_spec_without_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        InputSpec(**{**SPEC.model_dump(), **wrong})


def test_tile_settings_give_the_spec_of_their_store():
    tiles = TileSettings(mpp=0.5, further_mpp=(2, 1), patch_px=139, centre_px=64, margin_px=3)
    assert tiles.input_spec == InputSpec(patch_px=139, centre_px=64, mpps=(0.5, 1, 2))
    assert list(tiles.scales.values()) == [0.5, 1, 2]


@pytest.mark.parametrize("waiting_bytes", [1, 10**9])
def test_concentric_windows_have_one_centre_and_are_those_of_read_windows(
    path, corners, monkeypatch, waiting_bytes
):
    monkeypatch.setattr(concentric_module, "WAITING_BYTES", waiting_bytes)
    with open_slide(path) as slide:
        found = dict(slide.read_concentric(corners, SPEC, margin_px=MARGIN, threads=2))
        assert sorted(found) == list(range(len(corners)))
        inside = 0
        for number, mpp in enumerate(SPEC.mpps):
            px_level0 = slide.scale(mpp).level0
            assert px_level0 == pytest.approx(mpp / 0.5, rel=2e-3)
            # Top left so that the middles of the windows agree: (x + side / 2) of level 0.
            xy = np.rint(corners + SIDE / 2 - SIDE * px_level0 / 2).astype(np.int64)
            for index, window in slide.read_windows(xy, size=SIDE, mpp=mpp):
                assert np.array_equal(found[index][number], window)
                x, y = corners[index] + SIDE / 2 - SIDE * px_level0 / 2
                if 0 <= x < SIZE[0] - SIDE * px_level0 and 0 <= y < SIZE[1] - SIDE * px_level0:
                    inside += 1
                    dx, dy = offset_level0(window, x=x, y=y, px_level0=px_level0)
                    assert max(abs(dx), abs(dy)) <= px_level0 / 2 + 0.6
    assert inside > 40


def test_one_scale_is_read_as_before(path, corners):
    with open_slide(path) as slide:
        one = slide.read_concentric(corners, SPEC.finest)
        plain = slide.read_windows(corners, size=SPEC.patch_px, mpp=0.5)
        for (index, (window,)), (expected, image) in zip(one, plain, strict=True):
            assert index == expected
            assert np.array_equal(window, image)
        assert not list(slide.read_concentric(np.zeros((0, 2), np.int64), SPEC))


def test_a_patch_with_one_unreadable_scale_is_none(tmp_path):
    path = write_tiff(tmp_path / "s.tif", wave_slide(*SIZE), level_sizes=((1013, 756),), jpeg=True)
    offset, length = tile_place(path, 0, page=1)  # of the coarse level: 512 × 512 px of the fine
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    xy = np.array([[100, 100], [900, 800]])
    two_scales = InputSpec(patch_px=61, centre_px=30, mpps=(0.5, 1.0))
    with open_slide(path) as slide:
        found = dict(slide.read_concentric(xy, two_scales))
        assert found[0] is None
        assert [window.shape for window in found[1]] == [(61, 61, 3)] * 2
        assert all(w is not None for _, w in slide.read_concentric(xy, two_scales.finest))
