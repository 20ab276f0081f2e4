"""Runtimes and precisions: each is compared with Keras in float32, and refused past its
tolerance."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.inference.prediction_folder import heatmap_recipe
from gigaslide.models import (
    ARCHITECTURES,
    TOLERANCES,
    WEIGHTS,
    ModelCard,
    build_network,
    hash_weights,
    load_predictor,
    quantise_model,
)
from gigaslide.models.runtimes.probes import draw_probes
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec
from tiny_network import TINY

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5, 1.0))
PATCHES = np.random.default_rng(1).integers(0, 256, (5, *SPEC.shape), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", TINY)
        yield


def save_model(folder: Path) -> Path:
    folder.mkdir()
    network = build_network("tiny", SPEC)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="tiny",
        input_spec=SPEC,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny) -> Path:
    return save_model(tmp_path_factory.mktemp("runtimes") / "model")


@pytest.fixture(scope="module")
def wanted(model) -> np.ndarray:
    predictor = load_predictor(model, runtime="keras")
    assert predictor.difference == 0
    return predictor(PATCHES)


@pytest.mark.parametrize("package", ["onnx", "tf2onnx", "onnxruntime"])
def test_onnx_runtime_names_the_package_that_is_missing(model, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name)
    )
    with pytest.raises(ModelError, match=rf"needs {package}.*gigaslide\[onnx\]"):
        load_predictor(model, runtime="onnx", threads=3)


def test_onnx_runtime_gives_the_probabilities_of_keras(model, wanted):
    for name in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(name, reason="the onnx extra is not installed")
    predictor = load_predictor(model, runtime="onnx", threads=1)
    assert predictor.runtime == "onnx"
    np.testing.assert_allclose(predictor(PATCHES), wanted, atol=1e-6)
    np.testing.assert_allclose(predictor(PATCHES[:1]), wanted[:1], atol=1e-6)
    assert 0 <= predictor.difference <= 1e-5
    with pytest.raises(ModelError, match="float32 only"):
        load_predictor(model, runtime="onnx", precision="bfloat16")


def has_bfloat16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_bfloat16_moves_probabilities_a_little_and_says_by_how_much(model, wanted, runtime):
    if runtime == "openvino" and not has_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    predictor = load_predictor(model, runtime=runtime, precision="bfloat16")
    found = predictor(PATCHES)
    assert 0 < predictor.difference <= TOLERANCES["bfloat16"]
    assert 1e-6 < np.abs(found - wanted).max() < TOLERANCES["bfloat16"]


def test_a_cpu_without_bfloat16_is_told(model, monkeypatch):
    monkeypatch.setattr("gigaslide.models.runtimes.openvino_runtime._has_bfloat16", lambda: False)
    with pytest.raises(ModelError, match="this CPU"):
        load_predictor(model, runtime="openvino", precision="bfloat16", threads=2)


def test_a_precision_past_its_tolerance_is_refused_with_both_numbers(model, monkeypatch):
    monkeypatch.setitem(TOLERANCES, "bfloat16", 1e-9)
    with pytest.raises(ModelError, match=r"differ.*1e-09.*bfloat16.*leave out --precision"):
        load_predictor(model, runtime="keras", precision="bfloat16", threads=2)


def test_runtimes_are_compared_on_drawn_tissue_and_on_noise():
    probes = draw_probes(SPEC.shape)
    assert probes.shape[1:] == SPEC.shape
    roughness = np.abs(np.diff(probes.astype(float), axis=3)).mean(axis=(1, 2, 3, 4))
    assert (roughness[:4] < 20).all()
    assert (roughness[4:] > 40).all()
    drawn = probes[:4].astype(float)
    assert (drawn[..., 0].mean() > drawn[..., 1].mean()) & (drawn.std() > 5)
    np.testing.assert_array_equal(probes, draw_probes(SPEC.shape))


def test_int8_needs_a_quantised_model_of_the_same_weights(model, wanted, tmp_path):
    pytest.importorskip("nncf", reason="the int8 extra is not installed")
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    with pytest.raises(ModelError, match="gigaslide model quantise"):
        load_predictor(folder, precision="int8")
    rng = np.random.default_rng(7)
    patches = rng.integers(0, 256, (24, *SPEC.shape), dtype=np.uint8)
    difference = quantise_model(folder, patches)
    predictor = load_predictor(folder, precision="int8")
    assert predictor.difference == pytest.approx(difference, abs=1e-6)
    assert 0 < np.abs(predictor(PATCHES) - wanted).max() < TOLERANCES["int8"]
    with pytest.raises(ModelError, match="OpenVINO"):
        load_predictor(folder, precision="int8", runtime="keras")
    recipe = json.loads((folder / "int8" / "recipe.json").read_text())
    (folder / "int8" / "recipe.json").write_text(json.dumps({**recipe, "weights_sha256": "0"}))
    with pytest.raises(ModelError, match=r"other weights.*quantise"):
        load_predictor(folder, precision="int8", threads=1)
    moved = (np.array(recipe["drawn"]) - 0.2).tolist()  # as if quantised on another processor
    (folder / "int8" / "recipe.json").write_text(json.dumps({**recipe, "drawn": moved}))
    with pytest.raises(ModelError, match=r"on this computer .* 0\.2.* 0\.1; .*quantise"):
        load_predictor(folder, precision="int8", threads=2)
    (folder / "int8" / "recipe.json").write_text(json.dumps(recipe))
    with (folder / "int8" / "network.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="damaged"):
        load_predictor(folder, precision="int8", threads=1)


def test_int8_past_its_tolerance_keeps_nothing(model, tmp_path, monkeypatch):
    pytest.importorskip("nncf", reason="the int8 extra is not installed")
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    monkeypatch.setitem(TOLERANCES, "int8", 0.0)
    with pytest.raises(ModelError, match="float32 or bfloat16"):
        quantise_model(folder, PATCHES)
    assert not (folder / "int8").exists()


def test_a_precision_is_part_of_a_heatmaps_recipe_and_float32_is_as_before(tmp_path):
    path = tmp_path / "s.tif"
    path.write_bytes(b"slide")
    slide = CohortSlide(id="s", path=path)
    plain, reduced = (
        heatmap_recipe(slide, {}, PredictSettings(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert "precision" not in plain.settings
    assert plain.differences(reduced) == ["settings.precision: (none) → bfloat16"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_xla_is_compared_with_float32_without_it(model, wanted, precision):
    predictor = load_predictor(model, xla=True, precision=precision)
    assert predictor.runtime == "keras with XLA"
    assert 0 < predictor.difference <= TOLERANCES[precision]
    assert np.abs(predictor(PATCHES) - wanted).max() <= TOLERANCES[precision]
    assert load_predictor(model, xla=False, runtime="keras").difference == 0


def test_xla_past_the_tolerance_is_refused(model, monkeypatch):
    monkeypatch.setitem(TOLERANCES, "float32", -1.0)
    with pytest.raises(ModelError, match=r"differ from Keras's.*leave out --xla"):
        load_predictor(model, xla=True, threads=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runtime": "openvino"}, "--runtime openvino does not use Keras"),
        ({"runtime": "onnx"}, "--runtime onnx does not use Keras"),
        ({"precision": "int8"}, "int8 does not use Keras"),
    ],
)
def test_xla_of_another_runtime_is_refused_before_any_work(model, tmp_path, changes, words):
    cohort = Cohort.of_rows([CohortSlide(id="s", path=tmp_path / "s.tif")])
    settings = PredictSettings(xla=True, **changes)
    with pytest.raises(ModelError, match=words):
        predict_cohort(cohort, model, tmp_path / "out", settings, BatchSettings())
    assert not (tmp_path / "out").exists()


def test_xla_on_pytorch_is_refused(model, monkeypatch):
    monkeypatch.setattr("gigaslide.models.runtimes.registry.choose_backend", lambda: "torch")
    with pytest.raises(ModelError, match="PyTorch"):
        load_predictor(model, xla=True)
