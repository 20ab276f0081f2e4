"""Checkpoints of a training: what it needs to continue as if it had never stopped.

MODEL.checkpoint/step_00000320/    the last two, each whole or absent
  training.weights.h5              network and optimiser after that step
  last.weights.h5                  network alone at the last validation
  model.weights.h5                 network alone at the best validation
  state.json                       steps, states of random layers such as dropout, checksums
  history.csv, recipe.json

They stay beside a finished model, so that a larger number of examples can continue it.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ...models import WEIGHTS
from ...storage import ModelError, Recipe, StoreError, atomic_folder, remove_folder
from ..network.optimiser import averaged_weights
from ..report.history import HistoryRow, load_history, save_history
from .files import RECIPE, checkpoint_folder, find_checkpoints, read_recipe, remove_killed_saves

__all__ = [
    "LAST",
    "Checkpoints",
    "DivergedError",
    "TrainingState",
    "Unvalidated",
]

logger = logging.getLogger(__name__)

LAST = "last.weights.h5"
TRAINING = "training.weights.h5"
STATE, HISTORY = "state.json", "history.csv"
KEPT = 2


class DivergedError(ModelError):
    """A loss, a weight or a validation score that is not a number."""


@dataclass(frozen=True, kw_only=True)
class Unvalidated:
    """Mean loss, accuracy and AUC of the training steps since the last validation; the AUC is a
    mean over the parts between which the training was stopped."""

    steps: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    auc: float = 0.0

    def __add__(self, other: "Unvalidated") -> "Unvalidated":
        steps = self.steps + other.steps
        share = other.steps / steps if steps else 0.0
        return Unvalidated(
            steps=steps,
            loss=self.loss + share * (other.loss - self.loss),
            accuracy=self.accuracy + share * (other.accuracy - self.accuracy),
            auc=self.auc + share * (other.auc - self.auc),
        )


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Progress of a training, besides the weights of its network."""

    step: int = 0
    seconds: float = 0.0
    history: list[Any] = field(default_factory=list)
    """Rows of the kind that the checkpoints hold."""
    unvalidated: Unvalidated = Unvalidated()


@dataclass(frozen=True)
class Checkpoints:
    """Folder of a model's checkpoints, and the recipe of the training that asks for them."""

    folder: Path
    recipe: Recipe
    row: type = HistoryRow
    """Kind of the rows of the history."""

    @classmethod
    def of_model(cls, model: Path, recipe: Recipe, row: type = HistoryRow) -> "Checkpoints":
        return cls(checkpoint_folder(model), recipe, row)

    def find(self) -> list[Path]:
        """Return the folders of the checkpoints, newest first."""
        return find_checkpoints(self.folder)

    def clean_up(self) -> None:
        """Remove what a killed process left of a checkpoint. No other process may write them."""
        remove_killed_saves(self.folder)

    @property
    def newest(self) -> Path:
        """Folder of the newest checkpoint.

        Raises:
            StoreError: there is none.
        """
        found = self.find()
        if not found:
            raise StoreError(f"{self.folder}: holds no checkpoint; train again")
        return found[0]

    def differences(self) -> list[str] | None:
        """Return the differences of the recipe that made them, as text: none (an empty list) if the
        training can continue, None if there is no checkpoint.
        """
        found = self.find()
        for folder in found:
            made = read_recipe(folder)
            if made is not None:
                return made.differences(self.recipe)
        if found:
            return ["a recipe that cannot be read"]
        earlier = Recipe.load(self.folder / RECIPE)  # of a version that kept one checkpoint
        return None if earlier is None else ["the layout of checkpoints"]

    def history(self) -> list[Any]:
        """Return the history of the newest checkpoint; no row where there is none."""
        found = self.find()
        return load_history(found[0] / HISTORY, self.row) if found else []

    def save(self, network: keras.Model, state: TrainingState, *, is_best: bool) -> None:
        """Write a checkpoint, whole or not at all, and remove all but the last two.

        Weights of the best validation, and of the last, are those of the checkpoint before, unless
        the state was validated.

        Raises:
            DivergedError: a weight is not a number.
        """
        if not all(np.isfinite(weight).all() for weight in network.get_weights()):
            raise DivergedError("a weight is not a number")
        before = self.find()
        with atomic_folder(self.folder / f"step_{state.step:08}") as partial:
            network.save_weights(partial / TRAINING)
            validated = not state.unvalidated.steps
            if validated:
                with averaged_weights(network):
                    without_optimiser(network).save_weights(partial / LAST)
                if is_best:
                    shutil.copy(partial / LAST, partial / WEIGHTS)
            for name in (LAST, WEIGHTS):
                if before and not (partial / name).exists() and (before[0] / name).exists():
                    shutil.copy(before[0] / name, partial / name)
            save_history(state.history, partial / HISTORY, self.row)
            self.recipe.save(partial / RECIPE)
            seeds = [np.asarray(variable).tolist() for variable in _seeds(network)]
            saved = {
                "step": state.step,
                "seconds": round(state.seconds, 1),
                "unvalidated": asdict(state.unvalidated),
                "seeds": seeds,
                "sha256": {path.name: _hash(path) for path in sorted(partial.iterdir())},
            }
            (partial / STATE).write_text(json.dumps(saved), encoding="utf-8")
        for old in self.find()[KEPT:]:
            remove_folder(old)

    def load(self, build: Callable[[int], keras.Model]) -> tuple[keras.Model, TrainingState]:
        """Return a network with its optimiser as the newest checkpoint holds them, and the state of
        its training; those of the checkpoint before where the newest is damaged, with a warning.

        build returns the network, compiled for the step after so many.

        Raises:
            StoreError: every checkpoint is damaged.
        """
        found = self.find()
        for folder in found:
            network = build(_step_of(folder))
            try:
                return network, _load(network, folder, self.row)
            except (OSError, ValueError, KeyError, TypeError) as error:
                problem = f"{folder}: the checkpoint cannot be read ({error})"
                if folder == found[-1]:
                    raise StoreError(f"{problem}; remove {self.folder} and train again") from error
                logger.warning("%s; the one before is taken", problem)
                remove_folder(folder)
        raise StoreError(f"{self.folder}: holds no checkpoint; train again")


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


def _load(network: keras.Model, folder: Path, row: type) -> TrainingState:
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    for name, checksum in state["sha256"].items():
        if _hash(folder / name) != checksum:
            raise ValueError(f"{name} has changed or is incomplete")
    optimiser: Any = network.optimizer
    # Without this, Keras skips the optimiser's state and only warns.
    optimiser.build(network.trainable_variables)
    network.load_weights(folder / TRAINING)
    for variable, seed in zip(_seeds(network), state["seeds"], strict=True):
        variable.assign(np.asarray(seed, variable.dtype))
    return TrainingState(
        step=int(state["step"]),
        seconds=state["seconds"],
        history=load_history(folder / HISTORY, row),
        unvalidated=Unvalidated(**state["unvalidated"]),
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def without_optimiser(network: keras.Model) -> keras.Model:
    """Return the same layers as a model that holds no optimiser."""
    return keras.Model(network.inputs, network.outputs, name=network.name)


def _seeds(network: keras.Model) -> list[Any]:
    """Return the states of random layers, which `save_weights` leaves out."""
    return [variable for variable in network.variables if "seed" in variable.path]
