"""Training of one network on crops, epoch by epoch, each with a checkpoint and a preview."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ...models import build_region_network, choose_xla, keep_large_buffers
from ...storage import ModelError
from ..checkpoints.checkpoint import Checkpoints, DivergedError, TrainingState
from ..loss_check import check_loss
from ..network.seeds import seed_network, seed_step
from .crops import Crops, CropSource
from .encoder import RegionNetwork
from .history import RegionRow
from .loss import RegionLoss, measure_dice
from .page import RegionPage
from .preview import PREVIEWS, Preview
from .settings import RegionSettings

__all__ = ["RegionFit"]

SHOWN_EVERY = 5  # steps


@dataclass(kw_only=True)
class RegionFit:
    """One training, from its newest checkpoint on."""

    settings: RegionSettings
    network: RegionNetwork
    source: CropSource
    validation: Crops
    preview: Preview
    checkpoints: Checkpoints
    page: RegionPage
    seed: int
    history: list[RegionRow] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.settings.epochs * self.settings.steps

    @property
    def previews(self) -> Path:
        """Folder of the previews while the training runs."""
        return self.checkpoints.folder / PREVIEWS

    @property
    def best(self) -> RegionRow:
        """Row of the epoch whose weights are kept."""
        return _best_of(self.history)

    @cached_property
    def built(self) -> keras.Model:
        """The network with its first weights and its optimiser."""
        return self._build(0, fill=True)

    def run(self, on_step: Callable[[int, dict[str, float]], None] | None) -> None:
        """Train to the end."""
        state = TrainingState()
        if self.checkpoints.find():
            network, state = self.checkpoints.load(lambda step: self._build(step, fill=False))
            vars(self)["built"] = network
        self.history = list(state.history)
        while state.step < self.steps:
            state = self._run_epoch(state, on_step)
        self.page.save(self.history, self.best, self.previews, self.preview)

    def _build(self, step: int, *, fill: bool) -> keras.Model:
        keep_large_buffers()
        with seed_network(self.seed):
            network = build_region_network(
                self.network.options,
                self.settings.crop_px,
                encoder_weights=self.network.encoder_weights if fill else "",
            )
        rate: Any = keras.optimizers.schedules.CosineDecay(self.settings.learning_rate, self.steps)
        optimiser = keras.optimizers.Adam(rate)
        network.compile(optimizer=optimiser, loss=RegionLoss(), jit_compile=choose_xla())
        return network

    def _run_epoch(
        self, state: TrainingState, on_step: Callable[[int, dict[str, float]], None] | None
    ) -> TrainingState:
        begun, losses = time.perf_counter(), []
        for step in range(state.step, state.step + self.settings.steps):
            batch = self.source.draw(step)
            seed_step(self.seed, step)
            self.built.reset_metrics()
            loss = float(np.asarray(self.built.train_on_batch(batch.images, batch.known)))
            check_loss(loss, done=f"{step + 1} steps", learning_rate=self.settings.learning_rate)
            losses.append(loss)
            if on_step is not None and (step + 1) % SHOWN_EVERY == 0:
                on_step(step + 1, {"loss": float(np.mean(losses[-20:]))})
        done = state.step + len(losses)
        seconds = state.seconds + time.perf_counter() - begun
        row = self._measure(done, float(np.mean(losses)), seconds)
        self.history.append(row)
        state = replace(state, step=done, seconds=seconds, history=self.history)
        self._save(state, is_best=row is self.best)
        if on_step is not None:
            on_step(done, {"loss": row.train_loss, "dice": row.validation_dice or math.nan})
        return state

    def _measure(self, step: int, loss: float, seconds: float) -> RegionRow:
        """Score the preview and the validation crops, and draw the preview."""
        scores = self._score(self.preview.crops.images)
        epoch = step // self.settings.steps
        self.preview.save(scores, self.previews, epoch)
        trained = self.preview.on_training
        row = RegionRow(
            epoch=epoch,
            examples=step * self.settings.batch_size,
            seconds=round(seconds, 1),
            learning_rate=float(np.asarray(self.built.optimizer.learning_rate)),
            train_loss=loss,
            preview_dice=measure_dice(scores[trained], self.preview.crops.known[trained]),
        )
        if not len(self.validation):
            return row
        found = self._score(self.validation.images)
        return replace(
            row,
            validation_loss=_loss_of(found, self.validation.known),
            validation_dice=measure_dice(found, self.validation.known),
        )

    def _score(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (N, S, S) float32 of crops."""
        size = self.settings.batch_size
        scores = np.zeros(images.shape[:3], np.float32)
        for first in range(0, len(images), size):
            part = images[first : first + size]
            # Batches of one size, so that the network is compiled once.
            padded = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
            logits = np.asarray(self.built.predict_on_batch(padded))[: len(part), ..., 0]
            scores[first : first + len(part)] = 1 / (1 + np.exp(-logits.astype(np.float64)))
        return scores

    def _save(self, state: TrainingState, *, is_best: bool) -> None:
        try:
            self.checkpoints.save(self.built, state, is_best=is_best)
        except DivergedError as error:
            raise ModelError(
                f"{error}; lower the learning rate ({self.settings.learning_rate:g})"
            ) from error
        self.page.save(self.history, self.best, self.previews, self.preview)


def _best_of(rows: Sequence[RegionRow]) -> RegionRow:
    """Return the first row of the highest validation Dice; without any, the last row."""
    measured = [row for row in rows if row.validation_dice is not None]
    return max(measured, key=lambda row: row.validation_dice or 0) if measured else rows[-1]


def _loss_of(scores: np.ndarray, known: np.ndarray) -> float:
    """`RegionLoss` of probabilities (N, S, S), of all crops as one batch."""
    logits = np.log(np.clip(scores, 1e-7, 1 - 1e-7)) - np.log(np.clip(1 - scores, 1e-7, 1))
    loss: Any = RegionLoss()(known.astype(np.float32), logits[..., None].astype(np.float32))
    return float(np.asarray(loss))
