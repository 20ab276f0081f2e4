"""Training and prediction on the backend of Keras that KERAS_BACKEND names: what holds on all.

`make test-backends` runs these tests on TensorFlow, JAX and PyTorch in turn.
"""

import importlib.util
import logging
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from gigaslide.models import ARCHITECTURES, load_predictor
from gigaslide.patching import PatchStore
from gigaslide.storage import SettingsError
from gigaslide.training import TrainSettings, train
from gigaslide.training.network.hardware import spread_over_devices
from tiny_network import TINY
from training_store import EXTENT, SHORT, make_store

pytestmark = pytest.mark.backends

BACKENDS = ("tensorflow", "jax", "torch")
HERE = keras.backend.backend()
AVERAGED = SHORT.model_copy(update={"average": 0.9, "checkpoint_minutes": 0.0})
"""With dropout, averaged weights, and a checkpoint after every step."""

PREDICT = """
import sys
from pathlib import Path

import numpy as np
from gigaslide.models import ARCHITECTURES, load_predictor
from tiny_network import TINY

ARCHITECTURES["compact"] = TINY
model, patches, out = map(Path, sys.argv[1:])
np.save(out, load_predictor(model, runtime="keras")(np.load(patches)))
"""

ONE_STEP = """
import sys
from pathlib import Path

from gigaslide.models import ARCHITECTURES
from gigaslide.patching import PatchStore
from gigaslide.training import train
from plain_network import PLAIN
from training_store import SHORT

ARCHITECTURES["compact"] = PLAIN
store, out = map(Path, sys.argv[1:])
for devices in (1, 2):
    settings = SHORT.model_copy(
        update={"devices": devices, "optimizer": "rmsprop", "dropout": 0.0, "average": 0.9}
        | {"examples": 32, "validate_every": 16}
    )
    train(PatchStore(store), out / f"on_{devices}", settings)
"""


class StopError(Exception):
    pass


