"""Progress of a training: steps counted, a watch for NaN, and checkpoints by time and when a signal
stops it."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from ..batch import Stopped, StopRequest
from .checkpoints.checkpoint import Checkpoints, DivergedError, TrainingState, Unvalidated

__all__ = ["Progress"]

WATCH_STEPS = 50
"""Steps between two looks at the loss. Each look waits for the device."""


class Progress(keras.callbacks.Callback):
    """Progress of a training: it counts the steps, reports each to the caller, and writes a
    checkpoint when one is due or a signal stops the training. It stops the training when the loss
    is not a number.

    It acts when a batch begins: Keras would wait for the device to report the figures of a batch
    that ends.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        state: TrainingState,
        stop: StopRequest,
        *,
        checkpoint_seconds: float,
        check_inputs: Callable[[], None],
        on_step: Callable[[int, dict[str, float]], None],
        batch_size: int,
    ) -> None:
        super().__init__()
        self.checkpoints, self.state, self.stop = checkpoints, state, stop
        self.figures: dict[str, float] = {}
        self._on_step, self.batch_size = on_step, batch_size
        self.problem: BaseException | None = None
        """Reason for which the training stops. It is raised after `fit`: Keras and TensorFlow leave
        threads behind where it is raised within, and the process may abort when it ends."""
        self._checkpoint_seconds, self._check_inputs = checkpoint_seconds, check_inputs
        self._started = time.monotonic() - state.seconds
        self._saved = time.monotonic()
        self._begun = state

    def on_train_begin(self, logs: Any = None) -> None:
        self._begun = self.state

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch:  # the step before has ended
            with self.stop_on_problem():
                self._end_step(batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.problem is not None:
            return
        with self.stop_on_problem():
            self._count(look=True)
            self._add_steps()
            if self.stop.number is not None:
                self.save()
            self.stop_if_asked()

    def _end_step(self, batch: int) -> None:
        self._count(look=batch % WATCH_STEPS == 0)
        is_due = time.monotonic() - self._saved >= self._checkpoint_seconds
        if is_due or self.stop.number is not None:
            self._look()
            self._add_steps()
            self.save()
        self.stop_if_asked()

    @contextmanager
    def stop_on_problem(self) -> Iterator[None]:
        """Keep an error of this context as the problem, and let Keras end `fit` after the step that
        has begun."""
        try:
            yield
        except (Exception, Stopped) as error:
            self.problem = error
            network: Any = self.model
            network.stop_training = True

    def count_to(self, step: int) -> None:
        """Report a step of a training that Keras does not run."""
        self.state = replace(self.state, step=step)
        self._on_step(step * self.batch_size, self.figures)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Stop the training if a signal has come.

        Raises:
            Stopped: one has.
        """
        if self.stop.number is not None:
            raise Stopped(self.stop.number)

    def save(self, *, is_best: bool = False) -> None:
        """Write a checkpoint of the state, if the inputs are still those it began with."""
        network: Any = self.model
        self._check_inputs()
        self.state = replace(self.state, seconds=self.seconds)
        self.checkpoints.save(network, self.state, is_best=is_best)
        self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of the training, those before it was stopped included."""
        return time.monotonic() - self._started

    def _count(self, *, look: bool) -> None:
        self.state = replace(self.state, step=self.state.step + 1)
        if look:
            self._look()
        self._on_step(self.state.step * self.batch_size, self.figures)

    def _look(self) -> None:
        """Take the training loss over; raise `DivergedError` if it is not a number."""
        network: Any = self.model
        figures = {m.name: float(np.asarray(m.result())) for m in network.metrics[:1]}
        if not all(map(math.isfinite, figures.values())):
            raise DivergedError(f"the loss became {figures}")
        self.figures |= figures

    def _add_steps(self) -> None:
        """Add the steps since `fit` began to those not yet validated."""
        network: Any = self.model
        steps = self.state.step - self._begun.step
        figures = network.get_metrics_result()
        means = {name: float(np.asarray(figures[name])) for name in ("loss", "accuracy", "auc")}
        since = self._begun.unvalidated + Unvalidated(steps=steps, **means)
        self.state = replace(self.state, unvalidated=since)
