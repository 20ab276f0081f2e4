"""The tiles of an open slide, as layers; what could not be decoded is remembered and told.

A tile that cannot be decoded is tried once more on a fresh handle, then listed as unreadable and
never tried again.
"""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..storage import UnreadableRegionError
from .geometry import Region, ceil_div, floor_div
from .layers import Layer
from .readers import TileReader

__all__ = ["SlideTiles", "UnreadableTile"]

logger = logging.getLogger(__name__)

CACHE_BYTES = 64 * 2**20  # decoded tiles that are kept for the next read
ENTRY_BYTES = 256  # of a place in the cache, without the pixels: a sparse slide has many


@dataclass(frozen=True, kw_only=True)
class UnreadableTile:
    """A tile whose pixels cannot be decoded."""

    level: int
    row: int
    column: int
    region: Region
    """What it covers, level-0 px."""
    reason: str


class SlideTiles:
    """Tiles of one reader, by level; may be asked from several threads."""

    def __init__(self, reader: TileReader, *, name: str) -> None:
        self._reader = reader
        self.levels = reader.pyramid.levels
        self._name = name
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int, int], np.ndarray | None] = OrderedDict()
        self._cached_bytes = 0
        self.unreadable: dict[tuple[int, int, int], UnreadableTile] = {}
        """By (level, row, column)."""

    def layer(self, level: int, *, cached: bool = True) -> Layer:
        """One level; cached where tiles will be asked for more than once."""
        shape = self._reader.pyramid.levels[level]
        return Layer(
            width=shape.width,
            height=shape.height,
            tile_width=shape.tile_width,
            tile_height=shape.tile_height,
            background=self._reader.pyramid.background,
            fetch=partial(self._cached if cached else self._tile, level),
        )

    def lost(
        self, level: int, x: float, y: float, width: float, height: float
    ) -> list[UnreadableTile]:
        """Unreadable tiles that a rectangle in level px touches, among those that were tried."""
        if not self.unreadable:
            return []
        shape = self._reader.pyramid.levels[level]
        rows = range(
            max(0, floor_div(y, shape.tile_height)),
            min(shape.rows, ceil_div(y + height, shape.tile_height)),
        )
        columns = range(
            max(0, floor_div(x, shape.tile_width)),
            min(shape.columns, ceil_div(x + width, shape.tile_width)),
        )
        if len(rows) * len(columns) <= len(self.unreadable):
            keys = [(level, row, column) for row in rows for column in columns]
            return [self.unreadable[key] for key in keys if key in self.unreadable]
        with self._lock:
            known = list(self.unreadable.values())
        return [
            tile
            for tile in known
            if tile.level == level and tile.row in rows and tile.column in columns
        ]

    def _cached(self, level: int, row: int, column: int) -> np.ndarray | None:
        key = level, row, column
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        tile = self._tile(level, row, column)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = tile
                self._cached_bytes += _held_bytes(tile)
            while self._cached_bytes > CACHE_BYTES:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= _held_bytes(oldest)
        return tile

    def _tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        if (level, row, column) in self.unreadable:
            return None
        try:
            return self._reader.tile(level, row, column)
        except UnreadableRegionError:
            return self._second_try(level, row, column)

    def _second_try(self, level: int, row: int, column: int) -> np.ndarray | None:
        try:
            self._reader.reopen()
            return self._reader.tile(level, row, column)
        except (UnreadableRegionError, OSError) as error:
            shape = self._reader.pyramid.levels[level]
            across, down = shape.downsample_xy
            region = Region(
                x=floor_div(column * shape.tile_width * across, 1),
                y=floor_div(row * shape.tile_height * down, 1),
                width=round(
                    min(shape.tile_width, shape.width - column * shape.tile_width) * across
                ),
                height=round(min(shape.tile_height, shape.height - row * shape.tile_height) * down),
            )
            tile = UnreadableTile(
                level=level, row=row, column=column, region=region, reason=str(error)
            )
            with self._lock:
                self.unreadable[level, row, column] = tile
            logger.warning(
                "%s: cannot decode level %d, tile row %d, column %d (x %d, y %d, %d × %d px of "
                "level 0): %s",
                self._name,
                level,
                row,
                column,
                region.x,
                region.y,
                region.width,
                region.height,
                error,
            )
            return None


def _held_bytes(tile: np.ndarray | None) -> int:
    return ENTRY_BYTES + (0 if tile is None else tile.nbytes)
