"""OpenVINO as a runtime: about twice the patches a second of Keras on a CPU."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from ..storage import ModelError

if TYPE_CHECKING:
    import keras

__all__ = ["ConvertedNetwork", "start_openvino", "without_telemetry"]


class ConvertedNetwork:
    """Forward pass of a converted network in 32-bit floats on the CPU."""

    def __init__(self, model: openvino.Model, threads: int | None) -> None:
        # Processors that have bfloat16 would use it, and probabilities would move in the third
        # digit.
        config: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        self._model = model
        self._compiled = openvino.Core().compile_model(model, "CPU", config)

    @classmethod
    def load(cls, path: Path, threads: int | None) -> "ConvertedNetwork":
        """Load what `save` wrote; Keras is not needed."""
        return cls(openvino.Core().read_model(path), threads)

    def save(self, path: Path) -> None:
        """Write an .xml file, and its numbers, float32, to a .bin file beside it."""
        openvino.save_model(self._model, path, compress_to_fp16=False)

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        return self._compiled(np.ascontiguousarray(patches))[0]


def start_openvino(network: "keras.Model", threads: int | None) -> ConvertedNetwork:
    """Convert a network, which takes some ten seconds, and return its forward pass.

    Raises:
        ModelError: the backend of Keras is JAX.
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
        with_bytes.input().tensor().set_element_type(openvino.Type.u8)
        return ConvertedNetwork(with_bytes.build(), threads)


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep OpenVINO's converter from reporting its use to its maker, as it does outside a CI."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before
