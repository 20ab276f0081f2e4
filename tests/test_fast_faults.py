"""Fast modes with several workers, when killed, and on slides with faults."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, tile_place, write_tiff
from gigaslide.cohort import Cohort
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.wsi import (
    CellStatus,
    open_slide,
)
from predicting import QUICK, brightness, content, predict, write_model, write_slides
from stand_in import dense_of, predictor_of
from test_batch_blocks import journal

TESTS = Path(__file__).parent
FASTEST = QUICK.model_copy(update={"mode": "fastest"})


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Cohort:
    return write_slides(tmp_path_factory.mktemp("slides"), 1, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["fast", "fastest"])
def quick(request) -> PredictSettings:
    """Settings of a fast mode, as predicting.py has them."""
    return QUICK.model_copy(update={"mode": request.param})


@pytest.fixture(scope="module")
def predicted(slides, model, quick, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("predicted")
    assert predict(slides, model, out, quick).exit_status == 0
    return content(out)


BLOCKS = {"fast": 6, "fastest": 2}


@pytest.mark.slow
def test_two_workers_give_the_same_files_in_a_fast_mode(slides, model, quick, predicted, tmp_path):
    predict(slides, model, tmp_path, quick, workers=2, memory_gb=1.5)
    assert content(tmp_path) == predicted
    assert len(journal(tmp_path, "block")) == BLOCKS[quick.mode]


@pytest.mark.slow
def test_fault_23_a_fast_prediction_that_is_killed_goes_on(
    slides, model, quick, predicted, tmp_path
):
    slides.save(tmp_path / "cohort.csv")
    out = tmp_path / "out"
    words = [TESTS / "predicting.py", tmp_path / "cohort.csv", model, out, "0", "0.4", quick.mode]
    process = subprocess.Popen([sys.executable, *map(str, words)], stderr=subprocess.DEVNULL)
    deadline, blocks = time.monotonic() + 120, BLOCKS[quick.mode]
    while not ((out / "run.jsonl").exists() and len(journal(out, "block")) >= blocks / 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(journal(out, "block"))
    assert predict(slides, model, out, quick).exit_status == 0
    assert content(out) == predicted
    assert len(journal(out, "block")) < before + blocks


def test_fault_03_dense_cells_that_touch_no_corrupt_tile_are_unchanged(tmp_path):
    good = write_tiff(tmp_path / "good.tif", stained_slide(2), jpeg=True)
    bad = tmp_path / "bad.tif"
    damaged = bytearray(good.read_bytes())
    offset, length = tile_place(good, 6 * 1 + 2)  # 6 tiles a row: x 512 to 768, y 256 to 512
    damaged[offset : offset + length] = bytes(length)
    bad.write_bytes(damaged)
    maps = []
    for path in (good, bad):
        with open_slide(path) as slide, open_slide(good) as whole:
            slide.overview = whole.overview  # tissue is found in the good file
            for settings in (FASTEST, QUICK):
                dense = dense_of(brightness)
                maps.append(
                    predict_slide(
                        slide, predictor_of(brightness), settings, slide_id="s", dense=dense
                    )
                )
    whole, _, fastest, exact = maps
    lost = fastest.status == CellStatus.UNREADABLE
    assert lost.sum() > 10
    np.testing.assert_array_equal(lost, exact.status == CellStatus.UNREADABLE)
    same = fastest.scored
    assert same.sum() > 300
    np.testing.assert_allclose(fastest.probability[same], whole.probability[same], atol=1e-6)


def test_faults_11_12_44_in_fast_modes(tmp_path):
    small = write_tiff(
        tmp_path / "small.tif", np.full((41, 53, 3), (190, 110, 160), np.uint8), tile_px=64
    )
    glass = write_tiff(tmp_path / "glass.tif", stained_slide(3, tissue=False))
    nan = lambda patches: np.full(len(patches), np.nan)  # noqa: E731
    tiny = PredictSettings(orientations=1, tissue={"min_area_um2": 0})
    for path, score, wanted in [
        (small, brightness, {CellStatus.FIRST_PASS}),
        (glass, brightness, {CellStatus.BACKGROUND}),
        (small, nan, {CellStatus.FAILED}),
    ]:
        for mode in ("fast", "fastest"):
            settings = tiny.model_copy(update={"mode": mode, "exact_above": 1.0})
            with open_slide(path) as slide:
                found = predict_slide(
                    slide, predictor_of(score), settings, slide_id="s", dense=dense_of(score)
                )
            assert set(np.unique(found.status[found.status != CellStatus.BACKGROUND])) == (
                wanted - {CellStatus.BACKGROUND}
            )
