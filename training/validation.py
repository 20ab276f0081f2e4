"""Callbacks of a training: validation with a checkpoint, a watch for NaN, and progress."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from ..storage import ModelError
from .checkpoint import Checkpoint
from .figures import measure_validation
from .history import HistoryRow
from .input_monitor import InputMonitor
from .optimiser import averaged_weights
from .sampler import Sampler

__all__ = ["DivergedError", "Progress", "Validation", "rank_key"]

logger = logging.getLogger(__name__)

WATCH_STEPS = 50
"""Steps between two looks at the loss. Each look waits for the device."""


class DivergedError(ModelError):
    """A loss or a validation score that is not a number."""


def rank_key(row: HistoryRow) -> tuple[float, float]:
    """Return the key by which validations are ranked: highest AUC, at a tie lowest loss."""
    return (round(row.validation_auc, 4), -row.validation_loss)


class Progress(keras.callbacks.Callback):
    """Report of every step to the caller; stops the training when the loss is not a number.

    It acts when a batch begins: Keras would wait for the device to report the figures of a batch
    that ends.
    """

    def __init__(
        self, *, first_step: int, batch_size: int, on_step: Callable[[int, dict[str, float]], None]
    ) -> None:
        super().__init__()
        self._step, self.batch_size, self._on_step = first_step, batch_size, on_step
        self.figures: dict[str, float] = {}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch:  # the step before has ended
            self._count(look=batch % WATCH_STEPS == 0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._count(look=True)

    def count_to(self, step: int) -> None:
        """Report a step of a training that Keras does not run."""
        self._on_step(step * self.batch_size, self.figures)

    def _count(self, *, look: bool) -> None:
        self._step += 1
        if look:
            network: Any = self.model
            figures = {m.name: float(np.asarray(m.result())) for m in network.metrics[:1]}
            if not all(map(math.isfinite, figures.values())):
                raise DivergedError(f"the loss became {figures}")
            self.figures |= figures
        self._on_step(self._step * self.batch_size, self.figures)


class Validation(keras.callbacks.Callback):
    """Validation at the end of each epoch: score the validation patches, add a row to the history,
    write the checkpoint."""

    def __init__(
        self,
        sampler: Sampler,
        checkpoint: Checkpoint,
        history: list[HistoryRow],
        progress: Progress,
        monitor: InputMonitor,
    ) -> None:
        """history receives a row of each validation, progress its AUC and loss."""
        super().__init__()
        self.figures, self.monitor = progress.figures, monitor
        self.on_validated: Callable[[np.ndarray], None] = lambda scores: None
        """Called after each checkpoint with the scores of `batch`."""
        self.batch = sampler.draw(0)
        self.checkpoint, self.history = checkpoint, history
        self.batch_size = progress.batch_size
        self._own: list[np.ndarray] = []
        self._started = time.perf_counter() - (history[-1].seconds if history else 0.0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        network: Any = self.model
        optimiser = network.optimizer
        self._own = [np.array(variable) for variable in network.trainable_variables]
        self.validate(
            step=int(np.asarray(optimiser.iterations)),
            learning_rate=float(np.asarray(optimiser.learning_rate)),
            training=logs,
        )

    def on_train_end(self, logs: Any = None) -> None:
        """Put the network's own weights back: where the optimiser averages them, Keras leaves the
        averages at the end of each `fit`."""
        network: Any = self.model
        for variable, own in zip(network.trainable_variables, self._own, strict=True):
            variable.assign(own)

    def validate(self, *, step: int, learning_rate: float, training: Mapping[str, float]) -> None:
        """Validate and write a checkpoint after so many steps; training has their loss, accuracy
        and AUC."""
        network: Any = self.model
        with averaged_weights(network):
            scores = self._score()
        if not np.isfinite(scores).all():
            raise DivergedError("a validation score is not a number")
        pace = self.monitor.pace
        row = HistoryRow(
            examples=step * self.batch_size,
            seconds=round(time.perf_counter() - self._started, 1),
            learning_rate=learning_rate,
            train_loss=float(training["loss"]),
            train_accuracy=float(training["accuracy"]),
            train_auc=float(training["auc"]),
            patches_per_s=pace.patches_per_s if pace else None,
            waiting_share=pace.waiting_share if pace else None,
            **measure_validation(scores, self.batch.labels),
        )
        is_best = not self.history or rank_key(row) > max(map(rank_key, self.history))
        self.history.append(row)
        self.figures |= {
            "validation_auc": row.validation_auc,
            "validation_loss": row.validation_loss,
        }
        logger.info("%s", row)
        self.checkpoint.save(network, self.history, step=step, is_best=is_best)
        self.on_validated(scores)

    def _score(self) -> np.ndarray:
        """Return the tumour probability of each validation patch: (N,) float64."""
        network: Any = self.model
        patches, size = self.batch.patches, self.batch_size
        # Padded to whole batches: one batch size, one compiled graph.
        padded = np.resize(patches, (len(patches) + -len(patches) % size, *patches.shape[1:]))
        parts = [
            network.predict_on_batch(padded[i : i + size]) for i in range(0, len(padded), size)
        ]
        scores = np.concatenate([np.asarray(part)[:, 1] for part in parts])
        return scores[: len(patches)].astype(np.float64)
