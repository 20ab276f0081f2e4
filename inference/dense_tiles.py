"""Cells scored densely: the network runs once over each of a few square tiles that hold them."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..models import DensePredictor
from ..wsi import CellGrid, CellStatus, Scale, Slide, StainFit, ceil_div, floor_div
from .read_ahead import compute_ahead, read_ahead
from .score import WindowScores
from .settings import PredictSettings

__all__ = ["Tile", "plan_tiles", "score_dense"]

SIDES = (1, 2, 3, 4, 6, 9, 12, 18, 24, 32)
"""Cells along the side of a tile; few, because a network is compiled for each."""
LARGEST_TILE_PX = 2560
"""Side of a tile after `shrink`, unless a single cell needs more: InceptionV3 takes 3 GB for it."""
LARGEST_DRIFT_PX = 0.5
"""By which scales whose µm/px are not in a whole ratio may slip against each other on a tile."""


@dataclass(frozen=True, order=True)
class Tile:
    """A square of cells that the network scores at once."""

    cells: int
    """Cells along its side."""
    row: int
    column: int


def plan_tiles(cells: np.ndarray, tile_px: Callable[[int], int], *, most: int) -> list[Tile]:
    """Cover cells (N, 2) (row, column) with square tiles, of few px in all.

    A square becomes one tile or is cut into four, whichever takes fewer px. tile_px gives the side
    of a tile by its number of cells; most is the largest number.
    """
    if not len(cells):
        return []
    first, last = cells.min(axis=0), cells.max(axis=0)
    side = int((last - first).max()) + 1
    cut: list[Tile] = []
    if side > 1:
        half = first + ceil_div(side, 2)
        quarter = (cells >= half) @ (2, 1)
        for number in range(4):
            cut += plan_tiles(cells[quarter == number], tile_px, most=most)
        if side > most:
            return cut
    whole = Tile(next(known for known in SIDES if known >= side), *first.tolist())
    pixels = sum(tile_px(tile.cells) ** 2 for tile in cut)
    return cut if cut and pixels < tile_px(whole.cells) ** 2 else [whole]


def score_dense(
    slide: Slide,
    grid: CellGrid,
    cells: np.ndarray,
    predictor: DensePredictor,
    settings: PredictSettings,
    *,
    stain: StainFit | None = None,
    threads: int = 1,
) -> WindowScores:
    """Score cells (N, 2) (row, column) in one orientation.

    The score of a cell does not depend on the other cells, to about 1e-6. Where a tile cannot be
    read, its cells are read one by one.
    """
    reader = _TileReader(slide, grid, predictor, settings, stain, threads)
    found = _Found.around(cells)
    lost = found.fill(reader, plan_tiles(cells, predictor.tile_px, most=reader.most_cells))
    torn = [tile for tile in lost if tile.cells > 1]
    alone = [Tile(1, *cell) for cell in cells.tolist() if any(_holds(tile, cell) for tile in torn)]
    found.fill(reader, alone)
    at = tuple((cells - found.origin).T)
    probability, spread, is_read = found.mean[at], found.spread[at], found.is_read[at]
    status = np.where(np.isnan(probability), CellStatus.FAILED, CellStatus.FIRST_PASS)
    return WindowScores(
        probability=probability,
        status=np.where(is_read, status, CellStatus.UNREADABLE).astype(np.uint8),
        spread=spread if len(predictor.members) > 1 else None,
    )


@dataclass(frozen=True)
class _Found:
    """Scores of a rectangle of cells."""

    origin: np.ndarray
    """First cell (row, column)."""
    mean: np.ndarray
    spread: np.ndarray
    is_read: np.ndarray

    @classmethod
    def around(cls, cells: np.ndarray) -> "_Found":
        """Make room for cells (N, 2)."""
        first = cells.min(axis=0) if len(cells) else np.zeros(2, np.int64)
        shape = cells.max(axis=0) - first + 1 if len(cells) else (0, 0)
        mean, spread = np.full((2, *shape), np.nan, np.float32)
        return cls(first, mean, spread, np.zeros(shape, bool))

    def fill(self, reader: "_TileReader", tiles: list[Tile]) -> list[Tile]:
        """Score tiles; return those that cannot be read."""
        predictor, lost = reader.predictor, []

        def score(item: tuple[Tile, list[np.ndarray] | None]) -> np.ndarray | None:
            tile, pixels = item
            if pixels is None:
                return None
            return predictor.score_members(pixels, tile.cells)[..., predictor.spec.tumor]

        with (
            closing(read_ahead(reader.read(tiles))) as items,
            closing(compute_ahead(score, items, at_once=predictor.tiles_at_once)) as scored,
        ):
            for (tile, _), scores in scored:
                if scores is None:
                    lost.append(tile)
                    continue
                members = scores.astype(np.float64)
                row, column = (tile.row, tile.column) - self.origin
                inside = np.s_[row : row + tile.cells, column : column + tile.cells]
                rows, columns = self.mean[inside].shape
                self.mean[inside] = members.mean(axis=0)[:rows, :columns]
                self.spread[inside] = members.std(axis=0)[:rows, :columns]
                self.is_read[inside] = True
        return lost


def _holds(tile: Tile, cell: list[int]) -> bool:
    row, column = cell
    inside = range(tile.cells)
    return row - tile.row in inside and column - tile.column in inside


@dataclass(frozen=True)
class _TileReader:
    """Pixels of tiles at every scale of a network."""

    slide: Slide
    grid: CellGrid
    predictor: DensePredictor
    settings: PredictSettings
    stain: StainFit | None
    threads: int

    @property
    def scales(self) -> list[Scale]:
        upsampling = self.settings.allow_upsampling
        mpps = self.predictor.spec.mpps
        return [self.slide.scale(mpp, allow_upsampling=upsampling) for mpp in mpps]

    @property
    def most_cells(self) -> int:
        """Largest number of cells along the side of a tile."""
        finest, *coarser = self.scales
        step, *steps = self.predictor.steps_px
        largest_px = LARGEST_TILE_PX * self.predictor.shrink
        most = max(
            side for side in SIDES if side == 1 or self.predictor.tile_px(side) <= largest_px
        )
        for scale, coarse_step in zip(coarser, steps, strict=True):
            drift_px = abs(coarse_step - step * finest.level0 / scale.level0)
            if drift_px * (most - 1) > LARGEST_DRIFT_PX:
                most = 1 + floor_div(LARGEST_DRIFT_PX, drift_px)
        return max(side for side in SIDES if side <= most)

    def read(self, tiles: list[Tile]) -> Iterator[tuple[Tile, list[np.ndarray] | None]]:
        """Yield tiles and their pixels, (T, T, 3) uint8 RGB for each scale; None for a tile that
        cannot be read."""
        for side, alike in groupby(sorted(tiles), key=lambda tile: tile.cells):
            same = list(alike)
            middles = self._middles(same, side)
            # Those of coarser scales wait for those of the finest.
            waiting = [
                dict(self._windows(middles, side, scale)) for scale in range(len(self.scales))[1:]
            ]
            for index, window in self._windows(middles, side, 0):
                windows = [window, *(found.pop(index) for found in waiting)]
                pixels = [one for one in windows if one is not None]
                yield same[index], pixels if len(pixels) == len(windows) else None

    def _middles(self, tiles: list[Tile], side: int) -> np.ndarray:
        """Centres of tiles, (N, 2) float64 level-0 (x, y)."""
        grid, finest = self.grid, self.scales[0]
        spec = grid.spec
        cells = np.array([(tile.row, tile.column) for tile in tiles])
        before_px = floor_div(spec.side_px - spec.centre_px, 2) + self.predictor.margin_px
        corners = grid.centres_xy(cells) - before_px * finest.level0
        return corners + self.predictor.tile_px(side) * finest.level0 / 2

    def _windows(
        self, middles: np.ndarray, side: int, number: int
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        scale, tile_px = self.scales[number], self.predictor.tile_px(side, number)
        windows = self.slide.read_windows(
            middles - tile_px * scale.level0 / 2,
            size=tile_px,
            mpp=scale.requested_mpp,
            allow_upsampling=self.settings.allow_upsampling,
            threads=self.threads,
        )
        for index, window in windows:
            if window is None:
                yield index, None
            elif self.stain is None:
                yield index, np.array(window)
            else:
                yield index, self.stain.apply(window)
