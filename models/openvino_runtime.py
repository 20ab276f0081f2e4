"""OpenVINO as a runtime: about twice the patches a second of Keras on a CPU."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from .runtimes import Forward

__all__ = ["start_openvino", "without_telemetry"]


def start_openvino(network: keras.Model, threads: int | None) -> Forward:
    """Convert a network, which takes some ten seconds, and return its forward pass in 32-bit
    floats on the CPU."""
    compiled = _compile(network, threads)

    def forward(patches: np.ndarray) -> np.ndarray:
        return compiled(np.ascontiguousarray(patches))[0]

    return forward


def _compile(network: keras.Model, threads: int | None) -> openvino.CompiledModel:
    # Processors that have bfloat16 would use it, and probabilities would move in the third digit.
    config: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    with tempfile.TemporaryDirectory() as folder, without_telemetry():
        path = Path(folder) / "network.xml"
        network.export(str(path), format="openvino", verbose=False)
        core = openvino.Core()
        with_bytes = PrePostProcessor(core.read_model(path))
        with_bytes.input().tensor().set_element_type(openvino.Type.u8)
        return core.compile_model(with_bytes.build(), "CPU", config)


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
