"""Fault 54 the whole way: a slide with changed bytes is opened, tiled and scored, or refused by
name; nothing else."""

from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.cohort import CohortSlide
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.patching import TileSettings, tile_slide
from gigaslide.storage import GigaslideError
from gigaslide.wsi import CellStatus, open_slide
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import predictor_of

SETTINGS = TileSettings(mpp=1.0, patch_px=75, centre_px=32, margin_px=2, normal_per_slide=15)
MODEL = predictor_of(lambda patches: patches.mean(axis=(1, 2, 3)) / 255, centre_px=64, mpp=2.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    return write_tiff(
        folder / "a.tif", stained_slide(1), level_sizes=((766, 564),), jpeg=True
    ).read_bytes()


def through(path: Path, store: Path) -> str:
    """Tile and score the slide; the status of the tiling."""
    slide = CohortSlide(id="a", path=path, label="normal", mpp=0.5)
    outcome = tile_slide(slide, store=store, settings=SETTINGS)
    with open_slide(path, mpp=0.5) as opened:
        heatmap = predict_slide(opened, MODEL, PredictSettings(orientations=1), slide_id="a")
    assert np.array_equal(heatmap.status == CellStatus.SCORED, np.isfinite(heatmap.probability))
    assert not (heatmap.status == CellStatus.NOT_YET).any()
    stored = outcome.counts["normal"]
    assert (store / "a" / "zarr.json").exists()
    assert outcome.status in ("done", "partial")
    assert outcome.status == "partial" or stored == 15 or "tissue" in outcome.reason
    return outcome.status


def test_the_whole_slide_goes_through(whole, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(whole)
    assert through(path, tmp_path / "store") == "done"


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_fault_54_changed_bytes_through_tile_and_predict(whole, tmp_path_factory, data):
    content = bytearray(whole)
    near_head = st.integers(0, 600)
    anywhere = st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 40))):
        content[data.draw(near_head | anywhere | anywhere)] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(content)) | st.integers(len(content) // 2, len(content)))
    folder = tmp_path_factory.mktemp("changed")
    path = folder / "a.tif"
    path.write_bytes(content[:end])
    try:
        through(path, folder / "store")
    except GigaslideError as error:
        assert str(path) in str(error)  # noqa: PT017
