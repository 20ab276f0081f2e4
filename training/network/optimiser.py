"""Optimiser, loss and averaged weights of a training, all of them Keras's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ...wsi import CLASSES
from ..settings import TrainSettings
from .learning_rate import HalvingWithCooldown

__all__ = ["averaged_weights", "compile_network", "describe_optimiser"]


def compile_network(
    network: keras.Model, settings: TrainSettings, *, steps: int, rate_factor: float = 1.0
) -> None:
    """Give a network its optimiser and its loss, for a training of that many steps at
    `rate_factor` times the learning rate."""
    shared = {
        "clipnorm": settings.clip_norm or None,
        "use_ema": settings.average > 0,
        "ema_momentum": settings.average or 0.99,
    }
    settings = settings.model_copy(update={"learning_rate": rate_factor * settings.learning_rate})
    rate: Any = _learning_rate(settings, steps)
    if settings.optimizer == "adamw":
        optimiser = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **shared)
        optimiser.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    else:
        optimiser = keras.optimizers.RMSprop(
            rate,
            rho=settings.rho,
            momentum=settings.momentum,
            epsilon=settings.epsilon,
            **shared,
        )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    xla: Any = "auto" if settings.xla is None else settings.xla
    metrics = ["accuracy", TumorAuc(name="auc")]
    network.compile(optimizer=optimiser, loss=loss, metrics=metrics, jit_compile=xla)
    if keras.backend.backend() != "tensorflow":
        _build_metrics(network)


def _build_metrics(network: Any) -> None:
    """Create the variables of the metrics, which `fit` would do from the first batch.

    On JAX and PyTorch it would then put that batch after the last one.
    """
    targets = keras.ops.eye(len(CLASSES))
    network.compute_loss(y=targets, y_pred=targets)
    network.compute_metrics(None, targets, targets)
    network.reset_metrics()


class TumorAuc(keras.metrics.AUC):
    """Area under the ROC curve of the second class, by 200 thresholds."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        # A score that is not a number has no place among the thresholds; the loss tells of it.
        scores: Any = keras.ops.where(keras.ops.isnan(y_pred), 0.5, y_pred)
        return super().update_state(y_true[:, 1], scores[:, 1], sample_weight)


def _learning_rate(
    settings: TrainSettings, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    if settings.schedule == "halving":
        return HalvingWithCooldown(
            start=settings.learning_rate,
            batch_size=settings.batch_size,
            halve_every=settings.halve_every,
            cooldown=settings.cooldown,
            steps=steps,
        )
    growing = round(settings.warm_up * steps)
    if not growing:
        return keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / growing,
        max(1, steps - growing),
        warmup_target=settings.learning_rate,
        warmup_steps=growing,
    )


def describe_optimiser(settings: TrainSettings) -> str:
    """Say in words which optimiser a model card tells of."""
    if settings.recipe == "probe":
        return "logistic regression of scikit-learn on the features of the initial weights"
    if settings.optimizer == "adamw":
        return "AdamW of Keras 3 (no weight decay of biases and of batch normalisation)"
    # TensorFlow's classic one started the mean square at one, so with epsilon 1 its first ten or
    # so steps were shorter by up to √2.
    return "RMSProp of Keras 3 (epsilon inside the root, mean square from zero)"


@contextmanager
def averaged_weights(network: keras.Model) -> Iterator[None]:
    """Put the running mean of the weights into a network for a while, if its optimiser has one."""
    optimiser: Any = network.optimizer
    if not (optimiser.use_ema and optimiser.built):
        yield
        return
    own = [np.array(variable) for variable in network.trainable_variables]
    optimiser.finalize_variable_values(network.trainable_variables)
    for variable in network.trainable_variables:
        # On JAX the weights would share the averages' memory, which a prediction frees.
        variable.assign(np.array(variable))
    try:
        yield
    finally:
        for variable, value in zip(network.trainable_variables, own, strict=True):
            variable.assign(value)
