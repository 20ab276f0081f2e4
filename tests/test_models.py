"""Networks by name, model folders and their cards, ensembles, runtimes."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import h5py
import keras
import numpy as np
import pytest
from gigaslide.models import (
    ARCHITECTURES,
    CARD,
    RUNTIMES,
    WEIGHTS,
    ArchitectureName,
    Ensemble,
    ModelCard,
    Predictor,
    RuntimeName,
    build_network,
    choose_backend,
    hash_weights,
    load_predictor,
    parameter_counts,
)
from gigaslide.models import card as card_module
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec
from tiny_network import TINY

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
PATCHES = np.random.default_rng(0).integers(0, 256, (6, *SPEC.shape), dtype=np.uint8)


def save_model(folder: Path, seed: int, name: str = "tiny", **changes) -> Path:
    """A model folder with random weights, as a training would leave it."""
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(seed)
    network = build_network(name, SPEC)
    network.save_weights(folder / WEIGHTS)
    card = {
        "architecture": name,
        "input_spec": SPEC,
        "parameters": parameter_counts(network),
        "training": {},
        "weights_sha256": hash_weights(folder),
    }
    ModelCard(**{**card, **changes}).save(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Most tests need a network that is built at once."""
    ARCHITECTURES["tiny"] = TINY
    yield
    del ARCHITECTURES["tiny"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [save_model(folder / str(seed), seed) for seed in range(2)]


def by_hand(folder: Path) -> np.ndarray:
    network = build_network(ModelCard.load(folder).architecture, SPEC)
    network.load_weights(folder / WEIGHTS)
    return keras.ops.convert_to_numpy(network(PATCHES))


def test_options_offer_every_entry_of_the_registries():
    names, _ = get_args(ArchitectureName)
    assert {*get_args(names), "tiny"} == set(ARCHITECTURES)
    assert set(get_args(RuntimeName)) == {"auto", *RUNTIMES}


@pytest.mark.parametrize("name", ["inception_v3", "inception_v3_small"])
def test_networks_have_the_size_that_the_registry_gives(name, tmp_path):
    spec = InputSpec(patch_px=299, centre_px=128, mpps=(0.25,))
    network = build_network(name, spec, {"batch_norm_momentum": 0.9})
    counts = parameter_counts(network)
    assert counts["all"] == ARCHITECTURES[name].parameters
    assert counts["trained"] == {"inception_v3_small": 279_791}.get(name, counts["trained"])
    network.save_weights(tmp_path / WEIGHTS)
    size = (tmp_path / WEIGHTS).stat().st_size
    assert size == pytest.approx(ARCHITECTURES[name].weights_bytes, rel=0.02)
    assert network.output_shape == (None, 2)


@pytest.mark.parametrize(
    ("name", "spec", "options", "facts"),
    [
        ("inception_v9", SPEC, {}, ["inception_v9", *ARCHITECTURES]),
        (
            "inception_v3",
            InputSpec(patch_px=74, centre_px=32, mpps=(0.5,)),
            {},
            ["74", "75", "patch_px"],
        ),
        ("inception_v3", SPEC, {"batch_norm_momentum": 2}, ["batch_norm_momentum"]),
        ("inception_v3", SPEC, {"depth": 2}, ["depth"]),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(name, spec, options, facts):
    with pytest.raises(ModelError) as caught:
        build_network(name, spec, options)
    assert all(fact in str(caught.value) for fact in facts)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("MobileNetV2", "mobilenet_v2"),
        ("ResNet50V2", "resnet_v2"),
        ("DenseNet121", "densenet"),
        ("VGG16", "vgg16"),
        ("EfficientNetV2B0", "efficientnet_v2"),
        ("MobileNetV3Small", "mobilenet_v3"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("ConvNeXtTiny", "convnext"),
    ],
)
def test_a_network_of_keras_has_its_own_preprocessing_inside(name, module):
    network = build_network(name, SPEC)
    (tower,) = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    preprocess = getattr(keras.applications, module).preprocess_input
    pixels = PATCHES[:2, 0].astype(np.float32)
    wanted = np.asarray(tower(preprocess(pixels.copy()))).mean(axis=(1, 2))
    inside = keras.Model(network.inputs, network.layers[-1].input)
    np.testing.assert_allclose(np.asarray(inside([PATCHES[:2]])), wanted, rtol=1e-4, atol=1e-4)
    assert parameter_counts(network)["all"] == ARCHITECTURES[name].parameters


@pytest.mark.parametrize("name", ["compact", "efficientnet_lite0"])
def test_networks_of_ours_have_the_numbers_that_the_registry_says(name):
    counted = parameter_counts(build_network(name, SPEC))["all"]
    assert counted == ARCHITECTURES[name].parameters


def test_a_network_of_two_scales_has_a_tower_for_each():
    spec = SPEC.model_copy(update={"mpps": (0.5, 1.0)})
    network = build_network("inception_v3_small", spec)
    patches = np.repeat(PATCHES[:2], 2, axis=1)
    scores = np.asarray(network(patches))
    assert scores.shape == (2, 2)
    for scale in range(2):
        changed = patches.copy()
        changed[:, scale] //= 2
        assert not np.allclose(np.asarray(network(changed)), scores, atol=1e-7)
    one = ARCHITECTURES["inception_v3_small"].parameters
    assert 1.9 * one < parameter_counts(network)["all"] < 2 * one + 8


@pytest.mark.parametrize(
    ("runtime", "name"), [("keras", "tiny"), ("openvino", "inception_v3_small")]
)
def test_a_predictor_gives_the_probabilities_of_its_network(tmp_path, runtime, name):
    folder = save_model(tmp_path / "m", 5, name)
    predictor = load_predictor(folder, runtime=runtime)
    assert (predictor.spec, predictor.runtime) == (SPEC, runtime)
    assert predictor.hash == hash_weights(folder)
    scores = predictor(PATCHES)
    assert (scores.shape, scores.dtype) == ((6, 2), np.float32)
    np.testing.assert_allclose(scores, by_hand(folder), atol=1e-5)
    np.testing.assert_allclose(predictor(PATCHES[:1]), scores[:1], atol=1e-6)
    with pytest.raises(ModelError, match=r"\(1, 75, 75, 3\).*\(1, 76, 75, 3\)"):
        predictor(np.zeros((1, 1, 76, 75, 3), np.uint8))


def test_threads_change_no_probability(models):
    one = load_predictor(models[0], runtime="openvino", threads=1)
    np.testing.assert_allclose(one(PATCHES), by_hand(models[0]), atol=1e-5)


def test_a_process_loads_a_model_once_by_the_hash_of_its_weights(models, tmp_path):
    first = load_predictor(models[0], runtime="keras")
    assert load_predictor([models[0]], runtime="keras") is first
    changed = tmp_path / "changed"
    shutil.copytree(models[0], changed)
    before = load_predictor(changed, runtime="keras")
    for name in (CARD, WEIGHTS):
        shutil.copy(models[1] / name, changed / name)
    after = load_predictor(changed, runtime="keras")
    assert after.hash != before.hash == first.hash
    np.testing.assert_allclose(after(PATCHES), by_hand(models[1]), atol=1e-6)


def test_an_ensemble_averages_probabilities_in_any_order(models):
    one, other = (load_predictor(folders, runtime="keras") for folders in (models, models[::-1]))
    expected = (by_hand(models[0]).astype(float) + by_hand(models[1])) / 2
    np.testing.assert_allclose(one(PATCHES), expected, atol=1e-6)
    assert np.array_equal(one(PATCHES), other(PATCHES))
    assert one.hash == other.hash not in (hash_weights(folder) for folder in models)
    assert Ensemble.load(models).identity == Ensemble.load(models[::-1]).identity
    json.dumps(Ensemble.load(models).identity)


def test_models_that_do_not_go_together_are_refused(models, tmp_path):
    other = SPEC.model_copy(update={"mpps": (0.25,)})
    folder = save_model(tmp_path / "fine", 3, input_spec=other)
    with pytest.raises(ModelError, match=r"0\.25.*0\.5"):
        Ensemble.load([models[0], folder])
    with pytest.raises(ModelError, match="twice"):
        Ensemble.load([models[0], models[0]])
    with pytest.raises(ModelError, match="no model folder"):
        Ensemble.load([])


def test_cards_are_read_without_keras(tmp_path):
    folder = save_model(tmp_path / "m", 0, architecture="inception_v3")
    code = (
        "import sys; from pathlib import Path; from gigaslide.models import Ensemble; "
        f"e = Ensemble.load(Path({str(folder)!r})); e.check_weights(); "
        "sys.exit(bool({'keras', 'tensorflow', 'openvino'} & set(sys.modules)))"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_weights_are_hashed_once(models, monkeypatch, tmp_path):
    folder = tmp_path / "m"
    shutil.copytree(models[0], folder)
    read = []
    digest = card_module.hashlib.file_digest
    monkeypatch.setattr(
        card_module.hashlib, "file_digest", lambda f, name: read.append(f.name) or digest(f, name)
    )
    Ensemble.load(folder).check_weights()
    load_predictor(folder, runtime="keras")
    assert read == [str(folder / WEIGHTS)]


def test_a_folder_of_format_1_with_the_optimisers_state_still_loads(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "inception_v3_small", TINY)  # what the card names
    keras.utils.set_random_seed(7)
    network = build_network("inception_v3_small", SPEC)
    network.compile("rmsprop", "sparse_categorical_crossentropy")
    network.train_on_batch(PATCHES, np.arange(6) % 2)
    network.save_weights(tmp_path / WEIGHTS)
    with h5py.File(tmp_path / WEIGHTS) as file:
        assert "optimizer" in file
    card = {
        "format": "gigaslide-model/1",
        "architecture": "inception_v3",
        "width": "small",
        "patch_px": 75,
        "centre_px": 32,
        "mpp": 0.5,
        "classes": ["normal", "tumor"],
        "colour": "RGB in [0, 255], scaled to [-1, 1] inside the network",
        "parameters": parameter_counts(network),
        "training": {"settings": {"width": "small"}},
        "weights_sha256": hash_weights(tmp_path),
    }
    (tmp_path / CARD).write_text(json.dumps(card))
    loaded = ModelCard.load(tmp_path)
    assert (loaded.architecture, loaded.input_spec) == ("inception_v3_small", SPEC)
    assert loaded.training == card["training"]
    scores = load_predictor(tmp_path, runtime="keras")(PATCHES)
    expected = keras.ops.convert_to_numpy(network(PATCHES, training=False))
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_openvino_reports_its_use_to_nobody(models, monkeypatch):
    from openvino_telemetry import Telemetry

    monkeypatch.delenv("CI", raising=False)
    load_predictor(models[1], runtime="openvino")
    # The one of this process; one that the conversion had not made would report.
    assert not Telemetry(tid="none", enable_opt_in_dialog=False).consent
    assert "CI" not in os.environ


def test_a_runtime_with_other_probabilities_is_not_used(models, monkeypatch, caplog, tmp_path):
    folder = save_model(tmp_path / "m", 11)
    half = lambda network, threads: lambda patches: np.full((len(patches), 2), 0.5)  # noqa: E731
    monkeypatch.setitem(RUNTIMES, "openvino", half)
    with pytest.raises(ModelError, match=r"openvino.*differ.*0\.\d+.*--runtime keras"):
        load_predictor(folder, runtime="openvino")
    with caplog.at_level(logging.WARNING):
        predictor = load_predictor(folder)
    assert predictor.runtime == "keras"
    assert "openvino" in caplog.text
    np.testing.assert_allclose(predictor(PATCHES), by_hand(folder), atol=1e-6)


def test_fault_43_weights_of_another_training_are_refused(models, tmp_path):
    folder = tmp_path / "m"
    shutil.copytree(models[0], folder)
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=hash_weights(models[0])[:12]):
        load_predictor(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=WEIGHTS):
        Ensemble.load(folder).check_weights()
    for content in ("{}", "[]", "nonsense", '{"format": "gigaslide-model/1"}'):
        (folder / CARD).write_text(content)
        with pytest.raises(ModelError, match="not a model folder"):
            Ensemble.load(folder)


def test_fault_43_weights_of_another_shape_are_refused(tmp_path):
    folder = save_model(tmp_path / "m", 1, architecture="inception_v3_small")
    with pytest.raises(ModelError, match="do not fit"):
        load_predictor(folder)


def test_fault_43_weights_of_another_width_are_refused_with_both_shapes(tmp_path):
    folder = save_model(tmp_path / "m", 1, "compact")
    card = ModelCard.load(folder)
    options = {**card.options, "widths": [0.5]}
    card.model_copy(update={"options": options}).save(folder)
    with pytest.raises(ModelError, match=r"do not fit") as refused:
        load_predictor(folder)
    shapes = set(re.findall(r"\(\d+(?:, \d+)*,?\)", str(refused.value)))
    assert len(shapes) >= 2


def test_fault_42_links_to_other_files_in_a_model_folder_are_not_followed(tmp_path):
    secret = save_model(tmp_path / "secret", 1) / WEIGHTS
    folder = save_model(tmp_path / "m", 2)
    with h5py.File(folder / WEIGHTS, "w") as file:
        file["layers"] = h5py.ExternalLink(str(secret), "/layers")
    card = ModelCard.load(folder)
    card.model_copy(update={"weights_sha256": hash_weights(folder)}).save(folder)
    with pytest.raises(ModelError, match="do not fit"):
        load_predictor(folder)


def test_fault_42_whole_models_and_bombs_are_refused_and_never_run(tmp_path):
    canary = tmp_path / "canary"

    def touch(x):
        canary.touch()
        return x

    whole = keras.Sequential([keras.Input(SPEC.shape), keras.layers.Lambda(touch)])
    canary.unlink(missing_ok=True)
    whole.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("weights", bytes(2**24))
    for name in ("whole.keras", "bomb.zip"):
        folder = save_model(tmp_path / name.split(".")[0], 1)
        shutil.copy(tmp_path / name, folder / WEIGHTS)
        card = json.loads((folder / CARD).read_text())
        card["weights_sha256"] = hash_weights(folder)
        (folder / CARD).write_text(json.dumps(card))
        with pytest.raises(ModelError, match="do not fit"):
            load_predictor(folder)
    card["architecture"] = "os.system"
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"os\.system.*tiny"):
        Ensemble.load(folder)
    assert not canary.exists()


def test_any_function_can_stand_in_for_a_network():
    predictor = Predictor(spec=SPEC, forward=lambda p: np.ones((len(p), 2)), hash="h")
    assert predictor(PATCHES).dtype == np.float32


@pytest.mark.parametrize(
    "setting",
    [{"image_data_format": "channels_first"}, {"floatx": "float16"}, {"backend": "torch"}],
)
def test_networks_do_not_depend_on_the_users_keras_settings(tmp_path, setting):
    (tmp_path / "keras.json").write_text(json.dumps(setting))
    code = (
        "from gigaslide.models import build_network\n"
        "from gigaslide.wsi import InputSpec\n"
        "spec = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))\n"
        "network = build_network('inception_v3_small', spec)\n"
        "print(network.count_params(), network.output.dtype)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    environment["KERAS_HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["283759", "float32"], done.stderr
    if "backend" not in setting:
        assert next(iter(setting)) in done.stderr


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nosuch")
    with pytest.raises(ModelError, match="nosuch"):
        choose_backend()
