"""ONNX Runtime as a runtime: what Keras exports, on the CPU."""

import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...storage import ModelError
from .backend import choose_backend
from .loading import without_telemetry

if TYPE_CHECKING:
    import keras

__all__ = ["ONNX_PACKAGES", "find_missing", "start_onnx"]

ONNX_PACKAGES = {
    "tensorflow": ("onnx", "tf2onnx"),
    "jax": ("onnx", "jax2onnx"),
    "torch": ("onnx", "onnxscript"),
}
"""Packages with which Keras writes ONNX, by backend."""
LEAST_SIDE = 512  # px of a dynamic side, of a dense network


def find_missing(*further: str) -> list[str]:
    """Return the packages that are not installed, of those that write ONNX and further ones."""
    needed = (*ONNX_PACKAGES.get(choose_backend(), ()), *further)
    return [name for name in needed if importlib.util.find_spec(name) is None]


def start_onnx(network: "keras.Model", threads: int | None) -> Any:
    """Convert a network, which takes some ten seconds, and return its forward pass in 32-bit floats
    on the CPU.

    Raises:
        ModelError: a package is not installed.
    """
    if missing := find_missing("onnxruntime"):
        raise ModelError(
            f"it needs {' and '.join(missing)}, not installed here; run pip install "
            "'gigaslide[onnx]'"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder, without_telemetry(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter, about NumPy and Python to come
        path = Path(folder) / "network.onnx"
        shape = [(1, *(side or LEAST_SIDE for side in one.shape[1:])) for one in network.inputs]
        given = [np.zeros(one, np.uint8) for one in shape]
        network.predict_on_batch(given if len(given) > 1 else given[0])  # else Keras refuses
        network.export(str(path), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    names = [one.name for one in session.get_inputs()]

    def forward(patches: Any) -> np.ndarray:
        given = patches if len(names) > 1 or isinstance(patches, list) else [patches]
        outputs = session.run(None, dict(zip(names, map(_as_floats, given), strict=True)))
        return np.asarray(outputs[0])

    return forward


def _as_floats(patches: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(patches, np.float32)
