"""One compiled network for many short trainings: to compile it takes as long as a short training,
and TensorFlow keeps the memory of every network that was ever compiled."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from ...wsi import InputSpec
from ..settings import TrainSettings
from .build import NetworkBuilder

__all__ = ["NetworkUse", "compile_once"]

RANDOM = "random"
_in_turns = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class NetworkUse:
    """One training of a network."""

    settings: TrainSettings
    spec: InputSpec
    steps: int

    @property
    def builder(self) -> NetworkBuilder:
        return NetworkBuilder(self.settings, self.spec, self.steps)

    @property
    def without_start(self) -> "NetworkUse":
        """Return this training without its seed and its first weights: the key of its network."""
        common = {"seed": 0, "initial_weights": RANDOM}
        return replace(self, settings=self.settings.model_copy(update=common))


@contextmanager
def compile_once(use: NetworkUse) -> Iterator[keras.Model]:
    """Yield a network as `NetworkBuilder.build` returns it for the first step of a training. It is
    compiled once for all trainings of the process that begin with other weights or another seed.
    Trainings of a process wait for each other: seeds are those of the whole process.

    Raises:
        SettingsError, ModelError: see `NetworkBuilder.build`.
    """
    with _in_turns:
        network = _compiled(use.without_start)
        first = use.builder.build(0, fill=use.settings.initial_weights != RANDOM)
        for variable, value in zip(network.variables, first.variables, strict=True):
            variable.assign(value)
        del first
        optimiser: Any = network.optimizer
        for variable in optimiser.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        yield network


@lru_cache(maxsize=8)  # kinds of trainings that a study takes in turns
def _compiled(use: NetworkUse) -> keras.Model:
    network = use.builder.build(0, fill=False)
    optimiser: Any = network.optimizer
    optimiser.build(network.trainable_variables)
    return network
