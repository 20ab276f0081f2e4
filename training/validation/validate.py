"""Validation of a network while it learns: its figures, a row of the history, the checkpoint."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from ...batch import Stopped
from ...models import score_in_batches
from ..checkpoints.checkpoint import DivergedError, TrainingState, Unvalidated
from ..network.optimiser import averaged_weights
from ..progress import Progress
from ..report.figures import measure_validation
from ..report.history import HistoryRow, rank_key
from ..report.input_monitor import InputMonitor
from ..sampler import Sampler
from ..settings import BestFigure
from .slides import SlideValidation

__all__ = ["DueSlideValidation", "Validation"]

logger = logging.getLogger(__name__)


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
