"""Coordinate frames of a slide, and the value objects that name them.

- level-0 px: x to the right, y down, origin at the top left of the finest level. Points are (x, y).
  Everything on disk uses this frame.
- level px: the same at another level of the pyramid: level-0 px divided by its downsample.
- window px: px at the µm/px a network sees; one window px is `Scale.level0` level-0 px.
- cells: (row, column) in a grid of windows. Arrays are (row, column); only `row_column` crosses.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["CellGrid", "Region", "Scale", "WindowSpec", "ceil_div", "floor_div", "row_column"]


def floor_div(value: float, by: float) -> int:
    """Divide and round down to an integer."""
    return math.floor(value / by)


def ceil_div(value: float, by: float) -> int:
    """Divide and round up to an integer; a quotient up to 1e-9 above an integer rounds down."""
    return math.ceil(value / by - 1e-9)


def row_column(
    xy: np.ndarray, *, origin_level0: tuple[float, float], stride_level0: float
) -> np.ndarray:
    """Find the cells that hold points: (N, 2) level-0 (x, y) → (N, 2) int64 (row, column).

    A cell may lie outside the grid.
    """
    offset = np.asarray(xy, np.float64).reshape(-1, 2) - np.asarray(origin_level0, np.float64)
    return np.floor(offset[:, ::-1] / stride_level0).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle in level-0 px: top left and size."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"x {self.x}, y {self.y}, {self.width} × {self.height} px of level 0"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The level and the resampling by which one slide is read at a requested µm/px.

    `mpp` is the µm/px of the windows. It differs from `requested_mpp` by up to 3 % if a level is
    that near: resampling by so little costs time and sharpness and changes nothing a network sees.
    """

    requested_mpp: float
    mpp: float
    level: int
    level_downsample: float
    """Level-0 px per level px."""
    level0: float
    """Level-0 px per window px."""

    @property
    def resample(self) -> float:
        """Level px per window px; 1.0 where windows are the level's own pixels."""
        return self.level0 / self.level_downsample


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """Geometry of windows: squares of side_px at mpp, labelled by their centre square, every
    stride_px.

    Liu et al. 2017 use 299, 128 and 128 px at about 0.25 µm/px.
    """

    side_px: int
    centre_px: int
    stride_px: int
    mpp: float
    phase_px: tuple[int, int] = (0, 0)
    """(x, y) offset of the first cell from the slide's corner."""

    def grid(self, *, width_level0: int, height_level0: int, scale: Scale) -> "CellGrid":
        """Cover a slide of that size with cells."""
        stride = self.stride_px * scale.level0
        return CellGrid(
            spec=self,
            scale=scale,
            rows=max(1, ceil_div(height_level0, stride)),
            columns=max(1, ceil_div(width_level0, stride)),
        )


@dataclass(frozen=True, kw_only=True)
class CellGrid:
    """Square cells over a whole slide, one window each.

    Cell (row, column) covers level-0 [column × stride, (column + 1) × stride) in x, and likewise in
    y, shifted by the spec's phase. Its centre square and its window are concentric with it (to half
    a window px), so the windows of border cells reach outside the slide.
    """

    spec: WindowSpec
    scale: Scale
    rows: int
    columns: int

    @property
    def stride_level0(self) -> float:
        return self.spec.stride_px * self.scale.level0

    @property
    def side_level0(self) -> float:
        return self.spec.side_px * self.scale.level0

    @property
    def centre_level0(self) -> float:
        return self.spec.centre_px * self.scale.level0

    def cells(self) -> np.ndarray:
        """Every cell, row by row: (rows × columns, 2) int64 (row, column)."""
        return np.concatenate(list(self.cells_in_parts()))

    def cells_in_parts(self, at_once: int = 2**20) -> Iterator[np.ndarray]:
        """Yield `cells` in parts of at most at_once, for work that needs memory per cell."""
        count = self.rows * self.columns
        for first in range(0, count, at_once):
            numbers = np.arange(first, min(first + at_once, count), dtype=np.int64)
            yield np.stack(np.divmod(numbers, self.columns), axis=1)

    def centres_xy(self, cells: np.ndarray) -> np.ndarray:
        """Top left corners of the labelled centre squares: (N, 2) float64 level-0 (x, y)."""
        return (cells[:, ::-1] * self.spec.stride_px + self._centre_px()) * self.scale.level0

    def windows_xy(self, cells: np.ndarray, *, margin_px: int = 0) -> np.ndarray:
        """Top left corners of the windows, grown by margin_px on each side: (N, 2) int64 level-0
        (x, y)."""
        offset_px = (
            self._centre_px() - floor_div(self.spec.side_px - self.spec.centre_px, 2) - margin_px
        )
        return np.rint(
            (cells[:, ::-1] * self.spec.stride_px + offset_px) * self.scale.level0
        ).astype(np.int64)

    def _centre_px(self) -> np.ndarray:
        """(x, y) of the first cell's centre square, window px."""
        return np.array(self.spec.phase_px) + floor_div(
            self.spec.stride_px - self.spec.centre_px, 2
        )
