"""A whole slide as one small image."""

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import ceil_div, floor_div
from .layers import rectangle
from .readers import PyramidLevel
from .tiles import SlideTiles, UnreadableTile

__all__ = ["Overview", "overview_of"]

STRIP_PX = 2**24  # pixels a strip may hold: 48 MB


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A whole slide, small: RGB uint8 (rows, columns, 3); a pixel averages a square of `scale_level0` level-0 px."""

    image: np.ndarray
    scale_level0: float
    unreadable: np.ndarray
    """(rows, columns) bool: pixels, shown as background, whose part of the file could not be decoded."""


def overview_of(tiles: SlideTiles, *, coarser: float) -> Overview:
    """The whole slide at `coarser` level-0 px a pixel or a little finer, area-averaged, in strips of bounded memory."""
    levels = tiles.levels
    number = max(i for i, level in enumerate(levels) if level.downsample <= max(1.0, coarser) * 1.001)
    level = levels[number]
    factor = max(1, floor_div(max(1.0, coarser) * 1.001, level.downsample))
    columns, all_rows = ceil_div(level.width, factor), ceil_div(level.height, factor)
    strip_rows = max(1, floor_div(STRIP_PX, columns * factor * factor))
    strips, lost = [], []
    for row in range(0, all_rows, strip_rows):
        rows, top = min(strip_rows, all_rows - row), row * factor
        strip = rectangle(tiles.layer(number), 0, top, columns * factor, rows * factor)
        strips.append(cv2.resize(strip, (columns, rows), interpolation=cv2.INTER_AREA) if factor > 1 else strip)
        torn = tiles.lost(number, 0, top, columns * factor, rows * factor)
        damage = _damage(torn, level, top=top, shape=strip.shape[:2])
        lost.append(damage.reshape(rows, factor, columns, factor).any(axis=(1, 3)))
    return Overview(
        image=np.concatenate(strips), scale_level0=factor * level.downsample, unreadable=np.concatenate(lost)
    )


def _damage(lost: list[UnreadableTile], level: PyramidLevel, *, top: int, shape: tuple[int, int]) -> np.ndarray:
    """Level px of a strip of that shape, from row top on, that unreadable tiles cover: bool."""
    damage = np.zeros(shape, bool)
    for tile in lost:
        x, y = tile.column * level.tile_width, tile.row * level.tile_height - top
        damage[max(0, y) : max(0, y + level.tile_height), x : x + level.tile_width] = True
    return damage
