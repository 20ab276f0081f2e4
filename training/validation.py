"""Callbacks of a training: progress with a watch for NaN, checkpoints by time and when a signal
stops it, and validations."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from ..batch import Stopped, StopRequest
from ..models import score_in_batches
from .checkpoint import Checkpoints, DivergedError, TrainingState, Unvalidated
from .network.optimiser import averaged_weights
from .report.figures import measure_validation
from .report.history import HistoryRow, rank_key
from .report.input_monitor import InputMonitor
from .sampler import Sampler
from .settings import BestFigure
from .slide_validation import SlideValidation

__all__ = ["DueSlideValidation", "Progress", "Validation"]

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class DueSlideValidation:
    """Validation on whole slides, and when it is due: at the first validation at or after every so
    many steps, and after the last step."""

    validation: SlideValidation
    every_steps: int
    last_step: int

    def is_due(self, state: TrainingState) -> bool:
        before = state.step - state.unvalidated.steps
        passed = state.step // self.every_steps > before // self.every_steps
        return passed or state.step == self.last_step


class Validation(keras.callbacks.Callback):
    """Validation at the end of each epoch: score the validation patches, add a row to the history,
    write the checkpoint."""

    def __init__(
        self,
        sampler: Sampler,
        progress: Progress,
        monitor: InputMonitor,
        *,
        best: BestFigure,
        slides: DueSlideValidation | None,
    ) -> None:
        super().__init__()
        self.progress, self.monitor = progress, monitor
        self.best, self.slides = best, slides
        self.batch_size = progress.batch_size
        self.batch = sampler.draw(0)
        self.on_validated: Callable[[np.ndarray], None] = lambda scores: None
        """Called after each checkpoint with the scores of `batch`."""
        self._own: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        network: Any = self.model
        if self.progress.problem is not None:
            return
        self._own = [np.array(variable) for variable in network.trainable_variables]
        with self.progress.stop_on_problem():
            self.validate()

    def on_train_end(self, logs: Any = None) -> None:
        """Put the network's own weights back: where the optimiser averages them, Keras leaves the
        averages at the end of each `fit`."""
        network: Any = self.model
        if self.progress.problem is None:
            for variable, own in zip(network.trainable_variables, self._own, strict=True):
                variable.assign(own)

    def validate(self) -> None:
        """Validate the network as it is, and write a checkpoint."""
        network: Any = self.model
        progress, state = self.progress, self.progress.state
        slide_figures: dict[str, Any] = {}
        try:
            with averaged_weights(network):
                scores = self._score()
                if self.slides is not None and self.slides.is_due(state):
                    slide_figures = self.slides.validation.measure(
                        network, on_call=progress.stop_if_asked
                    )
        except Stopped:
            progress.save()
            raise
        if not np.isfinite(scores).all():
            raise DivergedError("a validation score is not a number")
        row = self._make_row(scores, slide_figures)
        keys = [rank_key(earlier, self.best) for earlier in state.history]
        is_best = not keys or rank_key(row, self.best) > max(keys)
        progress.state = replace(state, history=[*state.history, row], unvalidated=Unvalidated())
        progress.figures |= {
            "validation_auc": row.validation_auc,
            "validation_loss": row.validation_loss,
            **{name: value for name, value in slide_figures.items() if value is not None},
        }
        logger.info("%s", row)
        progress.save(is_best=is_best)
        self.on_validated(scores)

    def _make_row(self, scores: np.ndarray, slide_figures: dict[str, Any]) -> HistoryRow:
        network: Any = self.model
        state = self.progress.state
        optimiser, pace = network.optimizer, self.monitor.pace
        has_learnt = int(np.asarray(optimiser.iterations)) > 0  # a probe's optimiser has not
        return HistoryRow(
            examples=state.step * self.batch_size,
            seconds=round(self.progress.seconds, 1),
            learning_rate=float(np.asarray(optimiser.learning_rate)) if has_learnt else 0.0,
            train_loss=state.unvalidated.loss,
            train_accuracy=state.unvalidated.accuracy,
            train_auc=state.unvalidated.auc,
            patches_per_s=pace.patches_per_s if pace else None,
            waiting_share=pace.waiting_share if pace else None,
            **measure_validation(scores, self.batch.labels),
            **slide_figures,
        )

    def _score(self) -> np.ndarray:
        """Return the tumour probability of each validation patch: (N,) float64."""
        network: Any = self.model

        def predict(patches: np.ndarray) -> np.ndarray:
            self.progress.stop_if_asked()
            return network.predict_on_batch(patches)

        return score_in_batches(predict, self.batch.patches, self.batch_size)[:, 1]
