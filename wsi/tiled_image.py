"""Images cut into tiles: reading rectangles of them, and resampling them to another scale.

Frames: each tiled image has px of its own, (x, y) from its top left; tiles are counted (row,
column). Nothing here opens a file: a tiled image fetches its tiles through a callable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from .geometry import ceil_div, floor_div

__all__ = ["SCATTERED_TILE_PX", "TiledImage", "paste_tiles", "read_rectangle", "resample"]

RESAMPLED_TILE_PX = 512
SCATTERED_TILE_PX = 128  # for windows that have no neighbours
# Side of the source rectangle behind one resampled tile: 12 MB, up to a ratio of 256.
RESAMPLED_SOURCE_PX = 2048


@dataclass(frozen=True, kw_only=True)
class TiledImage:
    """An image of width × height px whose tiles come from `fetch`."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    background: tuple[int, int, int]
    """RGB outside the image and where a tile is missing."""
    fetch: Callable[[int, int], np.ndarray | None]
    """(row, column) → RGB uint8 (rows, columns, 3); None where the tile is missing or cannot be
    decoded."""

    def tiles_under(self, x: int, y: int, width: int, height: int) -> tuple[range, range]:
        """Rows and columns of the tiles that a rectangle touches inside the image."""
        return (
            _tile_span(y, height, self.tile_height, self.height),
            _tile_span(x, width, self.tile_width, self.width),
        )


def _tile_span(start: int, length: int, step: int, limit: int) -> range:
    first, stop = max(0, start), min(start + length, limit)
    return range(first // step, (stop - 1) // step + 1) if first < stop else range(0)


def read_rectangle(source: TiledImage, x: int, y: int, width: int, height: int) -> np.ndarray:
    """A rectangle as (height, width, 3) uint8 RGB; parts outside the image show the background."""
    rows, columns = source.tiles_under(x, y, width, height)
    tiles = {(row, column): source.fetch(row, column) for row in rows for column in columns}
    return paste_tiles(source, tiles, x, y, width, height)


def paste_tiles(
    source: TiledImage,
    tiles: dict[tuple[int, int], np.ndarray | None],
    x: int,
    y: int,
    width: int,
    height: int,
) -> np.ndarray:
    """Assemble a rectangle from tiles fetched before; a missing tile shows the background."""
    pixels = np.empty((height, width, 3), np.uint8)
    rows, columns = source.tiles_under(x, y, width, height)
    inside = x >= 0 and y >= 0 and x + width <= source.width and y + height <= source.height
    if not inside or any(tiles.get((row, column)) is None for row in rows for column in columns):
        # A whole row at a time: px by px, three bytes each, this would cost as much as decoding.
        pixels.reshape(height, width * 3)[:] = np.tile(np.array(source.background, np.uint8), width)
    for row in rows:
        top = row * source.tile_height
        y0, y1 = max(y, top), min(y + height, top + source.tile_height, source.height)
        for column in columns:
            tile = tiles.get((row, column))
            if tile is None:
                continue
            left = column * source.tile_width
            x0, x1 = max(x, left), min(x + width, left + source.tile_width, source.width)
            pixels[y0 - y : y1 - y, x0 - x : x1 - x] = tile[
                y0 - top : y1 - top, x0 - left : x1 - left
            ]
    return pixels


def resample(
    source: TiledImage, ratio_xy: tuple[float, float], *, tile_px: int = RESAMPLED_TILE_PX
) -> TiledImage:
    """The image at another scale; ratio_xy is source px per px of the result, in x and in y.

    Px (i, j) of the result covers source [i × ratio, (i + 1) × ratio) in x, and likewise in y.
    Shrinking takes the exact mean of the covered area, with partial weights for partly covered px.
    Enlarging interpolates linearly between the centres of source px. No px depends on what else is
    read, nor on tile_px, the side of the tiles.
    """
    coarsest = max(ratio_xy)
    side = max(8, min(tile_px, floor_div(RESAMPLED_SOURCE_PX, coarsest)))
    width, height = ceil_div(source.width, ratio_xy[0]), ceil_div(source.height, ratio_xy[1])

    def fetch(row: int, column: int) -> np.ndarray:
        x, across, x_weights = _weights(
            column * side, min(side, width - column * side), ratio_xy[0]
        )
        y, down, y_weights = _weights(row * side, min(side, height - row * side), ratio_xy[1])
        return _apply_weights(read_rectangle(source, x, y, across, down), x_weights, y_weights)

    return TiledImage(
        width=width,
        height=height,
        tile_width=side,
        tile_height=side,
        background=source.background,
        fetch=fetch,
    )


def _weights(start: int, count: int, ratio: float) -> tuple[int, int, csr_matrix]:
    """Weights of source px in count result px from start on, along one axis.

    Returns the first source px, the number of source px, and a float32 matrix (count, number).
    """
    if ratio >= 1:
        edges = (start + np.arange(count + 1)) * ratio
        low, high = edges[:-1], edges[1:]
    else:  # linear between centres is the mean over one source px around the centre
        centres = (start + np.arange(count) + 0.5) * ratio
        low, high = centres - 0.5, centres + 0.5
    first = np.floor(low).astype(np.int64)
    touched = first[:, None] + np.arange(ceil_div(float((high - low).max()), 1) + 1)
    share = np.minimum(high[:, None], touched + 1) - np.maximum(low[:, None], touched)
    weight = np.clip(share, 0, None) / (high - low)[:, None]
    used = weight > 1e-7
    row_ends = np.concatenate([[0], used.sum(axis=1).cumsum()])
    origin = int(touched[used].min())
    columns = touched[used] - origin
    number = int(columns.max()) + 1
    return (
        origin,
        number,
        csr_matrix((weight[used].astype(np.float32), columns, row_ends), shape=(count, number)),
    )


def _apply_weights(pixels: np.ndarray, x_weights: csr_matrix, y_weights: csr_matrix) -> np.ndarray:
    rows, columns = pixels.shape[:2]
    down = y_weights @ pixels.reshape(rows, columns * 3).astype(np.float32)
    turned = cv2.transpose(down.reshape(-1, columns, 3)).reshape(columns, -1)
    across = x_weights @ turned
    return np.rint(cv2.transpose(across.reshape(len(across), -1, 3))).astype(np.uint8)
