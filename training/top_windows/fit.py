"""Training of one network through the highest-scoring windows of each slide.

A step draws slides. The network as it is scores windows of each, without gradients; it then learns
the slide's label from the k of them that it scored highest, and from no others of the slide. Drawn
windows of empty glass are normal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ...batch import Stopped, StopRequest
from ...patching import draw_augmentation
from ...storage import ModelError, SlideError
from ...wsi import CLASSES
from ..checkpoints.checkpoint import Checkpoints, DivergedError, TrainingState, Unvalidated
from ..loss_check import check_loss
from ..network.build import NetworkBuilder
from ..network.seeds import seed_step
from .choose import TopWindows, choose_top
from .glass import draw_glass
from .history import TopWindowRow
from .page import MOST_TAUGHT, MOST_WINDOWS, ScoredSlide, TopWindowPage
from .settings import TopWindowSettings
from .slides import SlideWindows, WindowSource

__all__ = ["TopWindowFit"]

SCORED_AT_ONCE = 32  # windows
TUMOR = CLASSES.index("tumor")
LEAST = 1e-7  # of a probability whose logarithm is taken


@dataclass(kw_only=True)
class TopWindowFit:
    """One training, from its newest checkpoint on."""

    settings: TopWindowSettings
    source: WindowSource
    validation: WindowSource
    checkpoints: Checkpoints
    page: TopWindowPage
    seed: int
    history: list[TopWindowRow] = field(default_factory=list)
    _saved: float = field(default_factory=time.monotonic)
    _taught: list[ScoredSlide] = field(default_factory=list)
    """Slides of the last step."""

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.settings.epochs * self.settings.steps

    @property
    def best(self) -> TopWindowRow:
        """Row of the epoch whose weights are kept: the first of the lowest validation loss; without
        any, the last."""
        measured = [row for row in self.history if row.validation_loss is not None]
        if not measured:
            return self.history[-1]
        return min(measured, key=lambda row: row.validation_loss or 0.0)

    @cached_property
    def builder(self) -> NetworkBuilder:
        network = self.settings.network_settings(self.seed)
        return NetworkBuilder(network, self.source.spec, self.steps)

    @cached_property
    def network(self) -> keras.Model:
        """The network with its first weights and its optimiser."""
        return self.builder.build(0)

    def run(
        self, stop: StopRequest, on_step: Callable[[int, dict[str, float]], None] | None = None
    ) -> None:
        """Train to the end.

        Raises:
            ModelError: the loss became NaN.
            Stopped: a signal came; a checkpoint is written.
        """
        state = TrainingState()
        if self.checkpoints.find():
            vars(self)["network"], state = self.checkpoints.load(self.builder.rebuild)
        self.history = list(state.history)
        while state.step < self.steps:
            begun = time.perf_counter()
            loss = self._learn(state.step)
            state = replace(
                state,
                step=state.step + 1,
                unvalidated=state.unvalidated + Unvalidated(steps=1, loss=loss),
            )
            if state.step % self.settings.steps == 0:
                state = self._end_epoch(state, begun)
            else:
                state = replace(state, seconds=state.seconds + time.perf_counter() - begun)
                self._save_if_due(state, stop)
            if on_step is not None:
                on_step(state.step, self._figures(state))
            if stop.number is not None:
                raise Stopped(stop.number)

    def _learn(self, step: int) -> float:
        """Take one step; return its loss."""
        rng = np.random.default_rng([self.seed, step])
        seed_step(self.seed, step)
        pixels, labels, self._taught = [], [], []
        for number in range(self.settings.slides_per_step):
            slides = [one for one in self.source.slides if one.is_tumor == bool(number % 2)]
            slide = slides[rng.integers(len(slides))]
            top = self._choose(self.source, slide, self._draw(slide, rng))
            pixels += self._augment(top, rng)
            labels += [int(slide.is_tumor)] * self.settings.top_k
            if number < MOST_TAUGHT:
                self._taught.append(ScoredSlide.of(slide, top, most=MOST_WINDOWS))
        pixels += self._draw_glass(rng)
        labels += [0] * self.settings.glass_windows
        network: Any = self.network
        network.reset_metrics()
        targets = np.eye(len(CLASSES), dtype=np.float32)[labels]
        loss = float(np.ravel(network.train_on_batch(np.stack(pixels), targets))[0])
        check_loss(loss, done=f"{step + 1} steps", learning_rate=self.settings.learning_rate)
        return loss

    def _draw(self, slide: SlideWindows, rng: np.random.Generator) -> np.ndarray:
        """Draw the windows of a slide that are scored in a step, by their indices."""
        count, wanted = len(slide.xy), self.settings.sampled_windows
        if not 0 < wanted < count:
            return np.arange(count)
        return np.sort(rng.choice(count, wanted, replace=False))

    def _choose(self, source: WindowSource, slide: SlideWindows, chosen: np.ndarray) -> TopWindows:
        top = choose_top(
            source.read(slide, chosen),
            self._score,
            top_k=self.settings.top_k,
            batch_size=SCORED_AT_ONCE,
        )
        if top is None:
            raise SlideError(
                f"{slide.row.path}: none of {len(chosen)} windows could be read; copy the file "
                "again, or leave the slide out of the cohort"
            )
        return top

    def _score(self, windows: np.ndarray) -> np.ndarray:
        network: Any = self.network
        return np.asarray(network.predict_on_batch(windows))[:, TUMOR]

    def _augment(self, top: TopWindows, rng: np.random.Generator) -> list[np.ndarray]:
        """Return k windows, (1, P, P, 3) uint8, changed at random; a slide that has fewer repeats
        them."""
        side, found = self.settings.patch_px, []
        for place in np.resize(np.arange(len(top)), self.settings.top_k).tolist():
            drawn = draw_augmentation(rng, self.settings.augment)
            found.append(drawn.apply(top.pixels[place, 0], side_px=side)[None])
        return found

    def _draw_glass(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Draw empty glass as windows of slides drawn at random are normalised, each (1, P, P, 3)
        uint8."""
        slides = self.source.slides
        return [
            draw_glass(
                rng,
                side_px=self.settings.patch_px,
                stain=slides[rng.integers(len(slides))].stain,
            )
            for _ in range(self.settings.glass_windows)
        ]

    def _end_epoch(self, state: TrainingState, begun: float) -> TrainingState:
        """Score the validation slides, and write a checkpoint."""
        loss, auc, scored = self._validate()
        optimiser: Any = self.network.optimizer
        row = TopWindowRow(
            epoch=state.step // self.settings.steps,
            examples=state.step * self.settings.slides_per_step,
            seconds=round(state.seconds + time.perf_counter() - begun, 1),
            learning_rate=float(np.asarray(optimiser.learning_rate)),
            train_loss=state.unvalidated.loss,
            validation_loss=loss,
            slide_auc=auc,
        )
        self.history.append(row)
        state = replace(state, seconds=row.seconds, history=self.history, unvalidated=Unvalidated())
        self._save(state, is_best=row is self.best)
        self.page.save(self.history, self.best, taught=self._taught, validation=scored)
        return state

    def _validate(self) -> tuple[float | None, float | None, list[ScoredSlide]]:
        """Mean loss and AUC of the validation slides, None where they lack a class; the slides with
        their highest window."""
        slides = self.validation.slides
        labels = np.array([slide.is_tumor for slide in slides], bool)
        losses, scored = np.zeros(len(slides)), []
        for number, slide in enumerate(slides):
            most = min(len(slide.xy), self.settings.validation_windows)
            spread = np.linspace(0, len(slide.xy) - 1, most).round().astype(np.int64)
            top = self._choose(self.validation, slide, spread)
            scores = top.scores.astype(np.float64)
            right = scores if slide.is_tumor else 1 - scores
            losses[number] = -np.log(np.clip(right, LEAST, 1)).mean()
            scored.append(ScoredSlide.of(slide, top, most=1))
        if not labels.any() or labels.all():
            return None, None, scored
        loss = (losses[labels].mean() + losses[~labels].mean()) / 2
        auc = roc_auc_score(labels, [slide.score for slide in scored])
        return float(loss), float(auc), scored

    def _save_if_due(self, state: TrainingState, stop: StopRequest) -> None:
        is_due = time.monotonic() - self._saved >= 60 * self.settings.checkpoint_minutes
        if is_due or stop.number is not None:
            self._save(state, is_best=False)

    def _save(self, state: TrainingState, *, is_best: bool) -> None:
        try:
            self.checkpoints.save(self.network, state, is_best=is_best)
        except DivergedError as error:
            raise ModelError(
                f"{error}; lower the learning rate ({self.settings.learning_rate:g})"
            ) from error
        self._saved = time.monotonic()

    def _figures(self, state: TrainingState) -> dict[str, float]:
        rows: Sequence[TopWindowRow] = self.history
        since = state.unvalidated
        loss = since.loss if since.steps else rows[-1].train_loss
        auc = rows[-1].slide_auc if rows else None
        return {"loss": loss, **({} if auc is None else {"slide AUC": auc})}
