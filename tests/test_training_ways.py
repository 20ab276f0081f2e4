"""Freezing, bfloat16, XLA and several devices."""

import logging
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from gigaslide.models import ARCHITECTURES, build_network
from gigaslide.patching import PatchStore
from gigaslide.storage import ModelError, SettingsError
from gigaslide.training import Sampler, TrainSettings, train
from gigaslide.training.network.build import NetworkBuilder
from gigaslide.training.network.freezing import freeze_layers
from gigaslide.training.network.hardware import check_against_float32, spread_over_devices
from gigaslide.training.report.history import load_history
from gigaslide.wsi import InputSpec
from pydantic import ValidationError
from tiny_network import TINY
from training_store import EXTENT, SHORT, make_store

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


def learning(network: keras.Model) -> list[str]:
    return [variable.path for variable in network.trainable_variables]


def frozen(**given) -> TrainSettings:
    return TrainSettings(initial_weights="x", recipe="modern", architecture="compact", **given)


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ("none", ["first", "first", "normalised", "normalised", "last", "last"]),
        ("towers", []),
        ("1", []),
        ("2", ["last", "last"]),
        ("norm", ["normalised", "normalised", "last", "last"]),
        ("9", ["first", "first", "normalised", "normalised", "last", "last"]),
    ],
)
def test_all_but_the_last_layers_can_be_frozen(tiny, freeze, expected):
    network = build_network("compact", SPEC)
    freeze_layers(network, frozen(freeze=freeze), step=0)
    names = [path.split("/")[0] for path in learning(network)]
    assert names == [*expected, "classifier", "classifier"]


def test_layers_of_an_inner_network_can_be_frozen_by_name():
    network = build_network("MobileNetV3Small", SPEC)
    freeze_layers(network, frozen(freeze="expanded_conv_10"), step=0)
    layers = {path.split("/")[-2] for path in learning(network)}
    assert "expanded_conv_10_expand" in layers
    assert not [name for name in layers if name.startswith("expanded_conv_9")]


def test_a_layer_that_the_network_lacks_is_refused(tiny):
    with pytest.raises(SettingsError, match=r"mixed7.*last"):
        freeze_layers(build_network("compact", SPEC), frozen(freeze="mixed7"), step=0)


def test_settings_of_freezing_that_do_nothing_are_refused():
    with pytest.raises(ValidationError, match="initial"):
        TrainSettings(freeze="3")
    with pytest.raises(ValidationError, match="freeze"):
        TrainSettings(unfreeze_after=100)
    with pytest.raises(ValidationError, match="3 devices"):
        TrainSettings(devices=3, batch_size=32)


