"""Watch over the batches on their way to the network: how fast they come, how long the training
waits for them, and what the last one looks like."""

import time
from dataclasses import dataclass, field
from typing import Any

import keras

from ..sampler import Batch

__all__ = ["InputMonitor", "Pace"]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Speed of a training between two validations."""

    patches_per_s: float
    waiting_share: float | None
    """Share of the time in which a step waited until its batch was drawn; None: not measured."""

    @classmethod
    def of(cls, *, patches: int, seconds: float, waiting_s: float | None) -> "Pace":
        seconds = max(seconds, 1e-9)
        share = None if waiting_s is None else min(1.0, waiting_s / seconds)
        return cls(patches_per_s=patches / seconds, waiting_share=share)


@dataclass
class _Epoch:
    drawn: dict[int, float] = field(default_factory=dict)
    """Time at which each batch was drawn."""
    asked: list[float] = field(default_factory=list)
    """Time at which each step asked for its batch."""


class InputMonitor(keras.callbacks.Callback):
    """Callback that times the steps of each `fit`, and keeps the batch of its last step.

    A step waits from its beginning until its batch is drawn. The first step is left out: it may
    compile. On a GPU steps begin while the device still computes, so that its own waiting is
    shorter. Only TensorFlow asks for a batch after its step has begun; with other backends the
    waiting is not measured.
    """

    def __init__(self, *, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._epoch = _Epoch()
        self.batch: Batch | None = None
        """Batch of the last step, as the network was given it."""
        self.pace: Pace | None = None

    def add(self, index: int, batch: Batch) -> None:
        """Take note of a batch that was drawn for step `index` of this `fit`; on any thread."""
        self._epoch.drawn[index] = time.perf_counter()
        if index == max(self._epoch.drawn):
            self.batch = batch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._epoch.asked.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        end, done = time.perf_counter(), self._epoch
        self._epoch = _Epoch()
        first = 1 if len(done.asked) > 1 else 0
        waiting_s = None
        if keras.backend.backend() == "tensorflow":
            steps = enumerate(done.asked[first:], first)
            waiting_s = sum(max(0.0, done.drawn[step] - asked) for step, asked in steps)
        self.pace = Pace.of(
            patches=(len(done.asked) - first) * self._batch_size,
            seconds=end - done.asked[first],
            waiting_s=waiting_s,
        )
