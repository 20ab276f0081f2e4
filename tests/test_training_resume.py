"""Trainings that stop: by a signal, a kill, NaN, a full disk or damaged checkpoints."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from gigaslide.models import ARCHITECTURES, build_network
from gigaslide.patching import PatchStore
from gigaslide.storage import ModelError, SettingsError, StoreError
from gigaslide.training import Sampler, TrainSettings, train
from gigaslide.training.checkpoints.checkpoint import Checkpoints
from gigaslide.training.checkpoints.files import find_checkpoints
from gigaslide.training.network.learning_rate import HalvingWithCooldown
from keras import ops
from PIL import Image
from tiny_network import TINY
from training_store import EXTENT, SHORT, make_store

FIGURES = ["examples", "learning_rate", "train_loss", "train_accuracy", "validation_loss"]
AVERAGED = SHORT.model_copy(update={"average": 0.9, "checkpoint_minutes": 0.0})
"""With dropout, averaged weights, and a checkpoint after every step."""


SLOW_TRAINING = """
import sys
import time
from pathlib import Path

from gigaslide.batch import Stopped
from gigaslide.models import ARCHITECTURES
from gigaslide.patching import PatchStore
from gigaslide.training import train
from tiny_network import TINY
from training_store import SHORT

store, model, minutes = sys.argv[1:]
ARCHITECTURES["compact"] = TINY
settings = SHORT.model_copy(update={"average": 0.9, "checkpoint_minutes": float(minutes)})
try:
    train(
        PatchStore(Path(store)),
        Path(model),
        settings,
        on_step=lambda *_: (print("step", flush=True), time.sleep(0.3)),
    )
except Stopped as stopped:
    sys.exit(stopped.exit_status)
"""


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    """A network with dropout that trains in seconds."""
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """Model folder of the training that never stopped."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ARCHITECTURES, "compact", TINY)
        folder = tmp_path_factory.mktemp("whole") / "model"
        train(store, folder, AVERAGED)
    return folder


def read_weights(store, folder) -> list[np.ndarray]:
    network = build_network("compact", store.input_spec)
    network.load_weights(folder / "last.weights.h5")
    return network.get_weights()


def assert_same_weights(store, one, other) -> None:
    for a, b in zip(read_weights(store, one), read_weights(store, other), strict=True):
        np.testing.assert_array_equal(a, b)


def stop_after(most: int):
    def stop(examples, _figures):
        if examples > most:
            raise StopError

    return stop


def stop_first(seen: list[int], examples: int) -> None:
    seen.append(examples)
    raise StopError


@pytest.mark.slow
def test_fault_40_a_stopped_training_goes_on_to_the_same_weights(store, tmp_path):
    """On a CPU the weights are those of an uninterrupted training, dropout included."""
    settings, whole = SHORT, tmp_path / "whole"
    train(store, whole, settings)
    with pytest.raises(StopError):
        train(store, tmp_path / "model", settings, on_step=stop_after(48))
    assert not (tmp_path / "model").exists()
    seen = []
    train(store, tmp_path / "model", settings, on_step=lambda examples, _: seen.append(examples))
    assert seen == [64, 80, 96]
    assert_same_weights(store, whole, tmp_path / "model")


