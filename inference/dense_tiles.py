"""Cells scored densely: the network runs once over each of a few tiles that hold them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..models import DensePredictor
from ..wsi import CellGrid, CellStatus, Scale, Slide, StainFit, floor_div
from .read_ahead import compute_ahead, read_ahead
from .score import WindowScores
from .settings import PredictSettings
from .tile_plan import MOST_CELLS, Tile, allowed_sides, plan_tiles

__all__ = ["score_dense"]

LARGEST_TILE_PX = 2560
"""Side of a tile after `shrink`, unless a single cell needs more: InceptionV3 takes 3 GB for it."""
LARGEST_DRIFT_PX = 0.5
"""By which scales whose µm/px are not in a whole ratio may slip against each other on a tile."""


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
    tiles = plan_tiles(
        cells, predictor.tile_px, most=reader.most_cells, squares=not predictor.takes_rectangles
    )
    lost = found.fill(reader, tiles)
    torn = [tile for tile in lost if tile.cells > (1, 1)]
    alone = [Tile((1, 1), *at) for at in cells.tolist() if any(_holds(tile, at) for tile in torn)]
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
        normalise = reader.stain and reader.stain.apply

        def score(item: tuple[Tile, list[np.ndarray] | None]) -> np.ndarray | None:
            tile, pixels = item
            if pixels is None:
                return None
            scores = predictor.score_members(pixels, tile.cells, normalise=normalise)
            return scores[..., predictor.spec.tumor]

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
                inside = np.s_[row : row + tile.cells[0], column : column + tile.cells[1]]
                rows, columns = self.mean[inside].shape
                self.mean[inside] = members.mean(axis=0)[:rows, :columns]
                self.spread[inside] = members.std(axis=0)[:rows, :columns]
                self.is_read[inside] = True
        return lost


def _holds(tile: Tile, cell: list[int]) -> bool:
    rows, columns = tile.cells
    return cell[0] - tile.row in range(rows) and cell[1] - tile.column in range(columns)


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
        sides = allowed_sides(MOST_CELLS, squares=not self.predictor.takes_rectangles)
        most = max(
            side for side in sides if side == 1 or self.predictor.tile_px(side) <= largest_px
        )
        for scale, coarse_step in zip(coarser, steps, strict=True):
            drift_px = abs(coarse_step - step * finest.level0 / scale.level0)
            if drift_px * (most - 1) > LARGEST_DRIFT_PX:
                most = 1 + floor_div(LARGEST_DRIFT_PX, drift_px)
        return max(side for side in sides if side <= most)

    def read(self, tiles: list[Tile]) -> Iterator[tuple[Tile, list[np.ndarray] | None]]:
        """Yield tiles and their pixels, (rows, columns, 3) uint8 RGB for each scale; None for a
        tile that cannot be read."""
        for shape, alike in groupby(sorted(tiles), key=lambda tile: tile.cells):
            same = list(alike)
            middles = self._middles(same, shape)
            # Those of coarser scales wait for those of the finest.
            waiting = [
                dict(self._windows(middles, shape, scale)) for scale in range(len(self.scales))[1:]
            ]
            for index, window in self._windows(middles, shape, 0):
                windows = [window, *(found.pop(index) for found in waiting)]
                pixels = [one for one in windows if one is not None]
                yield same[index], pixels if len(pixels) == len(windows) else None

    def _middles(self, tiles: list[Tile], shape: tuple[int, int]) -> np.ndarray:
        """Centres of tiles, (N, 2) float64 level-0 (x, y)."""
        grid, finest = self.grid, self.scales[0]
        spec = grid.spec
        cells = np.array([(tile.row, tile.column) for tile in tiles])
        before_px = floor_div(spec.side_px - spec.centre_px, 2) + self.predictor.margin_px
        corners = grid.centres_xy(cells) - before_px * finest.level0
        return corners + np.array(self._size_px(shape, 0)) * finest.level0 / 2

    def _size_px(self, shape: tuple[int, int], scale: int) -> tuple[int, int]:
        """Width and height of a tile of (rows, columns) cells, window px of a scale."""
        rows, columns = shape
        return self.predictor.tile_px(columns, scale), self.predictor.tile_px(rows, scale)

    def _windows(
        self, middles: np.ndarray, shape: tuple[int, int], number: int
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        scale, size = self.scales[number], self._size_px(shape, number)
        windows = self.slide.read_windows(
            middles - np.array(size) * scale.level0 / 2,
            size=size,
            mpp=scale.requested_mpp,
            allow_upsampling=self.settings.allow_upsampling,
            threads=self.threads,
        )
        for index, window in windows:
            yield index, None if window is None else np.array(window)
