"""Places of a dense network's cells on its tile."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ...storage import ModelError
from ...wsi import InputSpec, ceil_div, floor_div
from ..runtimes.probes import draw_tile

if TYPE_CHECKING:
    import keras

    from ..networks.geometry import FeatureGeometry

__all__ = [
    "DenseLayout",
    "cell_steps",
    "derive_layout",
    "draw_probes",
    "least_stride_px",
    "pool_cells",
    "shrink_pixels",
]

MOST_FEATURES = 64
COMPARED = 2  # cells along the side of the tile on which runtimes are compared
WHOLE = 1e-6  # of a step; steps nearer to a whole number of features are whole


@dataclass(frozen=True, kw_only=True)
class DenseLayout:
    """Geometry of a network on tiles of P + whole strides px; all lengths in window px.

    On such a tile every layer pads as on a patch, so that features k to k + p - 1 look at what the
    features of a patch that begins at k × stride_px look at, and at real pixels where the patch has
    its padding.
    """

    patch_px: int
    shrink: int
    """Factor by which pixels are shrunk first: those of a tile before the network, see
    `shrink_pixels`."""
    features: int
    """Features p along the side of a patch, whose mean is a cell's."""
    stride_px: int
    """Distance of neighbouring features."""
    halo_features: int
    """Features at each border of a tile that may look at the padding; left out."""
    shift_px: int
    """Distance by which tiles are read further right and down than patches, so that what a cell's
    features look at has the cell's centre in its middle."""

    @property
    def margin_px(self) -> int:
        """Px around a patch that a dense network needs on each side."""
        return self.halo_features * self.stride_px + abs(self.shift_px)

    def tile_px(self, cells: int, step_px: int) -> int:
        """Side of a tile of cells × cells cells that lie step_px apart."""
        halo_px = self.halo_features * self.stride_px
        return self.patch_px + step_px * (cells - 1) + 2 * halo_px

    def shrunk_px(self, px: int) -> int:
        """Side of a tile after shrinking."""
        return px // self.shrink

    def of_one_feature(self) -> "DenseLayout":
        """Return the layout of cells of a single feature each, in the middle of a patch: those of a
        class activation map."""
        narrower_px = self.stride_px * (self.features - 1)
        return replace(
            self,
            patch_px=self.patch_px - narrower_px,
            features=1,
            shift_px=self.shift_px + floor_div(narrower_px, 2),
        )

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "DenseLayout":
        return cls(**plain)


def derive_layout(
    features: "keras.KerasTensor", image: "keras.KerasTensor", *, patch_px: int, shrink: int
) -> DenseLayout:
    """Derive the layout of a tower from its feature map on a patch (1, P, P, 3), and the shrinking
    before it.

    Raises:
        ModelError: the network cannot be computed on tiles.
    """
    from ..networks.geometry import derive_geometry

    geometry: FeatureGeometry = derive_geometry(features, image)
    last_px = geometry.last_px + geometry.stride_px * (geometry.size - 1)
    reach_px = max(0, -geometry.first_px, last_px - (patch_px - 1))
    return DenseLayout(
        patch_px=patch_px,
        shrink=shrink,
        features=geometry.size,
        stride_px=geometry.stride_px,
        halo_features=ceil_div(reach_px, geometry.stride_px),
        shift_px=round((patch_px - 1) / 2 - geometry.centre_px),
    )


def cell_steps(spec: InputSpec, stride_px: int, feature_strides_px: Iterable[int]) -> list[int]:
    """Return the distance of neighbouring cells at each scale, window px.

    stride_px: that distance at the finest scale. feature_strides_px: distance of the features of
    each network.

    Raises:
        ModelError: a distance that is not a whole number of features.
    """
    for feature_px in feature_strides_px:
        for mpp in spec.mpps:
            steps = stride_px * spec.mpp / mpp / feature_px
            if abs(steps - round(steps)) > WHOLE or round(steps) < 1:
                least = feature_px * mpp / spec.mpp
                raise ModelError(
                    f"cells every {stride_px} px are {steps:.3g} features apart at {mpp:g} µm/px, "
                    f"where a whole number is needed; give a --stride-px that is a multiple of "
                    f"{least:g}"
                )
    return [round(stride_px * spec.mpp / mpp) for mpp in spec.mpps]


def least_stride_px(spec: InputSpec, feature_strides_px: Sequence[int]) -> int:
    """Return the least distance of neighbouring cells (px of the finest scale) that is a whole
    number of features at every scale.

    Raises:
        ModelError: none is, up to 64 features.
    """
    least = math.lcm(*feature_strides_px)
    for times in range(1, MOST_FEATURES + 1):
        try:
            cell_steps(spec, least * times, feature_strides_px)
        except ModelError:
            continue
        return least * times
    raise ModelError(
        f"the scales {', '.join(f'{mpp:g}' for mpp in spec.mpps)} µm/px have no common distance of "
        "features; a class activation map needs one"
    )


def shrink_pixels(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Return the mean of each square of factor × factor px, rounded; the last px that fill no
    square are left out. (rows, columns, 3) uint8."""
    if factor == 1:
        return np.ascontiguousarray(pixels)
    rows, columns = (side // factor for side in pixels.shape[:2])
    whole = pixels[: rows * factor, : columns * factor]
    return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)


def pool_cells(odds: np.ndarray, layout: DenseLayout, step_px: int) -> np.ndarray:
    """Return the probabilities of the cells of a tile, (1, rows, columns, classes) float32, from
    the log-odds of its features, (1, rows, columns, classes), halo included."""
    halo, side, step = layout.halo_features, layout.features, step_px // layout.stride_px
    inside = odds[0, halo : odds.shape[1] - halo, halo : odds.shape[2] - halo].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(inside, (side, side), axis=(0, 1))
    mean = windows[::step, ::step].mean(axis=(-2, -1))
    powers = np.exp(mean - mean.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)[None]


def draw_probes(layout: DenseLayout, steps: Sequence[int]) -> list[np.ndarray]:
    """Draw shrunk tiles of 2 × 2 cells, one a scale, see `draw_tile`."""
    return [draw_tile(layout.shrunk_px(layout.tile_px(COMPARED, step_px))) for step_px in steps]