@pytest.mark.slow
def test_a_training_stopped_before_its_first_validation_goes_on(store, tmp_path, whole):
    with pytest.raises(StopError):
        train(store, tmp_path / "model", AVERAGED, on_step=stop_after(16))
    seen = []
    train(store, tmp_path / "model", AVERAGED, on_step=lambda examples, _: seen.append(examples))
    assert seen == [32, 48, 64, 80, 96]
    assert_same_weights(store, whole, tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "steps"),
    [(signal.SIGKILL, -9, 1), (signal.SIGKILL, -9, 5), (signal.SIGTERM, 143, 5)],
)
def test_faults_39_40_a_killed_training_goes_on_to_the_same_weights(
    store, tmp_path, whole, number, status, steps
):
    """The process ends between two validations, or before the first: killed after a checkpoint, or
    by SIGTERM, which writes one."""
    model = tmp_path / "model"
    minutes = "0" if number == signal.SIGKILL else "5"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_TRAINING, str(store.path), str(model), minutes],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        for _ in range(steps):  # the third step ends with a validation
            assert process.stdout.readline()
        process.send_signal(number)
        started = time.monotonic()
        assert process.wait(timeout=60) == status
    assert time.monotonic() - started < 30
    assert not model.exists()
    checkpoints = find_checkpoints(tmp_path / "model.checkpoint")
    # A step is told before its checkpoint is written.
    last = 0 if not checkpoints else int(checkpoints[0].name.removeprefix("step_"))
    assert steps - 1 <= last <= steps
    seen = []
    train(store, model, AVERAGED, on_step=lambda examples, _: seen.append(examples))
    assert seen[0] == 16 * (last + 1)
    assert_same_weights(store, whole, model)
    one, other = (pd.read_csv(folder / "history.csv")[FIGURES] for folder in (whole, model))
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
def test_a_training_stopped_before_its_first_validation_continues(store, tmp_path, whole):
    with pytest.raises(StopError):
        train(store, tmp_path / "model", AVERAGED, on_step=stop_after(16))
    assert find_checkpoints(tmp_path / "model.checkpoint")[0].name == "step_00000001"
    seen = []
    train(store, tmp_path / "model", AVERAGED, on_step=lambda examples, _: seen.append(examples))
    assert seen[0] == 32
    assert_same_weights(store, whole, tmp_path / "model")


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(store, tmp_path, whole, caplog):
    model = tmp_path / "model"
    with pytest.raises(StopError):
        train(store, model, AVERAGED, on_step=stop_after(64))
    newest, before = find_checkpoints(tmp_path / "model.checkpoint")
    weights = newest / "training.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    seen = []
    with caplog.at_level(logging.WARNING):
        train(store, model, AVERAGED, on_step=lambda examples, _: seen.append(examples))
    assert str(newest) in caplog.text
    assert seen[0] == 16 * (int(before.name.removeprefix("step_")) + 1)
    assert_same_weights(store, whole, model)


@pytest.mark.slow
def test_checkpoints_that_are_all_damaged_are_refused_and_kept(store, tmp_path):
    with pytest.raises(StopError):
        train(store, tmp_path / "model", AVERAGED, on_step=stop_after(64))
    found = find_checkpoints(tmp_path / "model.checkpoint")
    for folder in found:
        (folder / "training.weights.h5").write_bytes(b"")
    with pytest.raises(StoreError, match=str(found[-1])):
        train(store, tmp_path / "model", AVERAGED)
    assert found[-1].exists()