@pytest.mark.slow
def test_frozen_layers_learn_later_and_a_stop_changes_nothing(tiny, store, tmp_path):
    """The classifier alone for 32 examples, then all but batch normalisation."""
    source = tmp_path / "first.weights.h5"
    build_network("compact", store.input_spec).save_weights(source)
    settings = TrainSettings(
        recipe="modern",
        initial_weights=str(source),
        architecture="compact",
        freeze="towers",
        unfreeze_after=32,
        **SHORT.model_dump(include=EXTENT),
    )

    class StopError(Exception):
        pass

    def stop(examples, _figures):
        if examples > limit:
            raise StopError

    for name, limits in (("whole", []), ("stopped", [16, 48])):
        for limit in limits:  # noqa: B007 -- `stop` reads it
            with pytest.raises(StopError):
                train(store, tmp_path / name, settings, on_step=stop)
        train(store, tmp_path / name, settings)
    first = build_network("compact", store.input_spec)
    first.load_weights(source)
    whole, stopped = (build_network("compact", store.input_spec) for _ in range(2))
    whole.load_weights(tmp_path / "whole" / "last.weights.h5")
    stopped.load_weights(tmp_path / "stopped" / "last.weights.h5")
    assert all(map(np.array_equal, whole.get_weights(), stopped.get_weights()))
    before = {v.path: np.asarray(v) for v in first.variables}
    changed = {v.path for v in whole.variables if not np.array_equal(v, before.get(v.path))}
    assert {path.split("/")[0] for path in changed} >= {"first", "last", "classifier"}
    assert "normalised/gamma" not in changed
    assert "normalised/moving_mean" not in changed
    rows = (tmp_path / "whole" / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["32", "48", "96"]
    history = load_history(tmp_path / "whole" / "history.csv")
    assert 0 < history[1].learning_rate <= 0.1 * settings.learning_rate


def test_weights_of_other_patches_are_taken_with_a_warning(tiny, store, tmp_path, caplog):
    train(store, tmp_path / "model", SHORT)
    settings = SHORT.model_copy(update={"initial_weights": str(tmp_path / "model")})
    same = store.input_spec
    for spec, told in ((same, False), (same.model_copy(update={"mpps": (1.0,)}), True)):
        caplog.clear()
        NetworkBuilder(settings, spec, steps=6).build(0)
        assert ("75 px at 0.5 µm/px; here they have 75 px at 1 µm/px" in caplog.text) == told


@pytest.mark.slow
def test_bfloat16_and_xla_train_and_tell_their_difference(tiny, store, tmp_path, caplog):
    settings = SHORT.model_copy(update={"precision": "bfloat16", "xla": True, "examples": 32})
    with caplog.at_level(logging.WARNING):
        train(store, tmp_path / "model", settings)
    assert "bfloat16 with XLA" in caplog.text
    assert keras.config.dtype_policy().name == "float32"
    kept = build_network("compact", store.input_spec)
    kept.load_weights(tmp_path / "model" / "model.weights.h5")
    assert {weight.dtype for weight in kept.get_weights()} == {np.dtype("float32")}


def test_a_fast_way_that_differs_is_refused(tiny, store):
    batch = Sampler(store=store, split="train", spec=SPEC, batch_size=8, seed=0, augment=None).draw(
        0
    )
    fast, plain = (build_network("compact", SPEC) for _ in range(2))

    class Wrong:
        def get_weights(self):
            return fast.get_weights()

        def predict_on_batch(self, patches):
            return np.asarray(fast.predict_on_batch(patches)) + 0.1

    with pytest.raises(ModelError, match=r"float8.*0\.1"):
        check_against_float32(Wrong(), plain, batch, way="float8")


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(SettingsError, match=r"devices 64: .*has 1"):
        spread_over_devices(64)


ONE_STEP = """
import sys
from pathlib import Path

import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from gigaslide.models import ARCHITECTURES
from gigaslide.patching import PatchStore
from gigaslide.training import train
from plain_network import PLAIN
from training_store import SHORT

ARCHITECTURES["compact"] = PLAIN
store, out = map(Path, sys.argv[1:])
for devices in (1, 2):
    settings = SHORT.model_copy(
        update={"examples": 16, "devices": devices, "optimizer": "rmsprop", "dropout": 0.0}
    )
    train(PatchStore(store), out / f"on_{devices}", settings)
"""


@pytest.mark.slow
def test_a_step_on_two_devices_equals_the_step_on_one(store, tmp_path):
    """Two logical CPUs; the network has neither batch normalisation nor dropout, which depend on
    the share of the batch that a device sees."""
    subprocess.run(
        [sys.executable, "-c", ONE_STEP, str(store.path), str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    weights = []
    for name in ("on_1", "on_2"):
        with h5py.File(tmp_path / name / "last.weights.h5") as file:
            found = {}
            file.visititems(lambda path, item, found=found: found.update({path: item}))
            weights.append({p: np.asarray(i) for p, i in found.items() if hasattr(i, "shape")})
    one, two = weights
    assert one.keys() == two.keys()
    for path, values in one.items():
        np.testing.assert_allclose(two[path], values, atol=1e-6)
