"""Places on a slide, and the frames they are told in.

level-0 px   x to the right, y down, origin at the top left of the finest level. Points are (x, y).
Everything on disk. level px     the same at another level of the pyramid: level-0 px divided by
that level's downsample. window px    px at the µm/px a network sees; one window px is
`Scale.level0` level-0 px. cells        (row, column) of a grid of windows; arrays are (row,
column). `row_column` is the one crossing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["CellGrid", "Region", "Scale", "WindowSpec", "ceil_div", "floor_div", "row_column"]


def floor_div(value: float, by: float) -> int:
    """The largest integer not above value / by."""
    return math.floor(value / by)


def ceil_div(value: float, by: float) -> int:
    """The smallest integer not below value / by; 1e-9 above an integer still counts as that
    integer."""
    return math.ceil(value / by - 1e-9)


def row_column(
    xy: np.ndarray, *, origin_level0: tuple[float, float], stride_level0: float
) -> np.ndarray:
    """Cells that hold points: (N, 2) level-0 (x, y) → (N, 2) int64 (row, column), which may lie
    outside the grid."""
    offset = np.asarray(xy, np.float64).reshape(-1, 2) - np.asarray(origin_level0, np.float64)
    return np.floor(offset[:, ::-1] / stride_level0).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle in level-0 px: top left and size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How one slide is read at a wanted µm/px.

    `mpp` is what the windows really have, `requested_mpp` what was asked for: within 3 % of a level
    the level is read as it is, since resampling by so little costs sharpness and time and changes
    nothing a network can see.
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
    """The geometry of a window: a square of side_px at mpp, labelled by the centre square, moved by
    stride_px.

    Liu et al. 2017 take 299, 128 and 128 px at about 0.25 µm/px.
    """

    side_px: int
    centre_px: int
    stride_px: int
    mpp: float
    phase_px: tuple[int, int] = (0, 0)
    """(x, y) by which the first cell lies off the slide's corner."""

    def grid(self, *, width_level0: int, height_level0: int, scale: Scale) -> "CellGrid":
        """The cells that cover a slide of that size."""
        stride = self.stride_px * scale.level0
        return CellGrid(
            spec=self,
            scale=scale,
            rows=max(1, ceil_div(height_level0, stride)),
            columns=max(1, ceil_div(width_level0, stride)),
        )


@dataclass(frozen=True, kw_only=True)
class CellGrid:
    """Cells of stride × stride over a whole slide, each with its window; the origin is the slide's
    own, or the phase.

    Cell (row, column) covers level-0 [column × stride, (column + 1) × stride) in x, and likewise in
    y. Its labelled centre square and its window are concentric with it (to half a window px), so
    the windows of border cells reach outside the slide.
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
        """Every cell, (rows × columns, 2) int64 (row, column), row by row."""
        return np.concatenate(list(self.cells_in_parts()))

    def cells_in_parts(self, at_once: int = 2**20) -> Iterator[np.ndarray]:
        """The same in parts of at most so many cells, for work that needs memory for each."""
        count = self.rows * self.columns
        for first in range(0, count, at_once):
            numbers = np.arange(first, min(first + at_once, count), dtype=np.int64)
            yield np.stack(np.divmod(numbers, self.columns), axis=1)

    def centres_xy(self, cells: np.ndarray) -> np.ndarray:
        """Top left of the labelled centre squares, (N, 2) float64 level-0 (x, y)."""
        return (cells[:, ::-1] * self.spec.stride_px + self._centre_px()) * self.scale.level0

    def windows_xy(self, cells: np.ndarray, *, margin_px: int = 0) -> np.ndarray:
        """Top left of the windows, grown by margin_px on each side, (N, 2) int64 level-0 (x, y)."""
        offset_px = (
            self._centre_px() - floor_div(self.spec.side_px - self.spec.centre_px, 2) - margin_px
        )
        return np.rint(
            (cells[:, ::-1] * self.spec.stride_px + offset_px) * self.scale.level0
        ).astype(np.int64)

    def _centre_px(self) -> np.ndarray:
        """(x, y) of the first cell's centre square."""
        return np.array(self.spec.phase_px) + floor_div(
            self.spec.stride_px - self.spec.centre_px, 2
        )
