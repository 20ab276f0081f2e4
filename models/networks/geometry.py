"""Geometry of a network's feature map: which pixels each of its features looks at.

Derived layer by layer from the network itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from ...storage import ModelError

__all__ = ["FeatureGeometry", "derive_geometry"]

WINDOWED = (
    "Conv2D",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "MaxPooling2D",
    "AveragePooling2D",
)
POINTWISE = (
    "Activation",
    "Add",
    "BatchNormalization",
    "Concatenate",
    "Dropout",
    "ELU",
    "GetItem",
    "LayerScale",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "StochasticDepth",
)
OF_CHANNELS = ("Dense", "LayerNormalization")
"""Pointwise where they work along the last axis of a map, as ConvNeXt's do."""


@dataclass(frozen=True, kw_only=True)
class FeatureGeometry:
    """Features along one axis of an image of so many px. Pixel 0 has its centre at 0."""

    size: int
    """Number of features."""
    stride_px: int
    """Distance of neighbouring features."""
    first_px: int
    """First px that feature 0 looks at; negative where it looks at the padding."""
    last_px: int
    """Last px that feature 0 looks at, included."""

    @property
    def centre_px(self) -> float:
        """Centre of what all features together look at, hence of their mean."""
        return (self.first_px + self.last_px + self.stride_px * (self.size - 1)) / 2


def derive_geometry(features: keras.KerasTensor, image: keras.KerasTensor) -> FeatureGeometry:
    """Return the geometry of a feature map (1, p, p, C) on a square image (1, P, P, 3), which holds
    for rows and columns.

    Raises:
        ModelError: a layer between them looks at the whole image, or is of a kind not known here.
    """
    pixels = FeatureGeometry(size=int(image.shape[1]), stride_px=1, first_px=0, last_px=0)
    by_axis = [_Walk({id(image): pixels}, axis).geometry_of(features) for axis in (0, 1)]
    return _join(by_axis, "mean")


class _Walk:
    """Walk along one axis (0 rows, 1 columns) through a graph of layers, from tensors whose
    geometry is known, by their id."""

    def __init__(self, known: Mapping[int, FeatureGeometry], axis: int) -> None:
        self._known = dict(known)
        self._axis = axis

    def geometry_of(self, tensor: Any) -> FeatureGeometry:
        if id(tensor) not in self._known:
            history = tensor._keras_history
            if not history.operation._inbound_nodes:
                raise ModelError("the network takes something else than the patch")
            node = history.operation._inbound_nodes[history.node_index]
            before = [self.geometry_of(one) for one in node.input_tensors]
            self._known[id(tensor)] = self._after(history.operation, before, tensor)
        return self._known[id(tensor)]

    def _after(self, layer: Any, before: Sequence[FeatureGeometry], tensor: Any) -> FeatureGeometry:
        kind = type(layer).__name__
        if isinstance(layer, keras.Model):
            inside = _Walk({id(layer.inputs[0]): before[0]}, self._axis)
            return inside.geometry_of(layer.outputs[0])
        if kind == "ZeroPadding2D":
            return _pad(before[0], *layer.padding[self._axis])
        if kind == "Cropping2D":
            return _pad(before[0], *(-side for side in layer.cropping[self._axis]))
        if kind in WINDOWED:
            return _slide_over(layer, before[0], self._axis)
        is_map = len(tensor.shape) == 4
        if is_map and (kind in POINTWISE or (kind in OF_CHANNELS and _is_of_channels(layer))):
            return _join(before, layer.name)
        raise ModelError(
            f"its layer {layer.name} ({kind}) cannot be computed on a tile larger than a patch"
        )


def _is_of_channels(layer: Any) -> bool:
    return getattr(layer, "axis", -1) in (-1, [-1], (-1,), 3, [3], (3,))


def _slide_over(layer: Any, before: FeatureGeometry, axis: int) -> FeatureGeometry:
    """Apply the windows of a convolution or a pooling."""
    is_pooling = hasattr(layer, "pool_size")
    side = (layer.pool_size if is_pooling else layer.kernel_size)[axis]
    step, dilation = layer.strides[axis], 1 if is_pooling else layer.dilation_rate[axis]
    reach = (side - 1) * dilation
    if layer.padding == "valid":
        left, size = 0, (before.size - reach - 1) // step + 1
    else:
        size = -(-before.size // step)
        left = max((size - 1) * step + reach + 1 - before.size, 0) // 2
    return FeatureGeometry(
        size=size,
        stride_px=before.stride_px * step,
        first_px=before.first_px - left * before.stride_px,
        last_px=before.last_px + (reach - left) * before.stride_px,
    )


def _pad(before: FeatureGeometry, left: int, right: int) -> FeatureGeometry:
    shift = -left * before.stride_px
    return replace(
        before,
        size=before.size + left + right,
        first_px=before.first_px + shift,
        last_px=before.last_px + shift,
    )


def _join(before: Sequence[FeatureGeometry], name: str) -> FeatureGeometry:
    first, *others = before
    if any((one.size, one.stride_px) != (first.size, first.stride_px) for one in others):
        raise ModelError(f"its layer {name} joins maps of different sizes")
    return replace(
        first,
        first_px=min(one.first_px for one in before),
        last_px=max(one.last_px for one in before),
    )
