"""OpenVINO as a runtime: two to three times the patches a second of Keras on a CPU."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from openvino import opset13 as opset
from openvino.preprocess import PrePostProcessor

from ...storage import ModelError
from .forward import Precision
from .loading import without_telemetry
from .streams import StreamedNetwork, count_cores
from .tiles import TileNetwork

if TYPE_CHECKING:
    import keras

__all__ = ["ConvertedNetwork", "start_openvino"]


class ConvertedNetwork:
    """Forward pass of a converted network on the CPU."""

    def __init__(
        self, model: openvino.Model, threads: int | None, precision: Precision = "float32"
    ) -> None:
        """Compile a network.

        Raises:
            ModelError: the CPU does not have bfloat16.
        """
        if precision == "bfloat16" and not _has_bfloat16():
            raise ModelError("this CPU does not compute in bfloat16; leave out --precision")
        # Processors that have bfloat16 would use it unasked, and probabilities would move in the
        # third digit.
        hint = "bf16" if precision == "bfloat16" else "f32"
        config: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": hint}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        self.model = model
        kind = TileNetwork if _takes_tiles(model) else StreamedNetwork
        self._compiled = kind(model, config, threads or count_cores())

    @classmethod
    def load(
        cls, path: Path, threads: int | None, precision: Precision = "float32"
    ) -> "ConvertedNetwork":
        """Load what `save` wrote; Keras is not needed."""
        return cls(openvino.Core().read_model(path), threads, precision)

    def save(self, path: Path) -> None:
        """Write an .xml file, and its numbers, float32, to a .bin file beside it."""
        openvino.save_model(self.model, path, compress_to_fp16=False)

    def __call__(self, patches: Any) -> np.ndarray:
        return self._compiled(patches)

    @property
    def compiled_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the tiles for which a dense network is compiled; empty for patches."""
        return getattr(self._compiled, "compiled_shapes", ())


def start_openvino(
    network: "keras.Model", threads: int | None, precision: Precision = "float32"
) -> ConvertedNetwork:
    """Convert a network, which takes some ten seconds, and return its forward pass.

    Raises:
        ModelError: the backend of Keras is JAX, or the CPU does not compute in that precision.
    """
    import keras

    if keras.backend.backend() == "jax":
        raise ModelError(
            "OpenVINO does not read what Keras exports on JAX; with KERAS_BACKEND=tensorflow it "
            "converts this model, and later runs on any backend take that from the cache"
        )
    with tempfile.TemporaryDirectory() as folder, without_telemetry():
        path = Path(folder) / "network.xml"
        network.export(str(path), format="openvino", verbose=False)
        with_bytes = PrePostProcessor(openvino.Core().read_model(path))
        for number in range(len(network.inputs)):
            with_bytes.input(number).tensor().set_element_type(openvino.Type.u8)
        return ConvertedNetwork(_shrink_by_convolution(with_bytes.build()), threads, precision)


def _shrink_by_convolution(model: openvino.Model) -> openvino.Model:
    """Return a network in which a convolution averages the squares of RGB pixels that the network
    shrinks.

    OpenVINO pools in blocks of 16 channels, 13 of them empty: shrinking took a third of the time of
    the compact network.
    """
    for op in model.get_ops():
        if op.get_type_name() != "AvgPool":
            continue
        how, channels = op.get_attributes(), op.input(0).get_partial_shape()[1]
        sides = how["kernel"]
        is_shrinking = sides == how["strides"] and how["auto_pad"] == "valid"
        if is_shrinking and channels == openvino.Dimension(3):
            mean = np.eye(3, dtype=np.float32)[:, :, None, None] / np.prod(sides)
            filters = opset.constant(np.tile(mean, (1, 1, *sides)).astype(np.float32))
            pixels, none = op.input_value(0), [0] * len(sides)
            shrunk = opset.convolution(pixels, filters, sides, none, none, [1] * len(sides))
            op.output(0).replace(shrunk.output(0))
    model.validate_nodes_and_infer_types()
    return model


def _takes_tiles(model: openvino.Model) -> bool:
    """Tell whether a network is a dense one, which takes tiles of any side."""
    shape = model.input(0).partial_shape
    return len(shape) == 4 and shape[1].is_dynamic


def _has_bfloat16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
