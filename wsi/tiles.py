"""Tiles of an open slide by level, with a cache and a list of those that cannot be decoded.

A tile that cannot be decoded is tried once more on a fresh handle, then listed as unreadable and
never tried again.
"""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from cachetools import LRUCache

from ..storage import UnreadableRegionError
from .geometry import Region, ceil_div, floor_div
from .readers import TileReader
from .tiled_image import TiledImage

__all__ = ["SlideTiles", "TileCache", "UnreadableTile"]

logger = logging.getLogger(__name__)

CACHE_BYTES = 64 * 2**20
ENTRY_BYTES = 256  # per cache entry beside its pixels: a sparse slide has many entries without any


@dataclass(frozen=True, kw_only=True)
class UnreadableTile:
    """A tile whose pixels cannot be decoded."""

    level: int
    row: int
    column: int
    region: Region
    """The part of the slide that the tile covers, level-0 px."""
    reason: str


TileKey = tuple[str, int, int, int]
"""Slide, level, row, column."""


class TileCache:
    """Decoded tiles of one slide or several, the most recently used ones; safe to use from several
    threads."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._tiles = LRUCache(max_bytes, getsizeof=_count_bytes)

    def get(self, key: TileKey) -> np.ndarray | None:
        """Return a tile.

        Raises:
            KeyError: it is not kept.
        """
        with self._lock:
            return self._tiles[key]

    def keep(self, key: TileKey, tile: np.ndarray | None) -> None:
        """Keep a tile, unless it is larger than the cache."""
        with self._lock, suppress(ValueError):
            self._tiles[key] = tile


class SlideTiles:
    """Tiles of one reader by level; safe to call from several threads."""

    def __init__(self, reader: TileReader, *, name: str, cache: TileCache | None = None) -> None:
        """cache: one that slides share; without it, the slide has one of its own."""
        self._reader = reader
        self.levels = reader.pyramid.levels
        self._name = name
        self._lock = threading.Lock()
        self.shares_cache = cache is not None
        self._cache = cache or TileCache(CACHE_BYTES)
        self.unreadable: dict[tuple[int, int, int], UnreadableTile] = {}
        """By (level, row, column)."""
        self._seconds = 0.0

    @property
    def read_seconds(self) -> float:
        """Time in which bytes of tiles were read, of all threads together; 0 for a reader that does
        not tell it."""
        return getattr(self._reader, "read_seconds", 0.0)

    @property
    def decode_seconds(self) -> float:
        """Time in which tiles were decoded, of all threads together, with that of reading them
        where the reader does not tell it."""
        return self._seconds - self.read_seconds

    def level(self, number: int, *, cached: bool = True) -> TiledImage:
        """One level; cached where tiles will be asked for more than once."""
        shape = self.levels[number]
        return TiledImage(
            width=shape.width,
            height=shape.height,
            tile_width=shape.tile_width,
            tile_height=shape.tile_height,
            background=self._reader.pyramid.background,
            fetch=partial(self._fetch_cached if cached else self._fetch, number),
        )

    def find_unreadable(
        self, level: int, x: float, y: float, width: float, height: float
    ) -> list[UnreadableTile]:
        """Unreadable tiles that a rectangle in level px touches, among the tiles tried so far."""
        if not self.unreadable:
            return []
        shape = self.levels[level]
        rows = range(
            max(0, floor_div(y, shape.tile_height)),
            min(shape.rows, ceil_div(y + height, shape.tile_height)),
        )
        columns = range(
            max(0, floor_div(x, shape.tile_width)),
            min(shape.columns, ceil_div(x + width, shape.tile_width)),
        )
        places = product((level,), rows, columns)
        return [self.unreadable[place] for place in places if place in self.unreadable]

    def tile_jpeg(self, level: int, row: int, column: int) -> bytes | None:
        """Return a tile as the file stores it, a JPEG, unless it is in another codec or its bytes
        cannot be read. It may be damaged."""
        read = getattr(self._reader, "tile_jpeg", None)
        if read is None or (level, row, column) in self.unreadable:
            return None
        try:
            return read(level, row, column)
        except (UnreadableRegionError, OSError):  # whoever decodes the tile tries again, and tells
            return None

    def _fetch_cached(self, level: int, row: int, column: int) -> np.ndarray | None:
        key = self._name, level, row, column
        with suppress(KeyError):
            return self._cache.get(key)
        tile = self._fetch(level, row, column)
        # An unreadable tile is listed with its handle; a fresh handle tries it again.
        if (level, row, column) not in self.unreadable:
            self._cache.keep(key, tile)
        return tile

    def _fetch(self, level: int, row: int, column: int) -> np.ndarray | None:
        if (level, row, column) in self.unreadable:
            return None
        start = time.perf_counter()
        try:
            return self._reader.tile(level, row, column)
        except UnreadableRegionError:
            return self._retry(level, row, column)
        finally:
            with self._lock:
                self._seconds += time.perf_counter() - start

    def _retry(self, level: int, row: int, column: int) -> np.ndarray | None:
        try:
            self._reader.reopen()
            return self._reader.tile(level, row, column)
        except (UnreadableRegionError, OSError) as error:
            shape = self.levels[level]
            across, down = shape.downsample_xy
            x, y = column * shape.tile_width, row * shape.tile_height
            region = Region(
                x=floor_div(x * across, 1),
                y=floor_div(y * down, 1),
                width=round(min(shape.tile_width, shape.width - x) * across),
                height=round(min(shape.tile_height, shape.height - y) * down),
            )
            tile = UnreadableTile(
                level=level, row=row, column=column, region=region, reason=str(error)
            )
            with self._lock:
                is_first = not self.unreadable
                self.unreadable[level, row, column] = tile
            logger.log(
                logging.WARNING if is_first else logging.INFO,
                "%s: cannot decode level %d, tile row %d, column %d (%s): %s%s",
                self._name,
                level,
                row,
                column,
                region,
                error,
                "; further ones of this slide are logged with --verbose" if is_first else "",
                extra={"once": f"{self._name}: cannot decode"},
            )
            return None


def _count_bytes(tile: np.ndarray | None) -> int:
    return ENTRY_BYTES + (0 if tile is None else tile.nbytes)
