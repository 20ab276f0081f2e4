"""Registry of runtimes: what computes a network's forward pass.

`gigaslide predict --runtime` offers every entry. A runtime takes a Keras network that holds its
weights; it cannot load a file of its own: a ready .onnx is an encoder. One that is not Keras is
compared with Keras before it is used. A library that a new runtime imports also goes into setup.cfg
and into KERAS in tests/test_repository.py.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ...storage import ModelError
from .backend import choose_backend
from .device import has_gpu
from .forward import Forward, Precision
from .probes import draw_probes

if TYPE_CHECKING:
    import keras

__all__ = [
    "AUTO",
    "LARGEST_DIFFERENCE",
    "RUNTIMES",
    "TOLERANCES",
    "RuntimeChoice",
    "RuntimeName",
    "StartedRuntime",
    "compiles_each_size",
    "measure_difference",
    "start_runtime",
]

logger = logging.getLogger(__name__)

TOLERANCES: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 0.05, "int8": 0.1}
"""Largest difference of a probability from Keras's in float32, on drawn tissue and noise, for int8
on real patches, see `quantise_model`. 32-bit floats summed in another order differ by 1e-7."""
LARGEST_DIFFERENCE = TOLERANCES["float32"]
TAKE_ANY_SIZE = frozenset({"openvino", "onnx"})
"""Runtimes that compute batches of any size with one compiled network."""


def _keras(
    network: "keras.Model",
    threads: int | None,
    precision: Precision = "float32",
    xla: bool | None = None,
) -> Forward:
    from .keras_runtime import start_keras

    return start_keras(network, threads, precision, xla)


def _openvino(
    network: "keras.Model", threads: int | None, precision: Precision = "float32"
) -> Forward:
    from .openvino_runtime import start_openvino

    return start_openvino(network, threads, precision)


def _onnx(network: "keras.Model", threads: int | None, precision: Precision = "float32") -> Forward:
    from .onnx_runtime import start_onnx

    if precision != "float32":
        raise ModelError(f"it computes in float32 only, not in {precision}")
    return start_onnx(network, threads)


RUNTIMES: dict[str, Callable[..., Forward]] = {
    "openvino": _openvino,
    "keras": _keras,
    "onnx": _onnx,
}
"""By name: from a network, a number of threads (None = all cores) and, other than float32, a
precision to its forward pass."""
AUTO = "auto"
"""Keras where it sees a GPU, else OpenVINO; no other entry is ever chosen automatically."""

if TYPE_CHECKING:
    RuntimeName = str
else:
    RuntimeName = Literal[(AUTO, *RUNTIMES)]
    """auto, or a name in `RUNTIMES`."""


@dataclass(frozen=True, kw_only=True)
class RuntimeChoice:
    """Runtime that a network is to have, and how it is to compute.

    Raises:
        ModelError: XLA for another runtime than Keras, or on PyTorch.
    """

    runtime: RuntimeName = AUTO
    threads: int | None = None
    """Threads that the runtime uses; None = all cores."""
    precision: Precision = "float32"
    xla: bool | None = None
    """Compile with XLA, which only Keras does; None = as Keras chooses."""

    def __post_init__(self) -> None:
        if not self.xla:
            return
        if self.runtime not in (AUTO, "keras") or self.precision == "int8":
            other = "int8" if self.precision == "int8" else f"--runtime {self.runtime}"
            raise ModelError(
                f"--xla compiles a network of Keras, and {other} does not use Keras; leave out "
                "--xla, or use --runtime keras"
            )
        if choose_backend() == "torch":
            raise ModelError(
                "--xla: Keras cannot compile a network with XLA on PyTorch; leave out --xla, or "
                "set KERAS_BACKEND to tensorflow or jax"
            )

    @property
    def name(self) -> str:
        """Runtime to start; auto is Keras where it sees a GPU or XLA is asked for."""
        if self.runtime != AUTO:
            return self.runtime
        return "keras" if self.xla or has_gpu() else "openvino"


class StartedRuntime(NamedTuple):
    """A runtime that holds a network."""

    name: str
    forward: Forward
    difference: float
    """Largest difference of a probability from Keras's that was measured; 0.0 for Keras."""


def start_runtime(
    network: "keras.Model", choice: RuntimeChoice, *, probes: Any = None
) -> StartedRuntime:
    """Start a runtime and compare it with Keras in float32, without XLA where that is asked for.

    auto falls back on Keras, with a warning, where OpenVINO cannot run the network. probes: input
    to compare with; by default, drawn tissue and noise.

    Raises:
        ModelError: the runtime asked for cannot run the network in that way, or its probabilities
            differ from Keras's by more than the tolerance.
    """
    name, threads, precision = choice.name, choice.threads, choice.precision
    how: tuple[Any, ...] = () if precision == "float32" else (precision,)
    if name == "keras" and choice.xla is not None:
        how = (precision, choice.xla)
    if name == "keras" and not how:
        return StartedRuntime("keras", RUNTIMES["keras"](network, threads), 0.0)
    try:
        forward = RUNTIMES[name](network, threads, *how)
        given = draw_probes(network.input_shape[1:]) if probes is None else probes
        difference = _compare(forward, network, given, precision)
    except Exception as error:  # whatever a converter of foreign graphs raises
        if choice.runtime != AUTO or how:
            options = ["--precision"] if precision != "float32" else []
            options += ["--xla"] if choice.xla else []
            left_out = f"leave out {' and '.join(options)}"
            advice = left_out if options else "use --runtime keras"
            raise ModelError(
                f"the runtime {name} cannot run this model: {error}; {advice}"
            ) from error
        logger.warning("%s cannot run this model; Keras does, at half the speed: %s", name, error)
        return StartedRuntime("keras", RUNTIMES["keras"](network, threads), 0.0)
    return StartedRuntime(f"{name} with XLA" if choice.xla else name, forward, difference)


def _compare(forward: Forward, network: "keras.Model", probes: Any, precision: Precision) -> float:
    """Return the largest difference from Keras.

    Raises:
        ModelError: it is too large.
    """
    difference = measure_difference(forward(probes), network.predict_on_batch(probes))
    if not difference <= TOLERANCES[precision]:
        raise ModelError(
            f"its outputs differ from Keras's by {difference:.2g}, more than the "
            f"{TOLERANCES[precision]:g} of {precision}"
        )
    return difference


def compiles_each_size(runtime: str) -> bool:
    """Tell whether another size of a batch costs another compilation, as it does in Keras and may
    elsewhere. runtime: a name, or those of an ensemble's members with + between."""
    return not {*runtime.split("+")} <= TAKE_ANY_SIZE


def measure_difference(found: Any, wanted: Any) -> float:
    """Return the largest difference of outputs from those wanted, NaN where one is not a number;
    outputs above 1, which features have, are divided by the largest of them."""
    wanted = np.asarray(wanted)
    scale = max(1.0, float(np.abs(wanted).max()))
    return float(np.abs(np.asarray(found) - wanted).max()) / scale
