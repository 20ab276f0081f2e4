"""Heatmap as an image that begins at the slide's top left corner and covers the slide.

Image px are squares of `px_level0` level-0 px: column c covers level-0 x in px_level0 × [c, c + 1).
Each px takes the cell that holds its centre, so an edge between cells is at most half a px off its
place, and in its place where the cells begin at the slide's corner.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...wsi import CellStatus, Heatmap, ceil_div

__all__ = ["HeatmapRaster", "coarser_levels", "colour"]

LONGER_PX = 1000
MOST_CELL_PX = 32
FAILED = (128, 128, 128)
"""RGB of cells that could not be read, that the network gave NaN for, or that are missing."""


@dataclass(frozen=True, kw_only=True)
class HeatmapRaster:
    """Image of a heatmap with cell_px image px per side of a cell; None chooses."""

    heatmap: Heatmap
    cell_px: int | None = None

    @cached_property
    def px_level0(self) -> float:
        """Side of an image px, level-0 px."""
        stride = self.heatmap.stride_level0
        wanted = ceil_div(LONGER_PX * stride, max(self.heatmap.slide_size))
        return stride / (self.cell_px or min(max(1, wanted), MOST_CELL_PX))

    @property
    def px_um(self) -> float:
        """Side of an image px, µm."""
        return self.px_level0 * self.heatmap.slide_mpp

    @cached_property
    def probability(self) -> np.ndarray:
        """(rows, columns) float32; NaN where no cell has a probability."""
        return np.where(self._is_inside, self.heatmap.probability[self._cells], np.nan)

    @cached_property
    def is_lost(self) -> np.ndarray:
        """(rows, columns) bool: cells that failed, could not be read or are missing."""
        lost = (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET)
        return self._is_inside & np.isin(self.heatmap.status[self._cells], lost)

    @cached_property
    def _row_column(self) -> tuple[np.ndarray, np.ndarray]:
        """Row of cells of each image row, column of cells of each image column."""
        found = []
        for length, origin in zip(
            self.heatmap.slide_size[::-1], self.heatmap.origin_level0[::-1], strict=True
        ):
            centres = (np.arange(ceil_div(length, self.px_level0)) + 0.5) * self.px_level0
            cell = np.floor((centres - origin) / self.heatmap.stride_level0)
            found.append(cell.astype(np.int64))
        return found[0], found[1]

    @cached_property
    def _cells(self) -> tuple[np.ndarray, ...]:
        rows, columns = self.heatmap.status.shape
        row, column = self._row_column
        return np.ix_(np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1))

    @cached_property
    def _is_inside(self) -> np.ndarray:
        rows, columns = self.heatmap.status.shape
        row, column = self._row_column
        return ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))


def halve(probability: np.ndarray) -> np.ndarray:
    """Take the highest of 2 × 2 probabilities, so that small lesions stay visible; NaN only where
    all are."""
    rows, columns = probability.shape
    padded = np.pad(probability, ((0, rows % 2), (0, columns % 2)), constant_values=np.nan)
    return np.fmax.reduce([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)])


def coarser_levels(probability: np.ndarray, *, until_px: int) -> list[np.ndarray]:
    """Halve probabilities until the longer side has at most until_px: the coarser levels of a
    pyramid."""
    levels, level = [], probability
    while max(level.shape) > until_px:
        level = halve(level)
        levels.append(level)
    return levels


def colour(probability: np.ndarray, colours: str) -> np.ndarray:
    """Colours of probabilities, uint8 RGB; NaN as 0."""
    import matplotlib  # slow, and most worker processes import this module without drawing

    table = (matplotlib.colormaps[colours](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return table[np.rint(np.nan_to_num(probability) * 255).astype(np.uint8)]
