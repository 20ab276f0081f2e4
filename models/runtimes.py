"""Registry of runtimes: what computes a network's forward pass.

`gigaslide predict --runtime` offers every entry. A runtime takes a Keras network that holds its
weights; it cannot load a file of its own, such as a ready .onnx. One that is not Keras is compared
with Keras before it is used. A library that a new runtime imports also goes into `install_requires`
in setup.cfg and into KERAS in tests/test_repository.py.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..storage import ModelError
from .device import has_gpu

if TYPE_CHECKING:
    import keras

__all__ = ["AUTO", "LARGEST_DIFFERENCE", "RUNTIMES", "Forward", "RuntimeName", "start_runtime"]

logger = logging.getLogger(__name__)

Forward = Callable[[np.ndarray], np.ndarray]
"""(N, scales, P, P, 3) uint8 RGB → (N, classes) probabilities."""

LARGEST_DIFFERENCE = 1e-5  # of a probability; 32-bit floats summed in another order differ by 1e-7
PROBES = 2


def _keras(network: "keras.Model", threads: int | None) -> Forward:
    from .keras_runtime import start_keras

    return start_keras(network, threads)


def _openvino(network: "keras.Model", threads: int | None) -> Forward:
    from .openvino_runtime import start_openvino

    return start_openvino(network, threads)


RUNTIMES: dict[str, Callable[["keras.Model", int | None], Forward]] = {
    "openvino": _openvino,
    "keras": _keras,
}
"""By name: from a network and a number of threads (None = all cores) to its forward pass."""
AUTO = "auto"
"""Keras where it sees a GPU, else OpenVINO; no other entry is ever chosen automatically."""

if TYPE_CHECKING:
    RuntimeName = str
else:
    RuntimeName = Literal[(AUTO, *RUNTIMES)]
    """auto, or a name in `RUNTIMES`."""


def start_runtime(
    network: "keras.Model", runtime: RuntimeName, *, threads: int | None = None
) -> tuple[str, Forward]:
    """Start a runtime: return its name and the forward pass.

    auto falls back on Keras, with a warning, where OpenVINO cannot run the network.

    Raises:
        ModelError: the runtime asked for cannot run the network, or its probabilities differ from
            Keras's.
    """
    if runtime == "keras" or (runtime == AUTO and has_gpu()):
        return "keras", RUNTIMES["keras"](network, threads)
    name = "openvino" if runtime == AUTO else runtime
    try:
        forward = RUNTIMES[name](network, threads)
        _compare(forward, network)
    except Exception as error:  # whatever a converter of foreign graphs raises
        if runtime != AUTO:
            raise ModelError(
                f"the runtime {name} cannot run this model: {error}; use --runtime keras"
            ) from error
        logger.warning("%s cannot run this model; Keras does, at half the speed: %s", name, error)
        return "keras", RUNTIMES["keras"](network, threads)
    return name, forward


def _compare(forward: Forward, network: "keras.Model") -> None:
    shape = (PROBES, *network.input_shape[1:])
    probes = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    probes[0] //= 2  # a dark one and a bright one
    difference = float(np.abs(forward(probes) - np.asarray(network.predict_on_batch(probes))).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelError(f"its probabilities differ from Keras's by {difference:.2g}")
