"""Small ONNX files whose outputs are computed another way here."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")

SIDE, STRIDE, LENGTH = 7, 4, 5
MEAN, STD = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25)


def kernels() -> np.ndarray:
    """(LENGTH, 3, SIDE, SIDE) float32."""
    return np.random.default_rng(0).normal(size=(LENGTH, 3, SIDE, SIDE)).astype(np.float32) / 10


def feature_map(patches: np.ndarray, *, mean=MEAN, std=STD) -> np.ndarray:
    """The map that `write_onnx` computes of (N, P, P, 3) uint8: (N, LENGTH, rows, columns)."""
    pixels = (patches / 255 - mean) / std
    views = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(1, 2))
    views = views[:, ::STRIDE, ::STRIDE]
    return np.maximum(np.einsum("nrckyx,dkyx->ndrc", views, kernels()), 0)


def write_onnx(
    path: Path,
    shape: list,
    *,
    last: bool = False,
    output: str = "pooled",
    further: bool = False,
    external: str = "",
) -> Path:
    """A convolution and a ReLU; output is "pooled" (N, D), "map" (N, D, r, c) or "tokens" (N, r ×
    c, D). last: channels last. further: another output besides. external: file of the numbers."""
    make, node = onnx.helper, onnx.helper.make_node
    nodes = [node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2])] if last else []
    taken = "first" if last else "x"
    nodes.append(node("Conv", [taken, "w"], ["conv"], strides=[STRIDE, STRIDE]))
    nodes.append(node("Relu", ["conv"], ["map"]))
    nodes.append(node("GlobalAveragePool", ["map"], ["mean"]))
    nodes.append(node("Flatten", ["mean"], ["pooled"]))
    nodes.append(node("Flatten", ["map"], ["flat"], axis=2))
    nodes.append(node("Reshape", ["map", "lines"], ["line"]))
    nodes.append(node("Transpose", ["line"], ["tokens"], perm=[0, 2, 1]))
    numbers = onnx.numpy_helper.from_array(kernels(), "w")
    lines = onnx.numpy_helper.from_array(np.array([0, LENGTH, -1]), "lines")
    outputs = [output, *(["flat"] if further else [])]
    graph = make.make_graph(
        nodes,
        "tiny",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [make.make_tensor_value_info(one, onnx.TensorProto.FLOAT, None) for one in outputs],
        [numbers, lines],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    if external:
        onnx.external_data_helper.set_external_data(model.graph.initializer[0], external)
        model.graph.initializer[0].ClearField("raw_data")
        path.write_bytes(model.SerializeToString())
    else:
        onnx.save(model, path)
    return path
