"""Trackers of experiments: each in a folder of its own, without a network, over two trainings of
which the second continues the first."""

import importlib
import importlib.util
import json
import socket
import sqlite3
import struct
import types

import pytest
from gigaslide.storage import ModelError, SettingsError
from gigaslide.training import TrainSettings
from gigaslide.training.report.history import HistoryRow
from gigaslide.training.report.trackers import TRACKERS, TrackedRun, check_trackers, tracking_folder

PARAMS = {"recipe": "modern", "augment.hue": 0.02, "scales": [0.5, 1.0]}
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_DIR")


def row(examples: int, auc: float) -> HistoryRow:
    return HistoryRow(
        examples=examples,
        seconds=examples / 10,
        learning_rate=0.01,
        train_loss=0.7,
        train_accuracy=0.5,
        validation_loss=0.6,
        validation_auc=auc,
    )


@pytest.fixture
def offline(monkeypatch) -> list:
    """No network but this machine; the addresses that were asked for."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    asked, connect = [], socket.socket.connect

    def refuse(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            asked.append(address)
            raise OSError(f"no network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return asked


def needs(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'gigaslide[track]'")


def interrupt(name: str, model, history: list[HistoryRow]) -> None:
    """A training that is stopped after two validations."""
    tracked = TrackedRun.open([name], model, resumed=False)
    with tracked.started(PARAMS):
        tracked.log(history[:1])
        tracked.log(history)
        raise KeyboardInterrupt


def train_twice(name: str, model) -> TrackedRun:
    """Two validations, an interruption, and one more; the model's history is the artifact."""
    history = [row(48, 0.61), row(96, 0.73)]
    with pytest.raises(KeyboardInterrupt):
        interrupt(name, model, history)
    stopped = json.loads((tracking_folder(model) / "run.json").read_text())
    history.append(row(144, 0.85))
    with TrackedRun.open([name], model, resumed=True).started(PARAMS) as second:
        second.log(history)
        model.mkdir()
        (model / "history.csv").write_text("examples\n")
        second.artifact(model / "history.csv")
    assert stopped == {"run": second.run, "logged": {name: 96}}
    assert second.logged == {name: 144}
    assert name in second.trackers  # which it is not after a failure
    return second


def test_tensorboard_shows_one_run_of_three_validations(tmp_path, offline):
    needs("tensorboard")
    backend = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = importlib.import_module(backend).EventAccumulator
    make_ndarray = importlib.import_module("tensorboard.util.tensor_util").make_ndarray
    tracked = train_twice("tensorboard", tmp_path / "model")
    (place,) = (tracking_folder(tmp_path / "model") / "tensorboard").iterdir()
    assert place.name == tracked.run
    events = accumulator(str(place))
    events.Reload()
    found = {e.step: float(make_ndarray(e.tensor_proto)) for e in events.Tensors("validation_auc")}
    assert found == pytest.approx({48: 0.61, 96: 0.73, 144: 0.85})
    assert "waiting_share" not in events.Tags()["tensors"]  # it was not measured
    assert json.loads((place / "settings.json").read_text())["augment.hue"] == 0.02
    assert (place / "history.csv").exists()
    assert not offline


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of SQLAlchemy and pydantic
def test_mlflow_keeps_one_run_in_sqlite(tmp_path, offline):
    needs("mlflow")
    train_twice("mlflow", tmp_path / "model")
    folder = tracking_folder(tmp_path / "model")
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("SELECT name, status FROM runs").fetchall() == [
            ("model", "FINISHED")
        ]
        steps = "SELECT step, value FROM metrics WHERE key = 'validation_auc' ORDER BY step"
        assert database.execute(steps).fetchall() == [(48, 0.61), (96, 0.73), (144, 0.85)]
        params = dict(database.execute("SELECT key, value FROM params").fetchall())
    assert params == {"recipe": "modern", "augment.hue": "0.02", "scales": "[0.5, 1.0]"}
    assert [path.parent.name for path in folder.rglob("history.csv")] == ["artifacts"]
    tracked = TrackedRun.open(["mlflow"], tmp_path / "model", resumed=True)
    with pytest.raises(ModelError), tracked.started(PARAMS):
        raise ModelError("the loss became NaN")
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("FAILED",)]
    assert not offline


@pytest.mark.filterwarnings("ignore")
def test_mlflow_writes_where_the_user_says(tmp_path, offline, monkeypatch):
    needs("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'own.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    monkeypatch.chdir(tmp_path)
    with TrackedRun.open(["mlflow"], tmp_path / "m", resumed=False).started(PARAMS) as tracked:
        tracked.log([row(48, 0.61)])
    with sqlite3.connect(tmp_path / "own.db") as database:
        names = database.execute("SELECT name FROM experiments").fetchall()
        assert ("ours",) in names
        assert database.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)
    assert not (tracking_folder(tmp_path / "m") / "mlflow.db").exists()


