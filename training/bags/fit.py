"""Training of one network on bags, in memory: arrays in, a model out."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from ...models import BagModel, BagNetwork, BagOptions, choose_xla, draw_weights
from ...storage import ModelError
from ..loss_check import check_loss
from ..network.seeds import seed_step
from .examples import BagBatch, Examples
from .settings import BagSettings

__all__ = ["BagFit", "BagHistoryRow", "BagStart", "fit_bags"]

FIT, START = 0, 1  # streams of random numbers
KERNEL, BIAS = 0, 1  # places of the first layer's weights


@dataclass(frozen=True, kw_only=True)
class BagStart:
    """A trained model whose weights a training begins with, layer after layer: first its last
    layers learn alone, then the first one too (gradual unfreezing)."""

    model: BagModel
    frozen_share: float = 0.5
    """Share of the steps in which the layer below the classifier stays as it is."""
    unfrozen_rate: float = 0.1
    """Factor of the learning rate once that layer learns too."""


@dataclass(frozen=True, kw_only=True)
class BagHistoryRow:
    """State of a training on bags after some epochs. Losses are cross-entropies in nats, with both
    classes weighing the same."""

    epoch: int
    train_loss: float
    """Mean over the steps since the row before, with dropout."""
    validation_loss: float | None = None
    """None without validation bags."""


@dataclass(frozen=True, kw_only=True)
class BagFit:
    """A trained model, and the course of its training."""

    model: BagModel
    history: tuple[BagHistoryRow, ...]
    best_epoch: int
    """Epoch whose weights the model has: that of the lowest validation loss, or the last."""


def fit_bags(
    bags: Sequence[np.ndarray],
    labels: Sequence[int] | Sequence[np.ndarray] | np.ndarray,
    settings: BagSettings,
    *,
    seed: int = 0,
    start: BagStart | None = None,
    validation: tuple[Sequence[np.ndarray], Sequence[Any] | np.ndarray] | None = None,
    on_epoch: Callable[[BagHistoryRow], None] | None = None,
) -> BagFit:
    """Train a network on bags of features, in memory; nothing is written.

    Args:
        bags: (N, D) features of each slide, of any float type; N differs, D does not. A bag
            without windows teaches nothing.
        labels: 1 tumour or 0 normal for each bag; with `settings.labels` windows, (N,) of them for
            each bag, -1 where a window has no label.
        seed: of first weights, order, dropout and draws of windows. Equal arguments give equal
            weights on the same machine.
        start: weights to begin with; without, random ones.
        validation: further bags with their labels, of the same kind. The weights of the lowest
            loss on them are kept; without them, the last.
        on_epoch: receives each row of the history.

    A process compiles a network once for each size of padded bags, and uses it for all trainings
    with the same D, options and weight decay.

    Raises:
        SettingsError: labels that do not go with the bags, features of different lengths or that
            are not finite, or examples of one class only.
        ModelError: the loss became NaN, or a start of another network.
    """
    examples = Examples.of(bags, labels, settings)
    held_out = None if validation is None else _Validation.of(*validation, settings)
    trainer = _trainer(examples.length, settings.options.model_dump_json(), settings.weight_decay)
    with trainer.lock:
        trainer.begin(seed)
        if start is not None:
            trainer.fill(start.model, examples)
        course = _Course.of(start, examples)
        return _train(trainer, examples, held_out, course, seed, on_epoch)


@dataclass(frozen=True, kw_only=True)
class _Course:
    """Learning rate of each step, and the step with which all layers learn."""

    rates: Sequence[float]
    unfrozen_at: int

    @classmethod
    def of(cls, start: BagStart | None, examples: Examples) -> "_Course":
        steps = examples.settings.epochs * examples.steps_per_epoch
        highest = examples.settings.learning_rate
        unfrozen_at = 0 if start is None else round(start.frozen_share * steps)
        factor = 1.0 if start is None else start.unfrozen_rate
        rates = [
            highest
            * (1 + math.cos(math.pi * step / steps))
            / 2
            * (1.0 if step < unfrozen_at else factor)
            for step in range(steps)
        ]
        return cls(rates=rates, unfrozen_at=unfrozen_at)


def _train(
    trainer: "_Trainer",
    examples: Examples,
    held_out: "_Validation | None",
    course: _Course,
    seed: int,
    on_epoch: Callable[[BagHistoryRow], None] | None,
) -> BagFit:
    settings, per_epoch = examples.settings, examples.steps_per_epoch
    rng = np.random.default_rng([seed, FIT])
    order = examples.order(rng)
    trainer.freeze(course.unfrozen_at > 0)
    history, losses = [], []
    best, best_epoch, lowest = None, settings.epochs, math.inf
    for step, chosen in enumerate(order):
        if step == course.unfrozen_at > 0:
            trainer.freeze(False)
        seed_step(seed, step)
        # No variable holds the batch, which a large bag could not afford while the next is made.
        losses.append(trainer.learn(_as_tensors(examples.batch(chosen, rng)), course.rates[step]))
        epoch, further_steps = divmod(step + 1, per_epoch)
        if further_steps or (epoch % settings.validate_every and epoch < settings.epochs):
            continue
        mean = float(np.mean(losses))
        check_loss(mean, done=f"{epoch} epochs", learning_rate=settings.learning_rate)
        loss = None
        if held_out is not None:
            loss = held_out.loss_of(candidate := trainer.model(examples))
            if loss < lowest:
                best, best_epoch, lowest = candidate, epoch, loss
        history.append(BagHistoryRow(epoch=epoch, train_loss=mean, validation_loss=loss))
        losses.clear()
        if on_epoch is not None:
            on_epoch(history[-1])
    model = trainer.model(examples) if best is None else best
    return BagFit(model=model, history=tuple(history), best_epoch=best_epoch)


def _as_tensors(batch: BagBatch) -> BagBatch:
    """Return a batch whose features are a tensor of the backend, which would else be made while the
    array is still in memory."""
    features: Any = keras.ops.convert_to_tensor(batch.features)
    return replace(batch, features=features)


@dataclass(frozen=True)
class _Validation:
    """Bags that tell when a training is at its best."""

    examples: Examples

    @classmethod
    def of(
        cls, bags: Sequence[np.ndarray], labels: Sequence[Any] | np.ndarray, settings: BagSettings
    ) -> "_Validation":
        return cls(Examples.of(bags, labels, settings, purpose="validation"))

    def loss_of(self, model: BagModel) -> float:
        """Mean cross-entropy, with both classes weighing the same (nats)."""
        where, labels = self.examples.where, self.examples.labels
        scores = np.empty(len(labels))
        for bag in np.unique(where[:, 0]):
            of_bag = where[:, 0] == bag
            found = model.predict(self.examples.bags[bag])
            windows = where[of_bag, 1]
            scores[of_bag] = found.slide if windows[0] < 0 else found.windows[windows]
        right = np.clip(np.where(labels, scores, 1 - scores), 1e-7, 1)
        losses = -np.log(right)
        return float((losses[labels].mean() + losses[~labels].mean()) / 2)


class _Trainer:
    """A network with its optimiser, used for one training after another."""

    def __init__(self, network: BagNetwork, weight_decay: float) -> None:
        self.network, self.lock = network, threading.Lock()
        optimiser = keras.optimizers.AdamW(0.001, weight_decay=weight_decay, clipnorm=1.0)
        optimiser.exclude_from_weight_decay(var_names=["bias"])
        self.trained: Any = keras.Model(network.trained.inputs, network.trained.outputs)
        self.trained.compile(
            optimizer=optimiser,
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=choose_xla(),
        )
        optimiser.build(self.trained.trainable_variables)
        self.optimiser: Any = optimiser
        self._frozen: list[np.ndarray] | None = None

    def begin(self, seed: int) -> None:
        """Forget earlier trainings."""
        rng = np.random.default_rng([seed, START])
        self.network.windows.set_weights(draw_weights(self.network, rng))
        self._forget_steps()
        seeds = [one for one in self.trained.variables if "seed" in one.path]
        for number, variable in enumerate(seeds):
            variable.assign(np.array([seed, number], variable.dtype))

    def _forget_steps(self) -> None:
        for variable in self.optimiser.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def fill(self, model: BagModel, examples: Examples) -> None:
        """Take the weights of a model as those of standardised features."""
        if (model.length, model.options) != (self.network.length, self.network.options):
            raise ModelError(
                f"the start takes {model.length} features with {model.options.model_dump()}; this "
                f"training has {self.network.length} with {self.network.options.model_dump()}"
            )
        mean, deviation = examples.standard
        weights = list(model.weights)
        weights[BIAS] = weights[BIAS] + mean @ weights[KERNEL]
        weights[KERNEL] = weights[KERNEL] * deviation[:, None]
        self.network.windows.set_weights(weights)

    def freeze(self, is_frozen: bool) -> None:
        """Keep the first layer as it is from here on, or let it learn, with a new optimiser."""
        if self._frozen is not None and not is_frozen:
            self._forget_steps()
        self._frozen = self._first_layer.get_weights() if is_frozen else None

    @property
    def _first_layer(self) -> Any:
        return self.network.windows.get_layer("hidden")

    def learn(self, batch: BagBatch, rate: float) -> float:
        """Take one step; return its loss."""
        self.optimiser.learning_rate = rate
        self.trained.reset_metrics()
        loss = self.trained.train_on_batch(
            [batch.features, batch.mask], batch.labels, sample_weight=batch.weights
        )
        if self._frozen is not None:
            self._first_layer.set_weights(self._frozen)
        return float(np.asarray(loss))

    def model(self, examples: Examples) -> BagModel:
        """Return the weights as they are, for features that are not standardised."""
        mean, deviation = examples.standard
        weights = [np.array(one) for one in self.network.windows.get_weights()]
        kernel = weights[KERNEL] / deviation[:, None]
        weights[BIAS] = weights[BIAS] - mean @ kernel
        weights[KERNEL] = kernel
        return BagModel(
            length=self.network.length, options=self.network.options, weights=tuple(weights)
        )


@lru_cache(maxsize=8)
def _trainer(length: int, options: str, weight_decay: float) -> _Trainer:
    return _Trainer(BagNetwork(length, BagOptions.model_validate_json(options)), weight_decay)
