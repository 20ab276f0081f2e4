"""A whole slide as one small image."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from .geometry import ceil_div, floor_div
from .layers import rectangle
from .tiles import SlideTiles

__all__ = ["Overview", "overview_of"]

BLOCK_PX = 4096  # side of what is read at a time: 48 MB, and a border's tiles are decoded twice


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A whole slide, small: RGB uint8 (rows, columns, 3); a pixel averages a square of
    `scale_level0` level-0 px."""

    image: np.ndarray
    scale_level0: float
    unreadable: np.ndarray
    """(rows, columns) bool: pixels, shown as background, whose part of the file could not be
    decoded."""


def overview_of(tiles: SlideTiles, *, coarser: float) -> Overview:
    """The whole slide at `coarser` level-0 px a pixel or a little finer, area-averaged, in blocks
    of bounded memory."""
    levels = tiles.levels
    number = max(
        i for i, level in enumerate(levels) if level.downsample <= max(1.0, coarser) * 1.001
    )
    level = levels[number]
    factor = max(1, floor_div(max(1.0, coarser) * 1.001, level.downsample))
    columns, all_rows = ceil_div(level.width, factor), ceil_div(level.height, factor)
    image, unreadable = (
        np.empty((all_rows, columns, 3), np.uint8),
        np.zeros((all_rows, columns), bool),
    )
    side = max(1, floor_div(BLOCK_PX, factor))
    for row, column in product(range(0, all_rows, side), range(0, columns, side)):
        place = slice(row, row + side), slice(column, column + side)
        rows, across = image[place].shape[:2]
        block = rectangle(
            tiles.layer(number), column * factor, row * factor, across * factor, rows * factor
        )
        image[place] = (
            cv2.resize(block, (across, rows), interpolation=cv2.INTER_AREA) if factor > 1 else block
        )
    for tile in tiles.lost(number, 0, 0, level.width, level.height):
        x, y = tile.column * level.tile_width, tile.row * level.tile_height
        right, bottom = (
            ceil_div(x + level.tile_width, factor),
            ceil_div(y + level.tile_height, factor),
        )
        unreadable[floor_div(y, factor) : bottom, floor_div(x, factor) : right] = True
    return Overview(image=image, scale_level0=factor * level.downsample, unreadable=unreadable)
