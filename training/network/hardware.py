"""Ways in which a device computes a training: float type, XLA, several devices at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

from ...storage import ModelError, SettingsError
from ..sampler import Batch
from ..settings import TrainSettings

__all__ = [
    "check_against_float32",
    "check_backend",
    "divide_batches",
    "float_type",
    "spread_over_devices",
]

logger = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 0.05
"""Largest difference of a probability from float32 with which a fast way is accepted."""


@contextmanager
def float_type(settings: TrainSettings) -> Iterator[None]:
    """Build networks of the float type asked for: with bfloat16, layers compute in it and keep
    their weights in float32."""
    before = keras.config.dtype_policy()
    if settings.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_backend(settings: TrainSettings) -> None:
    """Refuse what the backend of Keras cannot do.

    Raises:
        SettingsError: it cannot.
    """
    if settings.xla and keras.backend.backend() == "torch":
        raise SettingsError(
            "xla: Keras cannot compile a training with XLA on PyTorch; leave --xla out, or set "
            "KERAS_BACKEND to tensorflow or jax"
        )


def spread_over_devices(count: int) -> Any:
    """Return a context in which a network is built and compiled so that each step divides its batch
    over that many devices: the GPUs, or without any the logical CPUs. On JAX, `divide_batches` does
    so.

    Raises:
        SettingsError: fewer devices are there, or the backend cannot.
    """
    if count == 1:
        return nullcontext()
    found = _find_devices(count)
    if keras.backend.backend() == "jax":
        return nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(found).scope()


def divide_batches(count: int) -> Any:
    """Return a context in which networks are built, filled and trained so that on JAX each step
    divides its batch over that many devices. Other backends need none.

    Raises:
        SettingsError: fewer devices are there.
    """
    if count == 1 or keras.backend.backend() != "jax":
        return nullcontext()
    return keras.distribution.DataParallel(devices=_find_devices(count)).scope()


def _find_devices(count: int) -> list[str]:
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise SettingsError(
            f"devices {count}: with KERAS_BACKEND={backend} a training uses one device; choose "
            "tensorflow or jax"
        )
    found = keras.distribution.list_devices() if backend == "jax" else _tensorflow_devices()
    if len(found) < count:
        raise SettingsError(
            f"devices {count}: this machine has {len(found)} ({', '.join(found)}); ask for as many"
        )
    return found[:count]


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    for kind in ("GPU", "CPU"):
        devices = tf.config.list_logical_devices(kind)
        if devices:
            return [device.name for device in devices]
    return []


def check_against_float32(fast: keras.Model, plain: keras.Model, batch: Batch, *, way: str) -> None:
    """Compare a network with the same weights in plain float32 on one batch, and tell the largest
    difference of a probability. `way` names the fast way in the message.

    Raises:
        ModelError: the difference is above 0.05, or not a number.
    """
    plain.set_weights(fast.get_weights())
    scores = [np.asarray(n.predict_on_batch(batch.patches), np.float32) for n in (fast, plain)]
    largest = float(np.abs(scores[0] - scores[1]).max())
    message = f"{way}: probabilities of one batch differ from float32 by up to {largest:.2g}"
    if not largest <= LARGEST_DIFFERENCE:
        raise ModelError(f"{message}, more than {LARGEST_DIFFERENCE}; train without it")
    logger.warning("%s", message)
