"""A dense first pass in int8: near that in float32, in the heatmap's recipe, never mixed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.models import ModelCard, load_dense_predictor, quantise_model
from gigaslide.phantom import PhantomSettings, make_slide, plan_cohort
from gigaslide.wsi import CellStatus, Heatmap, open_slide
from predicting import content
from test_batch_blocks import journal
from test_dense import write_model

pytest.importorskip("nncf", reason="the int8 extra is not installed")
SIDE, STRIDE = 107, 64
FASTEST = {"mode": "fastest", "stride_px": STRIDE, "allow_tumor_on_glass": True}
NEAR = 0.1  # largest difference of a probability
TEMPERATURE = {"value": 20.0, "patches": 1, "log_loss": (1, 1), "calibration_error": (1, 1)}
"""Without it, the log-odds of a random network on a phantom reach -30."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory) -> CohortSlide:
    folder = tmp_path_factory.mktemp("phantom")
    (plan,) = plan_cohort(PhantomSettings(slides=1, size_px=1024, mpp=0.5, seed=3))
    make_slide(plan, folder)
    return CohortSlide(id="s", path=folder / "slides" / f"{plan.id}.tif")


@pytest.fixture(scope="module")
def model(slide, tmp_path_factory):
    """A quantised network with random weights, whose ranges are those of the phantom."""
    folder = write_model(
        tmp_path_factory.mktemp("model") / "m", "compact", patch_px=SIDE, shrink=2, seed=1
    )
    card = ModelCard.load(folder).model_dump()
    ModelCard.model_validate({**card, "temperature": TEMPERATURE}).save(folder)
    corners = np.random.default_rng(0).integers(100, 900 - SIDE, (24, 2))
    with open_slide(slide.path) as opened:
        windows = opened.read_windows(corners, size=SIDE, mpp=0.5)
        patches = np.stack([np.array(window) for _, window in windows])
    quantise_model(folder, patches[:, None])
    return folder


def predict(slide, model, out, **changes) -> tuple[Heatmap, dict, str]:
    cohort = Cohort.of_rows([slide])
    settings = PredictSettings(**{**FASTEST, **changes})
    (outcome,) = predict_cohort(cohort, model, out, settings, BatchSettings(workers=0)).outcomes
    kept = json.loads((out / "s" / "heatmap.zarr" / "zarr.json").read_text())["attributes"]
    return Heatmap.load(out / "s" / "heatmap.zarr"), kept, outcome.status


def test_int8_is_near_float32_and_is_the_default_of_a_quantised_model(slide, model, tmp_path):
    plain, told, _ = predict(slide, model, tmp_path / "f", first_pass_precision="float32")
    assert told["first_pass_precision"] == "float32"
    quick, told, _ = predict(slide, model, tmp_path / "q")
    assert told["first_pass_precision"] == "int8"
    assert told["recipe"]["settings"]["first_pass_precision"] == "int8"
    assert 1e-4 < told["runtime_difference"] <= 1e-1
    at = plain.scored
    assert at.sum() > 20
    np.testing.assert_array_equal(quick.scored, at)
    assert plain.probability[at].std() > 0.01
    assert 1e-5 < np.abs(plain.probability[at] - quick.probability[at]).max() < NEAR


def test_a_folder_never_mixes_precisions(slide, model, tmp_path):
    for changes, status in [
        ({}, "done"),
        ({}, "skipped"),
        ({"first_pass_precision": "float32"}, "done"),
        ({"first_pass_precision": "float32"}, "skipped"),
        ({}, "done"),
    ]:
        assert predict(slide, model, tmp_path / "out", **changes)[2] == status
    copy = tmp_path / "m"
    shutil.copytree(model, copy)
    recipe = json.loads((copy / "int8" / "recipe.json").read_text())
    with (copy / "int8" / "tiles.bin").open("ab") as file:  # as if quantised with other patches
        file.write(b"\0")
    from gigaslide.models.quantise import _checksums

    recipe["sha256"] = _checksums(copy / "int8", True)
    (copy / "int8" / "recipe.json").write_text(json.dumps(recipe))
    assert predict(slide, copy, tmp_path / "out")[2] == "done"
    shutil.rmtree(copy / "int8")
    assert predict(slide, copy, tmp_path / "out")[1]["first_pass_precision"] == "float32"


def test_cells_that_fast_scores_exactly_are_float32(slide, model, tmp_path):
    fast, told, _ = predict(
        slide, model, tmp_path / "fast", mode="fast", exact_above=0.3, orientations=1
    )
    exact, _, _ = predict(slide, model, tmp_path / "exact", mode="exact", orientations=1)
    assert told["first_pass_precision"] == "int8"
    close = fast.status == CellStatus.SCORED
    assert close.any()
    np.testing.assert_allclose(fast.probability[close], exact.probability[close], atol=1e-6)


@pytest.mark.slow
def test_fault_23_a_fast_prediction_in_int8_that_is_killed_goes_on(model, tmp_path):
    (plan,) = plan_cohort(PhantomSettings(slides=1, size_px=3000, mpp=0.5, seed=4))
    make_slide(plan, tmp_path)
    slide = tmp_path / "slides" / f"{plan.id}.tif"
    words = [slide, model, "--mode", "fast", "--stride-px", "32", "--exact-above", "0.45"]
    command = [sys.executable, "-m", "gigaslide.cli", "predict", *map(str, words)]
    command += ["--allow-tumor-on-glass", "--workers", "0", "--predictions"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run([*command, str(whole)], check=True)
    blocks = len(journal(whole, "block"))
    process = subprocess.Popen([*command, str(out)])
    deadline = time.monotonic() + 300
    while not ((out / "run.jsonl").exists() and len(journal(out, "block")) >= blocks / 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(journal(out, "block"))
    assert blocks / 3 <= before < blocks
    subprocess.run([*command, str(out)], check=True)
    assert content(out) == content(whole)
    assert len(journal(out, "block")) < before + blocks
    told = json.loads((out / plan.id / "heatmap.zarr" / "zarr.json").read_text())["attributes"]
    assert told["first_pass_precision"] == "int8"
    assert 0 < told["counts"]["first_pass"] < told["counts"]["cells"]


def test_the_log_odds_of_features_give_the_cells_of_any_stride(model):
    """Quantised once: cells of two strides, and an activation map, are those of one network."""
    narrow, wide = (
        load_dense_predictor(model, stride_px=stride, precision="int8") for stride in (32, 64)
    )
    side = narrow.tile_px(5)
    tile = np.random.default_rng(2).integers(0, 256, (side, side, 3), dtype=np.uint8)
    fine = narrow.score_members([tile], 5)
    np.testing.assert_allclose(wide.score_members([tile], 3), fine[:, ::2, ::2], atol=1e-6)
    plain = load_dense_predictor(model, stride_px=32, runtime="openvino")
    assert np.abs(plain.score_members([tile], 5) - fine).max() < NEAR
    cam = load_dense_predictor(model, stride_px=32, precision="int8", is_cam=True)
    assert cam.members[0].layout.features == 1
