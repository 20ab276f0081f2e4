"""Registry of runtimes: what computes a network's forward pass. A new runtime is added here.

A runtime that is not Keras is compared with Keras before it is used.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..storage import ModelError

if TYPE_CHECKING:
    import keras

__all__ = ["RUNTIMES", "Forward", "Runtime", "start_runtime"]

logger = logging.getLogger(__name__)

Runtime = Literal["auto", "openvino", "keras"]
"""auto is OpenVINO where Keras sees no GPU."""
Forward = Callable[[np.ndarray], np.ndarray]
"""(N, scales, P, P, 3) uint8 RGB → (N, classes) probabilities."""

LARGEST_DIFFERENCE = 1e-5  # of a probability; 32-bit floats summed in another order differ by 1e-7
PROBES = 2


def _keras(network: "keras.Model", threads: int | None) -> Forward:
    from .keras_runtime import start

    return start(network, threads)


def _openvino(network: "keras.Model", threads: int | None) -> Forward:
    from .openvino_runtime import start

    return start(network, threads)


RUNTIMES: dict[str, Callable[["keras.Model", int | None], Forward]] = {
    "keras": _keras,
    "openvino": _openvino,
}
"""By name: from a network and a number of threads (None = all cores) to its forward pass."""


def start_runtime(
    network: "keras.Model", runtime: Runtime, *, threads: int | None = None
) -> tuple[str, Forward]:
    """Start a runtime: return its name and the forward pass.

    auto falls back on Keras, with a warning, where OpenVINO cannot run the network.

    Raises:
        ModelError: the runtime asked for cannot run the network, or its probabilities differ from
        Keras's.
    """
    if runtime == "keras" or (runtime == "auto" and _has_gpu()):
        return "keras", RUNTIMES["keras"](network, threads)
    name = "openvino" if runtime == "auto" else runtime
    try:
        forward = RUNTIMES[name](network, threads)
        _compare(forward, network)
    except Exception as error:  # whatever a converter of foreign graphs raises
        if runtime != "auto":
            raise ModelError(
                f"the runtime {name} cannot run this model: {error}; use --runtime keras"
            ) from error
        logger.warning("%s cannot run this model; Keras does, at half the speed: %s", name, error)
        return "keras", RUNTIMES["keras"](network, threads)
    return name, forward


def _has_gpu() -> bool:
    import keras

    return bool(keras.distribution.list_devices("gpu"))


def _compare(forward: Forward, network: "keras.Model") -> None:
    shape = (PROBES, *network.input_shape[1:])
    probes = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    probes[0] //= 2  # a dark one and a bright one
    difference = float(np.abs(forward(probes) - np.asarray(network.predict_on_batch(probes))).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelError(f"its probabilities differ from Keras's by {difference:.2g}")
