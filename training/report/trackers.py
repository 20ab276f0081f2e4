"""Experiment trackers: a training tells TensorBoard, MLflow or Weights & Biases of every
validation. Each is imported only where it is named.

MODEL.tracking/ beside the model holds what they write, and run.json, by which a resumed training
goes on with its run.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from ...storage import SettingsError, atomic_file
from .history import HistoryRow

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "TrackerName", "check_trackers", "tracking_folder"]

logger = logging.getLogger(__name__)

TrackerName = Literal["tensorboard", "mlflow", "wandb"]
Status = Literal["finished", "failed", "stopped"]
PROJECT = "gigaslide"


class Tracker(Protocol):
    """Receiver of the settings, figures and files of a training. Steps are examples seen."""

    def start(self, params: Mapping[str, Any]) -> None:
        """Begin or continue the run; params are the settings, by flat names."""
        ...

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Record the figures of one validation."""
        ...

    def artifact(self, path: Path) -> None:
        """Keep a copy of a file."""
        ...

    def end(self, status: Status) -> None:
        """Bring everything to disk or to the server."""
        ...


@dataclass
class TensorBoardTracker:
    """Event files and copies of artifacts in FOLDER/tensorboard/RUN."""

    folder: Path
    run: str
    name: str

    @property
    def _place(self) -> Path:
        return self.folder / "tensorboard" / self.run

    def start(self, params: Mapping[str, Any]) -> None:
        self._place.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"model": self.name, **params}, indent=1)
        (self._place / "settings.json").write_text(text, encoding="utf-8")
        self._writer = import_module("tensorboard.summary").Writer(str(self._place))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def artifact(self, path: Path) -> None:
        shutil.copy(path, self._place / path.name)

    def end(self, status: Status) -> None:
        self._writer.close()


@dataclass
class MlflowTracker:
    """A run in FOLDER/mlflow.db (SQLite), or where MLFLOW_TRACKING_URI says."""

    folder: Path
    run: str
    name: str

    def start(self, params: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        mlflow = import_module("mlflow")
        uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not uri:
            self.folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{self.folder.absolute() / 'mlflow.db'}"
            artifacts = (self.folder.absolute() / "mlflow-artifacts").as_uri()
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(title)
        experiment = (
            known.experiment_id
            if known
            else self._client.create_experiment(title, artifact_location=artifacts)
        )
        found = self._client.search_runs([experiment], f"tags.`gigaslide.run` = '{self.run}'")
        if found:  # MLflow refuses to change its params
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(
            experiment, run_name=self.name, tags={"gigaslide.run": self.run}
        )
        self._id = made.info.run_id
        make_param = mlflow.entities.Param
        self._client.log_batch(
            self._id, params=[make_param(name, str(value)) for name, value in params.items()]
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._client.log_metric(self._id, name, value, step=step)

    def artifact(self, path: Path) -> None:
        self._client.log_artifact(self._id, str(path))

    def end(self, status: Status) -> None:
        words = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
        self._client.set_terminated(self._id, words[status])


@dataclass
class WandbTracker:
    """A run in FOLDER/wandb, offline unless WANDB_MODE says otherwise."""

    folder: Path
    run: str
    name: str

    def start(self, params: Mapping[str, Any]) -> None:
        wandb = import_module("wandb")
        mode = os.environ.get("WANDB_MODE", "offline")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            id=self.run,
            name=self.name,
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=os.environ.get("WANDB_DIR", str(self.folder)),
            mode=mode,
            # Offline there is nothing to ask; `wandb sync` joins what has one id.
            resume=None if mode == "offline" else "allow",
            config=dict(params),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def artifact(self, path: Path) -> None:
        # A link, as wandb makes it of a file elsewhere, would break where the model is moved.
        kept = shutil.copy(path, Path(self._run.dir) / path.name)
        self._run.save(str(kept), base_path=self._run.dir, policy="now")

    def end(self, status: Status) -> None:
        self._run.finish(exit_code=0 if status == "finished" else 1)


TRACKERS: Mapping[TrackerName, Callable[[Path, str, str], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}
"""Makers of trackers from the folder that they may write to, the id of the run and its name."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raise SettingsError for a tracker that is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"--track {missing[0]}: {missing[0]} is not installed; pip install 'gigaslide[track]', "
            f"or pip install {missing[0]}"
        )


def tracking_folder(model: Path) -> Path:
    """Return the folder of a model's trackers, beside the model."""
    return model.with_name(f"{model.name}.tracking")


@dataclass
class TrackedRun:
    """One training in all trackers that are named.

    A tracker that fails while the training runs is left out from then on, with a warning. What a
    tracker has not been told, such as all of the history where it is named for a resumed training
    only, it is told at the next step.
    """

    folder: Path
    run: str
    trackers: dict[TrackerName, Tracker] = field(default_factory=dict)
    logged: dict[str, int] = field(default_factory=dict)
    """Step of the last figures that each tracker was told."""

    @classmethod
    def open(cls, names: Sequence[TrackerName], model: Path, *, resumed: bool) -> "TrackedRun":
        """Take up the run of a resumed training, or begin another."""
        folder, logged = tracking_folder(model), {}
        run = f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        try:
            known = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if resumed:
                run, logged = str(known["run"]), dict(known["logged"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # a run of its own, with all of the history
        opened = cls(folder, run, logged=logged)
        for name in names:
            opened.trackers[name] = TRACKERS[name](folder, run, model.name)
        return opened

    @contextmanager
    def started(self, params: Mapping[str, Any]) -> Iterator["TrackedRun"]:
        """Start the trackers; end them with what becomes of the training.

        Raises:
            SettingsError: a tracker cannot be started.
        """
        for name, tracker in self.trackers.items():
            try:
                tracker.start(params)
            except Exception as error:
                raise SettingsError(f"--track {name}: cannot be started: {error}") from error
        try:
            yield self
        except BaseException as error:
            status: Status = "failed" if isinstance(error, Exception) else "stopped"
            self._tell(lambda tracker: tracker.end(status))
            raise
        self._tell(lambda tracker: tracker.end("finished"))

    def log(self, history: Sequence[HistoryRow]) -> None:
        """Tell each tracker the rows that it has not been told."""
        for name in list(self.trackers):
            for row in history:
                if row.examples <= self.logged.get(name, -1):
                    continue
                figures = {key: value for key, value in asdict(row).items() if value is not None}
                step = figures.pop("examples")
                self._tell(partial(_log, step=step, figures=figures), name)
                if name not in self.trackers:
                    break
                self.logged[name] = step
        if self.trackers:
            with atomic_file(self.folder / "run.json") as path:
                path.write_text(json.dumps({"run": self.run, "logged": self.logged}))

    def artifact(self, path: Path) -> None:
        """Give each tracker a file."""
        self._tell(lambda tracker: tracker.artifact(path))

    def _tell(self, say: Callable[[Tracker], None], only: TrackerName | None = None) -> None:
        for name in [only] if only else list(self.trackers):
            if name not in self.trackers:
                continue
            try:
                say(self.trackers[name])
            except Exception as error:  # hours of training are worth more than a tracker
                logger.warning("--track %s: left out from here on: %s", name, error)
                del self.trackers[name]


def _log(tracker: Tracker, *, step: int, figures: Mapping[str, float]) -> None:
    tracker.log(step, figures)