@pytest.mark.slow
@pytest.mark.parametrize("full", ["shutil.copy", "keras.Model.save_weights"])
def test_fault_26_a_disk_that_fills_while_saving_leaves_the_checkpoint_before(
    store, tmp_path, whole, monkeypatch, full
):
    model = tmp_path / "model"
    save = Checkpoints.save

    def fill(self, network, state, *, is_best):
        if state.step > 4:
            monkeypatch.setattr(full, no_space)
        save(self, network, state, is_best=is_best)

    def no_space(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", fill)
        with pytest.raises(OSError, match="No space"):
            train(store, model, AVERAGED)
    monkeypatch.undo()
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    names = [path.name for path in (tmp_path / "model.checkpoint").iterdir()]
    assert sorted(names) == ["step_00000003", "step_00000004"]
    train(store, model, AVERAGED)
    assert_same_weights(store, whole, model)


@pytest.mark.slow
def test_fault_39_a_training_removes_what_a_killed_save_left(store, tmp_path, whole):
    """A checkpoint that was not written to its end, and one that a new one was replacing: renamed
    away, its successor still hidden."""
    model = tmp_path / "model"
    with pytest.raises(StopError):
        train(store, model, AVERAGED, on_step=stop_after(64))
    folder = tmp_path / "model.checkpoint"
    newest, before = find_checkpoints(folder)
    shutil.copytree(newest, folder / ".step_00000005.0123abcd.partial")
    shutil.copytree(before, folder / f".{before.name}.0123abcd.old")
    newest.rename(folder / f".{newest.name}.89abcdef.old")
    seen = []
    with pytest.raises(StopError):
        train(store, model, AVERAGED, on_step=lambda examples, _: stop_first(seen, examples))
    assert seen == [80]  # the newest came back
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    train(store, model, AVERAGED)
    assert_same_weights(store, whole, model)


@pytest.mark.slow
def test_a_training_that_cannot_begin_leaves_the_checkpoints(store, tmp_path, whole):
    model = tmp_path / "model"
    with pytest.raises(StopError):
        train(store, model, AVERAGED, on_step=stop_after(64))
    before = find_checkpoints(tmp_path / "model.checkpoint")
    with pytest.raises(SettingsError, match="devices 64"):
        train(store, model, AVERAGED.model_copy(update={"devices": 64}))
    assert find_checkpoints(tmp_path / "model.checkpoint") == before
    train(store, model, AVERAGED)
    assert_same_weights(store, whole, model)


@pytest.mark.slow
def test_fewer_examples_than_a_stopped_training_has_seen_end_it(store, tmp_path):
    model = tmp_path / "model"
    with pytest.raises(StopError):
        train(store, model, AVERAGED, on_step=stop_after(80))
    assert train(store, model, AVERAGED.model_copy(update={"examples": 64})).trained


@pytest.mark.slow
def test_a_new_training_renames_the_model_whose_checkpoints_are_gone(store, tmp_path):
    model = tmp_path / "model"
    train(store, model, SHORT)
    kept = (model / "last.weights.h5").read_bytes()
    shutil.rmtree(tmp_path / "model.checkpoint")
    train(store, model, SHORT.model_copy(update={"examples": 112}))
    assert (tmp_path / "model.old-1" / "last.weights.h5").read_bytes() == kept


def test_a_patch_that_cannot_be_read_is_named_not_hidden_by_tensorflow(
    store, tmp_path, monkeypatch
):
    draw = Sampler.draw

    def fail_later(self, number):
        if self.split == "train" and number == 5:  # Keras passes on errors of the first two
            raise StoreError("shard c/0 is damaged")
        return draw(self, number)

    monkeypatch.setattr(Sampler, "draw", fail_later)
    with pytest.raises(StoreError, match="shard c/0"):
        train(store, tmp_path / "model", SHORT.model_copy(update={"validate_every": 96}))


def test_fault_41_a_store_that_changes_while_training_stops_it_and_leaves_the_checkpoint(
    store, tmp_path
):
    copy = tmp_path / "store"
    shutil.copytree(store.path, copy)

    def tile_again(examples, _figures):
        if examples == 64:
            group = copy / "a" / "zarr.json"
            group.write_text(group.read_text().replace('"tumor": 20', '"tumor": 19', 1))

    with pytest.raises(StoreError, match=r"a changed while"):
        train(PatchStore(copy), tmp_path / "model", SHORT, on_step=tile_again)
    (kept,) = find_checkpoints(tmp_path / "model.checkpoint")
    assert kept.name == "step_00000003"


def test_fault_39_nan_loss_names_its_batch_and_keeps_the_checkpoint(store, tmp_path, monkeypatch):
    def explode(self, step):
        return ops.where(step >= 4, 1e30, 0.05)

    monkeypatch.setattr(HalvingWithCooldown, "__call__", explode)
    paper = TrainSettings(
        recipe="paper", **SHORT.model_dump(include=EXTENT), architecture="compact"
    )
    with pytest.raises(ModelError, match=r"batch 5 .*80 to 96.*below 0\.05.*48 examples"):
        train(store, tmp_path / "model", paper)
    assert not (tmp_path / "model").exists()
    (picture,) = tmp_path.glob("model.batch_5.png")
    with Image.open(picture) as image:
        assert image.size == (4 * 83, 4 * 83)  # 16 patches of 75 px and their edges
    kept = Checkpoints.of_model(tmp_path / "model", recipe=None)
    assert [row.examples for row in kept.history()] == [48]
    fine = build_network("compact", store.input_spec)
    fine.load_weights(kept.newest / "last.weights.h5")
    assert all(np.isfinite(weight).all() for weight in fine.get_weights())


def test_fault_39_nan_loss_is_found_long_before_the_next_validation(store, tmp_path, monkeypatch):
    monkeypatch.setattr("gigaslide.training.progress.WATCH_STEPS", 2)
    monkeypatch.setattr(
        HalvingWithCooldown, "__call__", lambda self, step: ops.where(step >= 1, 1e30, 0.05)
    )
    paper = TrainSettings(
        recipe="paper",
        **{**SHORT.model_dump(include=EXTENT), "examples": 480, "validate_every": 480},
        architecture="compact",
    )
    seen = []
    with pytest.raises(ModelError, match="batch 2 "):
        train(store, tmp_path / "model", paper, on_step=lambda examples, _: seen.append(examples))
    assert max(seen) <= 16 * 6
