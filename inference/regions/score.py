"""Probabilities of cells by a network that segments regions, tile by tile.

A tile is the square of a few cells and what their probabilities depend on around them. All tiles
begin at multiples of the network's step from the slide's corner, so that the probability of a cell
does not depend on the tile it was computed in.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ...models import Ensemble, RegionPredictor
from ...storage import SettingsError
from ...wsi import CellGrid, CellStatus, Slide, StainFit, ceil_div, floor_div
from ..read_ahead import read_ahead
from ..score import WindowScores
from ..settings import PredictSettings

__all__ = ["RegionScorer", "cells_of_small_tile", "check_regions"]

SMALL_PX = 64
"""Side of the squares that are read one by one where a whole tile cannot be read."""


def check_regions(ensemble: Ensemble, settings: PredictSettings) -> None:
    """Pass if these settings have a meaning for models that segment regions.

    Raises:
        SettingsError: another mode than exact, a class activation map, or int8.
    """
    if settings.is_cam:
        raise SettingsError(
            f"--localise cam: is for models of patches, and {ensemble.folders[0]} segments "
            "regions; leave it out"
        )
    if settings.mode != "exact":
        raise SettingsError(
            f"--mode {settings.mode}: {ensemble.folders[0]} segments regions, which it does in one "
            "way; leave --mode out; --orientations 1 takes an eighth of the time"
        )
    if settings.precision == "int8":
        raise SettingsError(
            f"--precision int8: is for models of patches, and {ensemble.folders[0]} segments "
            "regions; leave it out"
        )


def cells_of_small_tile(stride_px: int) -> int:
    """Return the cells along the side of a small square."""
    return max(1, SMALL_PX // stride_px)


@dataclass(frozen=True, kw_only=True)
class _Square:
    """Cells that one tile scores, and the tile."""

    row: int
    column: int
    side: int
    """Cells along the side."""
    x_px: int
    """Top left of the tile, window px."""
    y_px: int

    @property
    def first(self) -> np.ndarray:
        """Its first cell, (row, column)."""
        return np.array([self.row, self.column])


@dataclass(frozen=True, kw_only=True)
class RegionScorer:
    """Scores cells of one slide."""

    slide: Slide
    grid: CellGrid
    predictor: RegionPredictor
    settings: PredictSettings
    stain: StainFit | None = None
    threads: int = 1

    def score(self, cells: np.ndarray, *, side: int) -> WindowScores:
        """Score cells (N, 2) (row, column) in squares of side × side cells, a multiple of
        `cells_of_small_tile`. Where a square's tile cannot be read, its small squares are read one
        by one."""
        members = len(self.predictor.members)
        scores = np.full((members, len(cells)), np.nan, np.float64)
        is_read = np.zeros(len(cells), bool)
        lost = self._fill(scores, is_read, cells, np.arange(len(cells)), side)
        small = cells_of_small_tile(self.grid.spec.stride_px)
        if len(lost) and side > small:
            self._fill(scores, is_read, cells, lost, small)
        mean, spread = scores.mean(axis=0), scores.std(axis=0)
        status = np.where(np.isnan(mean), CellStatus.FAILED, CellStatus.SCORED)
        return WindowScores(
            probability=mean.astype(np.float32),
            status=np.where(is_read, status, CellStatus.UNREADABLE).astype(np.uint8),
            spread=spread.astype(np.float32) if members > 1 else None,
        )

    def _fill(
        self,
        scores: np.ndarray,
        is_read: np.ndarray,
        cells: np.ndarray,
        rows: np.ndarray,
        side: int,
    ) -> np.ndarray:
        """Score the cells of these rows in squares; return the rows that cannot be read."""
        lost = []
        corners, square_of = np.unique(cells[rows] // side, axis=0, return_inverse=True)
        squares = [self._square(*corner, side=side) for corner in corners.tolist()]
        with closing(read_ahead(self._read(squares))) as tiles:
            for number, tile in tiles:
                inside = rows[square_of.reshape(-1) == number]
                if tile is None:
                    lost.append(inside)
                    continue
                found: np.ndarray = self._score_square(squares[number], tile)
                rows_in, columns_in = (cells[inside] - squares[number].first).T
                scores[:, inside] = found[:, rows_in, columns_in]
                is_read[inside] = True
        return np.concatenate(lost) if lost else np.zeros(0, np.int64)

    def _square(self, row: int, column: int, *, side: int) -> _Square:
        """Return the square in that row and column of squares, with its tile."""
        step, reach, stride = self.predictor.step_px, self.predictor.reach_px, self._stride_px
        y_px, x_px = (
            step * floor_div(number * side * stride - reach, step) for number in (row, column)
        )
        return _Square(row=row * side, column=column * side, side=side, x_px=x_px, y_px=y_px)

    def _tile_px(self, side: int) -> int:
        """Side of the tiles of all squares of that side, wherever they begin between two steps."""
        step, reach = self.predictor.step_px, self.predictor.reach_px
        return step * ceil_div(side * self._stride_px + 2 * reach + step - 1, step)

    def _read(self, squares: list[_Square]) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yield the number of a square and the pixels of its tile, None where they cannot be
        read."""
        if not squares:
            return
        corners = np.array([(square.x_px, square.y_px) for square in squares], np.float64)
        windows = self.slide.read_windows(
            np.rint(corners * self.grid.scale.level0).astype(np.int64),
            size=self._tile_px(squares[0].side),
            mpp=self.predictor.spec.mpp,
            allow_upsampling=self.settings.allow_upsampling,
            threads=self.threads,
        )
        for number, window in windows:
            if window is None:
                yield number, None
            else:
                yield number, np.array(window) if self.stain is None else self.stain.apply(window)

    def _score_square(self, square: _Square, tile: np.ndarray) -> np.ndarray:
        """Mean probability of each cell of a square: (members, side, side) float64."""
        scores = self.predictor.score_members(tile, orientations=self.settings.orientations)
        stride, side = self._stride_px, square.side
        top, left = square.row * stride - square.y_px, square.column * stride - square.x_px
        inside = scores[:, top : top + side * stride, left : left + side * stride]
        by_cell = inside.reshape(len(scores), side, stride, side, stride)
        return by_cell.mean(axis=(2, 4), dtype=np.float64)

    @property
    def _stride_px(self) -> int:
        return self.grid.spec.stride_px
