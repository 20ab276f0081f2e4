"""The same network as OpenVINO runs it on a CPU, about twice as many patches a second as Keras
there."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from ..storage import ModelError

__all__ = ["on_cpu"]

LARGEST_DIFFERENCE = (
    1e-5  # of a probability; 32-bit floats summed in another order differ by some 1e-7
)
PROBES = 2


def on_cpu(network: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """(N, S, S, 3) uint8 → (N, classes) float32, by 32-bit arithmetic; takes some ten seconds to
    convert.

    Raises:
        ModelError: what came of the conversion does not give what Keras gives.
    """
    compiled = _compiled(network)

    def forward(patches: np.ndarray) -> np.ndarray:
        return compiled(np.ascontiguousarray(patches))[0]

    probes = np.random.default_rng(0).integers(
        0, 256, (PROBES, *network.input_shape[1:]), dtype=np.uint8
    )
    probes[0] //= 2  # a dark one and a bright one
    difference = float(np.abs(forward(probes) - np.asarray(network.predict_on_batch(probes))).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelError(f"OpenVINO's probabilities differ from Keras's by {difference:.2g}")
    return forward


def _compiled(network: keras.Model) -> openvino.CompiledModel:
    with tempfile.TemporaryDirectory() as folder, _told_to_nobody():
        path = Path(folder) / "network.xml"
        network.export(str(path), format="openvino", verbose=False)
        core = openvino.Core()
        with_bytes = PrePostProcessor(core.read_model(path))
        with_bytes.input().tensor().set_element_type(openvino.Type.u8)
        # Else processors that have bfloat16 use it, and probabilities move in the third digit.
        return core.compile_model(with_bytes.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@contextmanager
def _told_to_nobody() -> Iterator[None]:
    """OpenVINO's converter reports each use to its maker, unless it runs in a CI; hospitals want no
    such calls."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before
