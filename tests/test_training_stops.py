"""Stops at awkward moments: during a validation, at the unfreezing step; an end that comes early;
checkpoints whose recipe is damaged."""

import logging
import os
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from gigaslide.batch import Stopped
from gigaslide.batch.stop import StopRequest
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import ARCHITECTURES, build_network
from gigaslide.patching import PatchStore
from gigaslide.training import TrainSettings, train
from gigaslide.training.checkpoints.files import find_checkpoints
from gigaslide.training.report.history import load_history
from gigaslide.training.validation.slides import SlideValidation
from gigaslide.training.validation.validate import Validation
from tiny_network import TINY
from training_store import EXTENT, SHORT, make_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stops")


@pytest.fixture(scope="module")
def store(folder) -> PatchStore:
    return make_store(folder)


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """Model of the training that never stopped."""
    model = tmp_path_factory.mktemp("whole") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "compact", TINY)
        train(store, model, SHORT)
    return model


def ask_to_stop() -> None:
    if not isinstance(signal.getsignal(signal.SIGTERM), StopRequest):
        pytest.fail("nothing handles SIGTERM, which would end the tests")
    os.kill(os.getpid(), signal.SIGTERM)


def assert_same_weights(store, one, other) -> None:
    networks = [build_network("compact", store.input_spec) for _ in range(2)]
    for name in ("last.weights.h5", "model.weights.h5"):
        for network, folder in zip(networks, (one, other), strict=True):
            network.load_weights(folder / name)
        pairs = zip(*(network.get_weights() for network in networks), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_stop_during_the_last_validation_loses_no_step(store, whole, tmp_path, monkeypatch):
    model, score, calls = tmp_path / "model", Validation._score, []

    def stop_in_the_last(self):
        calls.append(self.progress.state.step)
        if calls == [3, 6]:
            ask_to_stop()
        return score(self)

    monkeypatch.setattr(Validation, "_score", stop_in_the_last)
    with pytest.raises(Stopped) as caught:
        train(store, model, SHORT)
    assert caught.value.exit_status == 143
    assert not model.exists()
    assert find_checkpoints(tmp_path / "model.checkpoint")[0].name == "step_00000006"
    seen = []
    train(store, model, SHORT, on_step=lambda examples, _: seen.append(examples))
    assert seen == []  # only the validation was missing
    assert_same_weights(store, whole, model)
    rows, wanted = (load_history(one / "history.csv") for one in (model, whole))
    assert [row.validation_loss for row in rows] == [row.validation_loss for row in wanted]
    assert [row.train_loss for row in rows] == pytest.approx([row.train_loss for row in wanted])


def test_a_stop_while_whole_slides_are_validated_loses_no_step(
    folder, store, tmp_path, monkeypatch
):
    path = {slide.id: folder / f"{slide.id}.tif" for slide in store.slides}
    rows = [
        CohortSlide(
            id="v",
            path=path["v"],
            annotation=folder / "v.geojson",
            label="tumor",
            patient="v",
            split="validation",
        ),
        CohortSlide(id="n", path=path["n"], label="normal", patient="n", split="validation"),
    ]
    settings = SHORT.model_copy(update={"validate_slides_every": 96})
    model, measure, calls = tmp_path / "model", SlideValidation.measure, []

    def stop_at_once(self, network, *, on_call):
        calls.append(1)
        if len(calls) == 1:
            ask_to_stop()
        return measure(self, network, on_call=on_call)

    monkeypatch.setattr(SlideValidation, "measure", stop_at_once)
    with pytest.raises(Stopped):
        train(store, model, settings, slides=Cohort.of_rows(rows))
    assert find_checkpoints(tmp_path / "model.checkpoint")[0].name == "step_00000006"
    seen = []
    train(
        store,
        model,
        settings,
        slides=Cohort.of_rows(rows),
        on_step=lambda examples, _: seen.append(examples),
    )
    assert (seen, len(calls)) == ([], 2)
    history = load_history(model / "history.csv")
    assert [row.slide_auc is not None for row in history] == [False, True]


def test_a_stop_at_the_unfreezing_step_changes_nothing(store, tmp_path):
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
    train(store, tmp_path / "whole", settings)

    def stop(examples, _figures):
        if examples == 32:
            ask_to_stop()

    with pytest.raises(Stopped):
        train(store, tmp_path / "stopped", settings, on_step=stop)
    assert find_checkpoints(tmp_path / "stopped.checkpoint")[0].name == "step_00000002"
    train(store, tmp_path / "stopped", settings)
    assert_same_weights(store, tmp_path / "whole", tmp_path / "stopped")
    rows = [load_history(tmp_path / name / "history.csv") for name in ("whole", "stopped")]
    assert [row.examples for row in rows[0]] == [row.examples for row in rows[1]] == [32, 48, 96]


def test_a_larger_patience_goes_on_after_an_early_end(store, tmp_path):
    """Nothing is learnt, so that the first validation stays the best."""
    still = {"learning_rate": 1e-12, "validate_every": 16, "examples": 96, "patience": 1}
    settings = SHORT.model_copy(update=still)
    model = tmp_path / "model"

    def rows() -> int:
        return len(load_history(model / "history.csv"))

    assert train(store, model, settings).trained
    early = rows()
    assert early < 6
    assert not train(store, model, settings).trained
    assert train(store, model, settings.model_copy(update={"patience": 0})).trained
    assert rows() == 6
    assert not list(tmp_path.glob("model.old-*"))
    assert not train(store, model, settings.model_copy(update={"patience": 3})).trained


@pytest.fixture(scope="module")
def stopped(store, tmp_path_factory):
    """Checkpoints of a training that was stopped after four steps."""
    model = tmp_path_factory.mktemp("stopped") / "model"

    def stop(examples, _figures):
        if examples == 64:
            ask_to_stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "compact", TINY)
        with pytest.raises(Stopped):
            train(store, model, SHORT, on_step=stop)
    return model.with_name("model.checkpoint")


