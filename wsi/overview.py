"""A whole slide as one small image."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from .geometry import ceil_div, floor_div
from .tiled_image import read_rectangle
from .tiles import SlideTiles

__all__ = ["Overview", "read_overview"]

BLOCK_PX = 4096  # side of one read: 48 MB; tiles on the border of two reads are decoded twice


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A whole slide as a small RGB uint8 (rows, columns, 3) image.

    A pixel averages a square of `scale_level0` level-0 px.
    """

    image: np.ndarray
    scale_level0: float
    unreadable: np.ndarray
    """(rows, columns) bool: pixels of tiles that cannot be decoded; they show the background."""


def read_overview(tiles: SlideTiles, *, downsample: float) -> Overview:
    """Average a whole slide to downsample level-0 px per pixel, or a little finer.

    Blocks of the slide are read one by one, so memory is bounded.
    """
    downsample = max(1.0, downsample) * 1.001
    number = max(
        number for number, level in enumerate(tiles.levels) if level.downsample <= downsample
    )
    level, source = tiles.levels[number], tiles.level(number)
    factor = max(1, floor_div(downsample, level.downsample))
    columns, rows = ceil_div(level.width, factor), ceil_div(level.height, factor)
    image = np.empty((rows, columns, 3), np.uint8)
    unreadable = np.zeros((rows, columns), bool)
    side = max(1, floor_div(BLOCK_PX, factor))
    for row, column in product(range(0, rows, side), range(0, columns, side)):
        part = image[row : row + side, column : column + side]
        down, across = part.shape[:2]
        block = read_rectangle(
            source, column * factor, row * factor, across * factor, down * factor
        )
        part[:] = (
            cv2.resize(block, (across, down), interpolation=cv2.INTER_AREA) if factor > 1 else block
        )
    for tile in tiles.find_unreadable(number, 0, 0, level.width, level.height):
        x, y = tile.column * level.tile_width, tile.row * level.tile_height
        right, bottom = x + level.tile_width, y + level.tile_height
        unreadable[
            floor_div(y, factor) : ceil_div(bottom, factor),
            floor_div(x, factor) : ceil_div(right, factor),
        ] = True
    return Overview(image=image, scale_level0=factor * level.downsample, unreadable=unreadable)
