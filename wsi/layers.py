"""Rasters cut into tiles, and what can be made of them: rectangles, and the same raster at another
scale.

Frames: each layer has px of its own, (x, y) from its top left; tiles are counted (row, column).
Nothing here opens a file: a layer fetches its tiles by a callable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from .geometry import ceil_div, floor_div

__all__ = ["Layer", "lay_out", "rectangle", "resampled_layer"]

RESAMPLED_TILE_PX = 512
RESAMPLED_SOURCE_PX = (
    2048  # side of what one resampled tile is made of: 12 MB, up to a ratio of 256
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A raster of width × height px whose tiles come from `fetch`."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    background: tuple[int, int, int]
    """RGB outside the raster and where it has no tile."""
    fetch: Callable[[int, int], np.ndarray | None]
    """(row, column) → RGB uint8 (rows, columns, 3), or None where there is no tile or it cannot be
    decoded."""

    def tiles_under(self, x: int, y: int, width: int, height: int) -> tuple[range, range]:
        """Rows and columns of the tiles that a rectangle touches, as far as the raster reaches."""
        return (
            _span(y, height, self.tile_height, self.height),
            _span(x, width, self.tile_width, self.width),
        )


def _span(start: int, length: int, step: int, limit: int) -> range:
    first, stop = max(0, start), min(start + length, limit)
    return range(first // step, (stop - 1) // step + 1) if first < stop else range(0)


def rectangle(layer: Layer, x: int, y: int, width: int, height: int) -> np.ndarray:
    """A rectangle of a layer, (height, width, 3) uint8 RGB; it may reach outside, where it shows
    the background."""
    rows, columns = layer.tiles_under(x, y, width, height)
    tiles = {(row, column): layer.fetch(row, column) for row in rows for column in columns}
    return lay_out(layer, tiles, x, y, width, height)


def lay_out(
    layer: Layer,
    tiles: dict[tuple[int, int], np.ndarray | None],
    x: int,
    y: int,
    width: int,
    height: int,
    *,
    onto: np.ndarray | None = None,
) -> np.ndarray:
    """The same from tiles that were fetched before, onto a contiguous array of that shape or a
    fresh one.

    Where a tile is missing it shows the background.
    """
    image = np.empty((height, width, 3), np.uint8) if onto is None else onto
    rows, columns = layer.tiles_under(x, y, width, height)
    inside = x >= 0 and y >= 0 and x + width <= layer.width and y + height <= layer.height
    if not inside or any(tiles.get((row, column)) is None for row in rows for column in columns):
        # Row by row: px by px, three bytes each, it would cost as much as decoding.
        image.reshape(height, width * 3)[:] = np.tile(np.array(layer.background, np.uint8), width)
    for row in rows:
        top = row * layer.tile_height
        y0, y1 = max(y, top), min(y + height, top + layer.tile_height, layer.height)
        for column in columns:
            tile = tiles.get((row, column))
            if tile is None:
                continue
            left = column * layer.tile_width
            x0, x1 = max(x, left), min(x + width, left + layer.tile_width, layer.width)
            image[y0 - y : y1 - y, x0 - x : x1 - x] = tile[
                y0 - top : y1 - top, x0 - left : x1 - left
            ]
    return image


def resampled_layer(source: Layer, ratio_xy: tuple[float, float]) -> Layer:
    """The layer at another scale: px (i, j) shows source [i × ratio, (i + 1) × ratio) in x, and
    likewise in y.

    ratio_xy is source px per px of the result. Where it shrinks each px is the exact mean of the
    area it covers, px that it covers in part counting in part; where it grows it is linear between
    the source's px centres. Every px belongs to one tile of a fixed grid, so it never depends on
    what else is read.
    """
    coarsest = max(ratio_xy)
    side = max(8, min(RESAMPLED_TILE_PX, floor_div(RESAMPLED_SOURCE_PX, coarsest)))
    width, height = ceil_div(source.width, ratio_xy[0]), ceil_div(source.height, ratio_xy[1])

    def fetch(row: int, column: int) -> np.ndarray:
        x, across, x_weights = _weights(
            column * side, min(side, width - column * side), ratio_xy[0]
        )
        y, down, y_weights = _weights(row * side, min(side, height - row * side), ratio_xy[1])
        return _weighted(rectangle(source, x, y, across, down), x_weights, y_weights)

    return Layer(
        width=width,
        height=height,
        tile_width=side,
        tile_height=side,
        background=source.background,
        fetch=fetch,
    )


def _weights(start: int, count: int, ratio: float) -> tuple[int, int, csr_matrix]:
    """First source px, their number, and (count, number) float32: the share of each in each px from
    start on."""
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


def _weighted(image: np.ndarray, x_weights: csr_matrix, y_weights: csr_matrix) -> np.ndarray:
    rows, columns = image.shape[:2]
    down = y_weights @ image.reshape(rows, columns * 3).astype(np.float32)
    turned = cv2.transpose(down.reshape(-1, columns, 3)).reshape(columns, -1)
    across = x_weights @ turned
    return np.rint(cv2.transpose(across.reshape(len(across), -1, 3))).astype(np.uint8)
