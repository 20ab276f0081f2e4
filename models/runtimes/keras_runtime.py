"""Keras as a runtime, on its backend's devices."""

import logging
import threading
from typing import Any

import keras

from .forward import Forward, Precision

__all__ = ["limit_threads", "start_keras"]

logger = logging.getLogger(__name__)


def start_keras(
    network: keras.Model,
    threads: int | None,
    precision: Precision = "float32",
    xla: bool | None = None,
) -> Forward:
    """Return the forward pass of a network; it is compiled once for each batch size. xla: with XLA,
    without it, or as Keras chooses."""
    limit_threads(threads)
    if precision == "float32" and xla is None:
        return _in_turns(network.predict_on_batch)
    other = _copy_network(network, precision)
    other.compile(jit_compile=_jit(xla))
    if xla:
        network.compile(jit_compile=_jit(False))  # with which the other one is compared
    return _in_turns(other.predict_on_batch)


def _in_turns(function: Forward) -> Forward:
    """Return a function that threads run one after another: each call fills the device."""
    turns = threading.Lock()

    def forward(batch: Any) -> Any:
        with turns:
            return function(batch)

    return forward


def _jit(xla: bool | None) -> Any:
    return "auto" if xla is None else xla


def _copy_network(network: keras.Model, precision: Precision) -> keras.Model:
    """Copy a network; in bfloat16 all layers but the last one compute in it."""
    last = network.layers[-1].name

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if precision == "bfloat16" and layer.name != last and "dtype" in config:
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    other = keras.models.clone_model(network, clone_function=copy, recursive=True)
    other.set_weights(network.get_weights())
    return other


def limit_threads(threads: int | None) -> None:
    """Limit the threads of one operation, where the backend can.

    TensorFlow takes a limit only before its first operation, so call this before a network is
    built.
    """
    backend = keras.backend.backend()
    if threads is None or backend not in ("tensorflow", "torch"):
        return
    if backend == "torch":
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
        return
    import tensorflow

    if tensorflow.config.threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # it has begun
        logger.debug("TensorFlow has begun already; it keeps its number of threads")
