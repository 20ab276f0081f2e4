"""Keras as a runtime, on its backend's devices."""

import logging

import keras

from .runtimes import Forward

__all__ = ["limit_threads", "start_keras"]

logger = logging.getLogger(__name__)


def start_keras(network: keras.Model, threads: int | None) -> Forward:
    """Return the forward pass of a network; it is compiled once for each batch size."""
    limit_threads(threads)
    return network.predict_on_batch


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
