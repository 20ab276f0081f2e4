"""Checkpoint of a training: what it needs to continue as if it had never stopped.

MODEL.checkpoint/training.weights.h5  network and optimiser after the last step
MODEL.checkpoint/last.weights.h5      network alone after the last step
MODEL.checkpoint/model.weights.h5     network alone at the best validation
MODEL.checkpoint/state.json           steps done, states of random layers such as dropout
MODEL.checkpoint/{history.csv, recipe.json}

It stays beside a finished model, so that a larger number of examples can continue it.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..models import WEIGHTS
from ..storage import Recipe, StoreError, atomic_folder, restore_folder
from .history import HistoryRow, load_history, save_history
from .optimiser import averaged_weights

__all__ = ["LAST", "RECIPE", "Checkpoint", "move_aside"]

logger = logging.getLogger(__name__)

LAST = "last.weights.h5"
TRAINING = "training.weights.h5"
STATE, HISTORY, RECIPE = "state.json", "history.csv", "recipe.json"


@dataclass(frozen=True)
class Checkpoint:
    """Place of a model's checkpoint, and the recipe of the training that asks for it."""

    folder: Path
    recipe: Recipe

    @classmethod
    def of_model(cls, model: Path, recipe: Recipe) -> "Checkpoint":
        return cls(cls.folder_of(model), recipe)

    @staticmethod
    def folder_of(model: Path) -> Path:
        """Return the folder of a model's checkpoint."""
        return model.with_name(f"{model.name}.checkpoint")

    def differences(self) -> list[str] | None:
        """Return the differences of the recipe that made it, as text: none (an empty list) if the
        training can continue, None if there is no checkpoint.

        Raises:
            StoreError: the recipe file is damaged.
        """
        restore_folder(self.folder)
        made = Recipe.load(self.folder / RECIPE)
        return None if made is None else made.differences(self.recipe)

    def history(self) -> list[HistoryRow]:
        return load_history(self.folder / HISTORY)

    def save(
        self, network: keras.Model, history: Sequence[HistoryRow], *, step: int, is_best: bool
    ) -> None:
        """Replace the checkpoint, whole or not at all."""
        with atomic_folder(self.folder) as partial:
            network.save_weights(partial / TRAINING)
            with averaged_weights(network):
                without_optimiser(network).save_weights(partial / LAST)
            shutil.copy(partial / LAST if is_best else self.folder / WEIGHTS, partial / WEIGHTS)
            seeds = [np.asarray(variable).tolist() for variable in _seeds(network)]
            state = {"step": step, "seeds": seeds}
            (partial / STATE).write_text(json.dumps(state), encoding="utf-8")
            save_history(history, partial / HISTORY)
            self.recipe.save(partial / RECIPE)

    def load(self, network: keras.Model) -> int:
        """Fill a compiled network and its optimiser; return the number of steps done.

        Raises:
            StoreError: the checkpoint is damaged.
        """
        optimiser: Any = network.optimizer
        # Without this, Keras skips the optimiser's state and only warns.
        optimiser.build(network.trainable_variables)
        try:
            network.load_weights(self.folder / TRAINING)
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            for variable, seed in zip(_seeds(network), state["seeds"], strict=True):
                variable.assign(np.asarray(seed, variable.dtype))
            return int(state["step"])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"{self.folder}: the checkpoint cannot be read ({error}); remove it and train again"
            ) from error


def without_optimiser(network: keras.Model) -> keras.Model:
    """Return the same layers as a model that holds no optimiser."""
    return keras.Model(network.inputs, network.outputs, name=network.name)


def _seeds(network: keras.Model) -> list[Any]:
    """Return the states of random layers, which `save_weights` leaves out."""
    return [variable for variable in network.variables if "seed" in variable.path]


def move_aside(folder: Path) -> Path:
    """Rename a folder to the first free name NAME.old-1, NAME.old-2, …; return the new path."""
    number = 1
    while (moved := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    return folder.rename(moved)