def run_script(script: str, *arguments: object, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """Model folder of the training that never stopped."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ARCHITECTURES, "compact", TINY)
        folder = tmp_path_factory.mktemp("whole") / "model"
        train(store, folder, AVERAGED)
    return folder


def draw_patches(store: PatchStore) -> np.ndarray:
    shape = (5, *store.input_spec.shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def read_weights(path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item}))
        return {name: np.asarray(item) for name, item in found.items() if hasattr(item, "shape")}


def test_a_stopped_training_goes_on_to_the_same_weights(store, whole, tmp_path):
    """Stopped between two validations, twice; dropout and the averages go on."""
    seen = []

    def stop(examples, _figures):
        seen.append(examples)
        if examples in (32, 80) and seen.count(examples) == 1:
            raise StopError

    model = tmp_path / "model"
    for _ in range(2):
        with pytest.raises(StopError):
            train(store, model, AVERAGED, on_step=stop)
    train(store, model, AVERAGED, on_step=stop)
    assert seen == [16, 32, 32, 48, 64, 80, 80, 96]
    for name in ("last.weights.h5", "model.weights.h5"):
        expected, found = read_weights(whole / name), read_weights(model / name)
        assert expected.keys() == found.keys()
        for path, values in expected.items():
            np.testing.assert_array_equal(found[path], values, err_msg=path)


def test_averages_are_kept_and_the_network_goes_on_with_its_own_weights(store, whole):
    """The optimiser's averages after the last step are the model's last weights."""
    newest = max(whole.with_name("model.checkpoint").iterdir())
    training = read_weights(newest / "training.weights.h5")
    last = read_weights(newest / "last.weights.h5")
    kernel = "layers/conv2d/vars/0"
    assert not np.array_equal(training[kernel], last[kernel])
    averages = [v for name, v in training.items() if name.startswith("optimizer/")]
    assert any(np.array_equal(v, last[kernel]) for v in averages)


@pytest.mark.parametrize("other", BACKENDS)
def test_a_model_predicts_alike_on_other_backends(store, whole, tmp_path, other):
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    patches = draw_patches(store)
    expected = load_predictor(whole, runtime="keras")(patches)
    np.save(tmp_path / "patches.npy", patches)
    out = tmp_path / "scores.npy"
    run_script(PREDICT, whole, tmp_path / "patches.npy", out, KERAS_BACKEND=other)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(np.load(out), expected, atol=1e-5)


def test_the_runtime_chosen_automatically_predicts_as_keras_does(store, whole):
    patches = draw_patches(store)
    predictor = load_predictor(whole, runtime="auto")
    assert predictor.runtime in ("openvino", "keras")
    expected = load_predictor(whole, runtime="keras")(patches)
    np.testing.assert_allclose(predictor(patches), expected, atol=1e-5)


def test_frozen_layers_learn_later(store, whole, tmp_path):
    """The classifier alone for 32 examples, then all but batch normalisation."""
    extent = SHORT.model_dump(include=EXTENT)
    settings = TrainSettings(
        recipe="modern",
        initial_weights=str(whole),
        architecture="compact",
        freeze="towers",
        unfreeze_after=32,
        **extent,
    )
    train(store, tmp_path / "model", settings)
    before = read_weights(whole / "model.weights.h5")
    after = read_weights(tmp_path / "model" / "last.weights.h5")
    changed = {
        path.split("/")[1] for path in before if not np.array_equal(before[path], after[path])
    }
    assert changed == {"conv2d", "conv2d_1", "dense"}


def test_a_probe_fits_the_classifier(store, whole, tmp_path):
    settings = TrainSettings(
        recipe="probe",
        initial_weights=str(whole),
        architecture="compact",
        **SHORT.model_dump(include=EXTENT - {"augment"}),
    )
    outcome = train(store, tmp_path / "model", settings)
    assert outcome.best.examples == 96
    before = read_weights(whole / "model.weights.h5")
    after = read_weights(tmp_path / "model" / "last.weights.h5")
    changed = {
        path.split("/")[1] for path in before if not np.array_equal(before[path], after[path])
    }
    assert changed == {"dense"}


def test_bfloat16_trains_and_keeps_float32(store, tmp_path, caplog):
    settings = SHORT.model_copy(update={"precision": "bfloat16", "examples": 32})
    with caplog.at_level(logging.WARNING):
        train(store, tmp_path / "model", settings)
    assert "bfloat16: probabilities" in caplog.text
    assert keras.config.dtype_policy().name == "float32"
    weights = read_weights(tmp_path / "model" / "model.weights.h5")
    assert {values.dtype for values in weights.values()} == {np.dtype("float32")}


def test_xla_trains_or_is_refused(store, tmp_path, caplog):
    settings = SHORT.model_copy(update={"xla": True, "examples": 32})
    if HERE == "torch":
        with pytest.raises(SettingsError, match="xla"):
            train(store, tmp_path / "model", settings)
        return
    with caplog.at_level(logging.WARNING):
        train(store, tmp_path / "model", settings)
    assert "XLA: probabilities" in caplog.text


def test_a_step_on_two_devices_equals_the_step_on_one_or_is_refused(store, tmp_path):
    """Two virtual CPUs. The network has neither batch normalisation nor dropout."""
    if HERE == "tensorflow":
        pytest.skip("tests/test_training_ways.py does this on TensorFlow")
    if HERE == "torch":
        with pytest.raises(SettingsError, match="devices 2"):
            spread_over_devices(2)
        return
    flags = "--xla_force_host_platform_device_count=2"
    run_script(ONE_STEP, store.path, tmp_path, XLA_FLAGS=flags)
    one, two = (read_weights(tmp_path / name / "last.weights.h5") for name in ("on_1", "on_2"))
    assert one.keys() == two.keys()
    for path, values in one.items():
        np.testing.assert_allclose(two[path], values, atol=1e-6, err_msg=path)


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(SettingsError, match="devices 64"):
        spread_over_devices(64)
