"""Many square windows of a layer at once: every tile is decoded once for all the windows that touch
it.

Windows go block by block. A block is the rectangle around the windows that start in one square of
BLOCK_PX; its tiles are laid side by side once and the windows are views into it. Tiles that the
next blocks need too are kept until the last of them has passed. Blocks go row by row through
stripes narrow enough that what is kept stays under FRONT_BYTES.
"""

import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .geometry import floor_div
from .layers import Layer, lay_out

__all__ = ["windows_of_layer"]

BLOCK_PX = 1024
FRONT_BYTES = (
    128 * 2**20
)  # tiles kept for the blocks below; a slide under 55 000 px is one stripe at 299 px windows
BLOCKS_AHEAD = 3  # decoded while the caller works on the one before them
SHEETS_KEPT = 3
TILES_AT_ONCE = (
    4  # decoded by one call of a thread: handing over costs 50 µs, a tile of 256 px 200 to 500
)

Tiles = dict[tuple[int, int], np.ndarray | None]


@dataclass(frozen=True, kw_only=True)
class _Block:
    members: np.ndarray
    """Indices of its windows."""
    x: int
    y: int
    width: int
    height: int
    """What its windows cover, layer px."""
    tiles: list[tuple[int, int]]


class _Sheets:
    """Memory for blocks, used again once nobody holds a window of it: fresh pages would cost as
    much as decoding."""

    def __init__(self, side: int) -> None:
        self._bytes = 3 * (BLOCK_PX + side) ** 2  # the largest block's: any sheet serves any block
        self._free: deque[bytearray] = deque(
            maxlen=SHEETS_KEPT
        )  # given back by whichever thread drops a window

    def take(self, height: int, width: int) -> np.ndarray:
        try:
            memory = self._free.pop()
        except IndexError:
            memory = bytearray(self._bytes)
        # Every window is a view of this array and holds it: when it goes, the last window has gone.
        lease = np.frombuffer(memory, np.uint8)
        weakref.finalize(lease, self._free.append, memory).atexit = False
        return lease[: height * width * 3].reshape(height, width, 3)


def windows_of_layer(
    layer: Layer, corners: np.ndarray, *, side: int, threads: int = 1, stripe_px: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Windows with top left corners (N, 2) int64 (x, y) and that side, in layer px: yields (index,
    window).

    A window is (side, side, 3) uint8 RGB, read-only; it shares memory with its neighbours, so copy
    what you keep. Up to threads tiles are decoded at a time; with 1 they are decoded in the
    caller's thread, when they are needed.
    """
    if not len(corners):
        return
    step = stripe_px or floor_div(FRONT_BYTES, 3 * (side + 2 * layer.tile_height))
    step = max(BLOCK_PX, step - step % BLOCK_PX)
    stripe_of = np.floor_divide(
        np.maximum(corners[:, 0], 0), step
    )  # left of the slide there is nothing to keep
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tiles") if threads > 1 else None
    sheets = _Sheets(side)
    try:
        for stripe in np.unique(stripe_of):
            blocks = _blocks(layer, corners, np.flatnonzero(stripe_of == stripe), side=side)
            for block, tiles in _with_tiles(layer, blocks, pool):
                yield from _cut(layer, corners, block, tiles, side=side, sheets=sheets)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _blocks(layer: Layer, corners: np.ndarray, members: np.ndarray, *, side: int) -> list[_Block]:
    square = np.floor_divide(corners[members], BLOCK_PX)
    order = np.lexsort((square[:, 0], square[:, 1]))
    members, square = members[order], square[order]
    first = np.flatnonzero(np.any(np.diff(square, axis=0, prepend=square[:1] - 1), axis=1))
    blocks = []
    for inside in np.split(members, first[1:]):
        xy = corners[inside]
        (x, y), (right, bottom) = xy.min(axis=0).tolist(), (xy.max(axis=0) + side).tolist()
        block = {"members": inside, "x": x, "y": y, "width": right - x, "height": bottom - y}
        blocks.append(_Block(**block, tiles=_tiles_of(layer, xy, side=side)))
    return blocks


def _tiles_of(layer: Layer, xy: np.ndarray, *, side: int) -> list[tuple[int, int]]:
    touched = [layer.tiles_under(x, y, side, side) for x, y in xy.tolist()]
    spans = {(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in touched}
    tiles = {
        (row, column)
        for r0, r1, c0, c1 in spans
        for row in range(r0, r1)
        for column in range(c0, c1)
    }
    return sorted(tiles)


def _with_tiles(
    layer: Layer, blocks: list[_Block], pool: ThreadPoolExecutor | None
) -> Iterator[tuple[_Block, Tiles]]:
    """Each block with all its tiles; a tile is fetched by the first block that needs it and dropped
    after the last."""
    waiting: dict[tuple[int, int], int] = {}
    for block in blocks:
        for tile in block.tiles:
            waiting[tile] = waiting.get(tile, 0) + 1
    tiles: Tiles = {}
    asked: set[tuple[int, int]] = set()
    futures: list[list[Future[Tiles]]] = []
    for number, block in enumerate(blocks):
        while len(futures) < len(blocks) and len(futures) <= number + (BLOCKS_AHEAD if pool else 0):
            new = [tile for tile in blocks[len(futures)].tiles if tile not in asked]
            asked.update(new)
            futures.append(_fetched(layer, new, pool))
        for future in futures[number]:
            tiles.update(future.result())
        futures[number].clear()
        yield block, tiles
        for tile in block.tiles:
            waiting[tile] -= 1
            if not waiting[tile]:
                del waiting[tile], tiles[tile]
                asked.discard(tile)


def _fetched(
    layer: Layer, tiles: list[tuple[int, int]], pool: ThreadPoolExecutor | None
) -> list["Future[Tiles]"]:
    def fetch(part: list[tuple[int, int]]) -> Tiles:
        return {place: layer.fetch(*place) for place in part}

    if pool is not None:
        return [
            pool.submit(fetch, tiles[first : first + TILES_AT_ONCE])
            for first in range(0, len(tiles), TILES_AT_ONCE)
        ]
    done: Future[Tiles] = Future()
    done.set_result(fetch(tiles))
    return [done]


def _cut(
    layer: Layer, corners: np.ndarray, block: _Block, tiles: Tiles, *, side: int, sheets: _Sheets
) -> Iterator[tuple[int, np.ndarray]]:
    places = zip(block.members.tolist(), corners[block.members].tolist(), strict=True)
    if (
        len(block.members) * side * side < block.width * block.height
    ):  # few and far between: laid out one by one
        for member, (x, y) in places:
            window = lay_out(layer, tiles, x, y, side, side)
            window.flags.writeable = False
            yield member, window
        return
    sheet = sheets.take(block.height, block.width)
    lay_out(layer, tiles, block.x, block.y, block.width, block.height, onto=sheet)
    sheet.flags.writeable = False
    for member, (x, y) in places:
        left, top = x - block.x, y - block.y
        yield member, sheet[top : top + side, left : left + side]