def wandb_history(content: bytes):
    """Figures of each step in a file of Weights & Biases: records as LevelDB logs them, in blocks
    of 32 KiB, each with its checksum (4 bytes), length (2) and type (1) before it."""
    record_of = importlib.import_module("wandb.proto.wandb_internal_pb2").Record.FromString
    at, whole = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record, whole = record_of(whole), b""
            if record.HasField("history"):
                yield {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }


@pytest.mark.filterwarnings("ignore")
def test_wandb_stays_offline_and_keeps_one_run(tmp_path, offline):
    needs("wandb")
    tracked = train_twice("wandb", tmp_path / "model")
    folder = tracking_folder(tmp_path / "model") / "wandb"
    runs = sorted(folder.glob("offline-run-*"))
    assert len(runs) == 2  # `wandb sync` joins them, because both have the id
    assert all(run.name.endswith(f"-{tracked.run}") for run in runs)
    found = {}
    for run in runs:
        for items in wandb_history(next(run.glob("*.wandb")).read_bytes()):
            found[items["_step"]] = items["validation_auc"]
    assert found == pytest.approx({48: 0.61, 96: 0.73, 144: 0.85})
    kept = runs[1] / "files" / "history.csv"
    assert kept.is_file()
    assert not kept.is_symlink()
    assert not offline


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("gigaslide.training.report.trackers.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"wandb.*gigaslide\[track\]") as told:
        check_trackers(["wandb"])
    assert "\n" not in str(told.value)
    check_trackers([])
    assert set(TRACKERS) == {"tensorboard", "mlflow", "wandb"}
    with pytest.raises(ValueError, match="track"):
        TrainSettings.model_validate({"track": ["comet"]})


class Recorder:
    """A tracker that remembers what it is told, and fails where it shall."""

    fails_at: int | None = None
    told: list

    def __init__(self, folder, run, name):
        self.told = []

    def start(self, params):
        self.told.append(("start", dict(params)))

    def log(self, step, figures):
        if step == self.fails_at:
            raise ConnectionError("server away")
        self.told.append((step, figures["validation_auc"]))

    def artifact(self, path):
        self.told.append(path.name)

    def end(self, status):
        self.told.append(status)


@pytest.fixture
def recorder(monkeypatch):
    made = types.SimpleNamespace(all=[])

    def make(folder, run, name):
        made.all.append(Recorder(folder, run, name))
        return made.all[-1]

    monkeypatch.setattr(
        "gigaslide.training.report.trackers.TRACKERS", {"tensorboard": make, "mlflow": make}
    )
    return made


def test_a_tracker_named_late_is_told_the_whole_history(tmp_path, recorder):
    history = [row(48, 0.61), row(96, 0.73)]
    with TrackedRun.open(["tensorboard"], tmp_path / "m", resumed=False).started({}) as tracked:
        tracked.log(history)
    names = ["tensorboard", "mlflow"]
    history.append(row(144, 0.85))
    with TrackedRun.open(names, tmp_path / "m", resumed=True).started({}) as tracked:
        tracked.log(history)
    _, known, late = recorder.all
    assert known.told == [("start", {}), (144, 0.85), "finished"]
    assert late.told == [("start", {}), (48, 0.61), (96, 0.73), (144, 0.85), "finished"]
    fresh = TrackedRun.open(names, tmp_path / "m", resumed=False)
    assert fresh.run != tracked.run
    assert fresh.logged == {}


def test_a_tracker_that_fails_is_left_out_and_the_training_goes_on(tmp_path, recorder, caplog):
    names = ["tensorboard", "mlflow"]
    with TrackedRun.open(names, tmp_path / "m", resumed=False).started({}) as tracked:
        recorder.all[0].fails_at = 96
        tracked.log([row(48, 0.61)])
        tracked.log([row(48, 0.61), row(96, 0.73), row(144, 0.8)])
    assert [message for message in caplog.messages if "tensorboard" in message]
    assert "server away" in caplog.text
    assert recorder.all[0].told == [("start", {}), (48, 0.61)]
    assert recorder.all[1].told[1:] == [(48, 0.61), (96, 0.73), (144, 0.8), "finished"]
    # What it missed is told when it is back.
    known = json.loads((tracking_folder(tmp_path / "m") / "run.json").read_text())
    assert known["logged"] == {"tensorboard": 48, "mlflow": 144}


def test_without_track_nothing_is_imported_and_nothing_written(tmp_path, monkeypatch):
    def refuse(name):
        raise AssertionError(f"{name} is imported")

    monkeypatch.setattr("gigaslide.training.report.trackers.import_module", refuse)
    with TrackedRun.open([], tmp_path / "m", resumed=False).started({}) as tracked:
        tracked.log([row(48, 0.61)])
    assert not list(tmp_path.iterdir())