def test_a_damaged_recipe_of_the_newest_checkpoint_costs_its_steps_alone(
    store, whole, stopped, tmp_path, caplog
):
    model = tmp_path / "model"
    shutil.copytree(stopped, tmp_path / "model.checkpoint")
    newest, before = find_checkpoints(tmp_path / "model.checkpoint")
    (newest / "recipe.json").write_text("{")
    seen = []
    with caplog.at_level(logging.WARNING):
        train(store, model, SHORT, on_step=lambda examples, _: seen.append(examples))
    assert str(newest) in caplog.text
    assert seen[0] == 16 * (int(before.name.removeprefix("step_")) + 1)
    assert_same_weights(store, whole, model)


def test_checkpoints_without_a_readable_recipe_are_moved_aside(
    store, whole, stopped, tmp_path, caplog
):
    model = tmp_path / "model"
    shutil.copytree(stopped, tmp_path / "model.checkpoint")
    found = find_checkpoints(tmp_path / "model.checkpoint")
    for checkpoint in found:
        (checkpoint / "recipe.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        train(store, model, SHORT)
    moved = find_checkpoints(tmp_path / "model.checkpoint.old-1")
    assert [path.name for path in moved] == [path.name for path in found]
    assert "model.checkpoint.old-1" in caplog.text
    assert_same_weights(store, whole, model)


UNFREEZE = """
import sys
from pathlib import Path

import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from gigaslide.models import ARCHITECTURES
from gigaslide.patching import PatchStore
from gigaslide.training import TrainSettings, train
from plain_network import PLAIN
from training_store import EXTENT, SHORT

ARCHITECTURES["compact"] = PLAIN
store, out = map(Path, sys.argv[1:])
given = SHORT.model_dump(include=EXTENT) | {"examples": 48, "validate_every": 48}
for devices in (1, 2):
    settings = TrainSettings(
        recipe="modern",
        architecture="compact",
        initial_weights=str(out / "first.weights.h5"),
        freeze="towers",
        unfreeze_after=16,
        devices=devices,
        optimizer="rmsprop",
        dropout=0.0,
        **given,
    )
    train(PatchStore(store), out / f"on_{devices}", settings)
"""


def read_arrays(path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda place, item: found.update({place: item}))
        return {place: np.asarray(item) for place, item in found.items() if hasattr(item, "shape")}


def test_two_devices_unfreeze_as_one_does(store, tmp_path, monkeypatch):
    from plain_network import PLAIN

    monkeypatch.setitem(ARCHITECTURES, "compact", PLAIN)
    build_network("compact", store.input_spec).save_weights(tmp_path / "first.weights.h5")
    subprocess.run(
        [sys.executable, "-c", UNFREEZE, str(store.path), str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    first = read_arrays(tmp_path / "first.weights.h5")
    one, two = (read_arrays(tmp_path / f"on_{n}" / "last.weights.h5") for n in (1, 2))
    assert one.keys() == two.keys() == first.keys()
    for place, values in one.items():
        assert not np.array_equal(values, first[place]), place  # every layer has learnt
        np.testing.assert_allclose(two[place], values, atol=1e-5)
