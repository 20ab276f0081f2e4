"""Plan of the tiles that cover the cells of a slide for a dense network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_CELLS", "Tile", "allowed_sides", "plan_tiles"]

MOST_CELLS = 32
"""Largest number of cells along a side of a tile."""
SIDES_OF_SQUARES = (1, 2, 3, 4, 6, 9, 12, 18, 24, MOST_CELLS)
"""Cells along the side of a square; few, because a deep network is compiled for each."""


@dataclass(frozen=True, order=True)
class Tile:
    """A rectangle of cells that the network scores at once."""

    cells: tuple[int, int]
    """Its rows and columns."""
    row: int
    column: int


def allowed_sides(most: int, *, squares: bool) -> list[int]:
    """Return the numbers of cells that a side of a tile may have, up to most."""
    sides = SIDES_OF_SQUARES if squares else range(1, MOST_CELLS + 1)
    return [side for side in sides if side <= most]


def plan_tiles(
    cells: np.ndarray, tile_px: Callable[[int], int], *, most: int, squares: bool = False
) -> list[Tile]:
    """Cover cells (N, 2) (row, column) with tiles, of few px in all.

    A rectangle becomes one tile, or is cut in two where the tiles around its parts take the fewest
    px, and the parts likewise; whichever takes fewer px.

    Args:
        cells: Cells to cover.
        tile_px: Side of a tile by the number of cells along it.
        most: Largest number of cells along a side, of `allowed_sides`.
        squares: Tiles are squares.
    """
    if not len(cells):
        return []
    first = cells.min(axis=0)
    mask = np.zeros(cells.max(axis=0) - first + 1, bool)
    mask[tuple((cells - first).T)] = True
    planner = _Planner.of(max(mask.shape), tile_px, most=most, squares=squares)
    _, tiles = planner.cover(mask, *first.tolist())
    return tiles


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Number of px of the tiles around rectangles of cells."""

    most: int
    squares: bool
    sides: NDArray[np.int64]
    """Least of `allowed_sides` by number of cells."""
    side_px: NDArray[np.int64]
    """Px along as many tiles of these sides as cover a number of cells."""
    cell_px: int
    margin_px: int
    """Px along a tile in addition to cell_px for each cell."""

    @classmethod
    def of(
        cls, longest: int, tile_px: Callable[[int], int], *, most: int, squares: bool
    ) -> "_Planner":
        allowed = np.array(allowed_sides(most, squares=squares))
        sides = allowed[np.searchsorted(allowed, np.arange(most + 1))]
        one_px = np.array([0, *(tile_px(side) for side in sides[1:].tolist())])
        full, rest = np.divmod(np.arange(longest + 1), most)
        return cls(
            most=most,
            squares=squares,
            sides=sides,
            side_px=full * one_px[most] + one_px[rest],
            cell_px=tile_px(2) - tile_px(1),
            margin_px=2 * tile_px(1) - tile_px(2),
        )

    def cover(self, mask: np.ndarray, row: int, column: int) -> tuple[int, list[Tile]]:
        """Cover the cells of a mask whose first cell is at a row and column: px and tiles."""
        lines, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        row, column = row + int(lines[0]), column + int(across[0])
        mask = mask[lines[0] : lines[-1] + 1, across[0] : across[-1] + 1]
        whole_px = int(self._pixels(*mask.shape))
        fits = max(mask.shape) <= self.most
        shape = self.sides[list(mask.shape)].tolist() if fits else [0, 0]
        tile = Tile((max(shape), max(shape)) if self.squares else (shape[0], shape[1]), row, column)
        if fits and whole_px <= self._least_pixels_of_two(int(mask.sum())):
            return whole_px, [tile]
        cuts = [self._find_cut(mask), self._find_cut(mask.T)]
        axis = int(cuts[1][0] < cuts[0][0])
        at = cuts[axis][1]
        parts = (mask[:at], mask[at:]) if axis == 0 else (mask[:, :at], mask[:, at:])
        down, right = ((at, 0), (0, at))[axis]
        first_px, first = self.cover(parts[0], row, column)
        second_px, second = self.cover(parts[1], row + down, column + right)
        if fits and whole_px <= first_px + second_px:
            return whole_px, [tile]
        return first_px + second_px, first + second

    def _find_cut(self, mask: np.ndarray) -> tuple[float, int]:
        """Return the px of the tiles around the two parts, and the row before which to cut."""
        if len(mask) == 1:
            return np.inf, 0
        above, below = _sizes_of_first_rows(mask), _sizes_of_first_rows(mask[::-1])
        pixels = self._pixels(*above)[:-1] + self._pixels(*below)[:-1][::-1]
        best = int(pixels.argmin())
        return float(pixels[best]), best + 1

    def _pixels(self, rows: int | np.ndarray, columns: int | np.ndarray) -> np.ndarray:
        down, across = self.side_px[rows], self.side_px[columns]
        return np.maximum(down, across) ** 2 if self.squares else down * across

    def _least_pixels_of_two(self, cells: int) -> float:
        """Lower bound of the px of two or more tiles that hold some cells."""
        margins = 2 * self.margin_px**2 + 2 * self.margin_px * self.cell_px * cells**0.5
        return margins + cells * self.cell_px**2


def _sizes_of_first_rows(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the rectangle around the cells in the first 1, 2, … rows of a mask whose
    first row has some."""
    inside = np.logical_or.accumulate(mask, axis=0)
    columns = mask.shape[1] - inside.argmax(axis=1) - inside[:, ::-1].argmax(axis=1)
    rows = np.maximum.accumulate(np.where(mask.any(axis=1), np.arange(1, len(mask) + 1), 0))
    return rows, columns
