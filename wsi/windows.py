"""Reading many equal windows of a tiled image at once, decoding every tile once for all of them.

Windows are read block by block. A block is the rectangle around the windows that start in one
square of BLOCK_PX; its tiles are pasted into one array and its windows are views of that array.
Tiles that later blocks need are kept until the last of those blocks. Blocks follow row by row
within vertical stripes that are narrow enough to keep the waiting tiles under KEPT_BYTES.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .geometry import floor_div
from .tiled_image import TiledImage, paste_tiles

__all__ = ["read_windows"]

BLOCK_PX = 1024
# Tiles kept for later blocks. A slide under 55 000 px is one stripe for windows of 299 px.
KEPT_BYTES = 128 * 2**20
BLOCKS_AHEAD = 3  # decoded while the caller works on the block before them
# Tiles per call of a thread: a call costs 50 µs, a tile of 256 px 200 to 500 µs.
TILES_PER_CALL = 4

Tiles = dict[tuple[int, int], np.ndarray | None]


@dataclass(frozen=True, kw_only=True)
class _WindowBlock:
    """Windows read together, and the rectangle that they cover, in px of the tiled image."""

    members: np.ndarray
    """Indices of the windows."""
    x: int
    y: int
    width: int
    height: int
    tiles: list[tuple[int, int]]


def read_windows(
    source: TiledImage,
    corners: np.ndarray,
    *,
    side: int | tuple[int, int],
    threads: int = 1,
    stripe_px: int | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, window) for every window, in an order that suits the tiles.

    corners is (N, 2) int64 top left (x, y) and side the side of a window, or its (width, height),
    in px of source. A window is (height, width, 3) uint8 RGB, read-only. It shares memory with its
    neighbours: copy it to keep it. Up to threads tiles are decoded at a time; with 1, tiles are
    decoded in the caller's thread.
    """
    if not len(corners):
        return
    size = (side, side) if isinstance(side, int) else side
    step = stripe_px or floor_div(KEPT_BYTES, 3 * (size[1] + 2 * source.tile_height))
    step = max(BLOCK_PX, step - step % BLOCK_PX)
    # Nothing lies left of the image, so those windows join the first stripe.
    stripe_of = np.floor_divide(np.maximum(corners[:, 0], 0), step)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tiles") if threads > 1 else None
    try:
        for stripe in np.unique(stripe_of):
            blocks = _blocks(source, corners, np.flatnonzero(stripe_of == stripe), size=size)
            for block, tiles in _fetch_tiles(source, blocks, pool):
                yield from _cut_windows(source, corners, block, tiles, size=size)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _blocks(
    source: TiledImage, corners: np.ndarray, members: np.ndarray, *, size: tuple[int, int]
) -> list[_WindowBlock]:
    square = np.floor_divide(corners[members], BLOCK_PX)
    order = np.lexsort((square[:, 0], square[:, 1]))
    members, square = members[order], square[order]
    first = np.flatnonzero(np.any(np.diff(square, axis=0, prepend=square[:1] - 1), axis=1))
    blocks = []
    for inside in np.split(members, first[1:]):
        xy = corners[inside]
        (x, y), (right, bottom) = xy.min(axis=0).tolist(), (xy.max(axis=0) + size).tolist()
        blocks.append(
            _WindowBlock(
                members=inside,
                x=x,
                y=y,
                width=right - x,
                height=bottom - y,
                tiles=_tiles_under(source, xy, size=size),
            )
        )
    return blocks


def _tiles_under(
    source: TiledImage, xy: np.ndarray, *, size: tuple[int, int]
) -> list[tuple[int, int]]:
    touched = [source.tiles_under(x, y, *size) for x, y in xy.tolist()]
    spans = {(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in touched}
    tiles = {
        (row, column)
        for r0, r1, c0, c1 in spans
        for row in range(r0, r1)
        for column in range(c0, c1)
    }
    return sorted(tiles)


def _fetch_tiles(
    source: TiledImage, blocks: list[_WindowBlock], pool: ThreadPoolExecutor | None
) -> Iterator[tuple[_WindowBlock, Tiles]]:
    """Yield each block with its tiles.

    The first block that needs a tile fetches it; it is dropped after the last one.
    """
    blocks_waiting = Counter(tile for block in blocks for tile in block.tiles)
    tiles: Tiles = {}
    requested: set[tuple[int, int]] = set()
    futures: list[list[Future[Tiles]]] = []
    for number, block in enumerate(blocks):
        while len(futures) < len(blocks) and len(futures) <= number + (BLOCKS_AHEAD if pool else 0):
            new = [tile for tile in blocks[len(futures)].tiles if tile not in requested]
            requested.update(new)
            futures.append(_submit(source, new, pool))
        for future in futures[number]:
            tiles.update(future.result())
        futures[number].clear()
        yield block, tiles
        for tile in block.tiles:
            blocks_waiting[tile] -= 1
            if not blocks_waiting[tile]:
                del blocks_waiting[tile], tiles[tile]
                requested.discard(tile)


def _submit(
    source: TiledImage, tiles: list[tuple[int, int]], pool: ThreadPoolExecutor | None
) -> list["Future[Tiles]"]:
    def fetch(part: list[tuple[int, int]]) -> Tiles:
        return {tile: source.fetch(*tile) for tile in part}

    if pool is not None:
        return [
            pool.submit(fetch, tiles[first : first + TILES_PER_CALL])
            for first in range(0, len(tiles), TILES_PER_CALL)
        ]
    done: Future[Tiles] = Future()
    done.set_result(fetch(tiles))
    return [done]


def _cut_windows(
    source: TiledImage,
    corners: np.ndarray,
    block: _WindowBlock,
    tiles: Tiles,
    *,
    size: tuple[int, int],
) -> Iterator[tuple[int, np.ndarray]]:
    width, height = size
    places = zip(block.members.tolist(), corners[block.members].tolist(), strict=True)
    # Few and far between: pasting each window alone costs less than pasting the whole block.
    if len(block.members) * width * height < block.width * block.height:
        for member, (x, y) in places:
            window = paste_tiles(source, tiles, x, y, width, height)
            window.flags.writeable = False
            yield member, window
        return
    pixels = paste_tiles(source, tiles, block.x, block.y, block.width, block.height)
    pixels.flags.writeable = False
    for member, (x, y) in places:
        left, top = x - block.x, y - block.y
        yield member, pixels[top : top + height, left : left + width]
