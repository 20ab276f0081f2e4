"""Windows of several scales around the same centres."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .geometry import Scale, floor_div

__all__ = ["move_out", "read_concentric"]

WAITING_BYTES = 128 * 2**20  # windows of coarser scales that wait for those of the finest

ReadWindows = Callable[[np.ndarray, Scale], Iterator[tuple[int, np.ndarray | None]]]
"""Takes corners (N, 2), level-0 (x, y), and a scale; yields index and window, see
`Slide.read_windows`."""


def read_concentric(
    read: ReadWindows, xy: np.ndarray, scales: Sequence[Scale], *, side_px: int
) -> Iterator[tuple[int, tuple[np.ndarray, ...] | None]]:
    """Yield (index into xy, one window for each scale), see `Slide.read_concentric`.

    xy: (N, 2) level-0 (x, y) top left of the windows of the finest scale, which is the first.
    """
    finest, *coarser = scales
    waiting_bytes = len(coarser) * side_px * side_px * 3
    at_once = max(1, floor_div(WAITING_BYTES, waiting_bytes) if coarser else len(xy))
    for first in range(0, len(xy), at_once):
        corners = xy[first : first + at_once]
        waiting = [
            dict(read(move_out(corners, side_px, finest, scale), scale)) for scale in coarser
        ]
        for index, window in read(corners, finest):
            patch = (window, *(found.pop(index) for found in waiting))
            readable = tuple(one for one in patch if one is not None)
            yield first + index, readable if len(readable) == len(patch) else None
        del waiting  # before the next are read


def move_out(xy: np.ndarray, side_px: int, finest: Scale, scale: Scale) -> np.ndarray:
    """Return the corners (N, 2) int64 of windows of another scale with the same centres, level-0
    px."""
    return np.rint(xy - side_px * (scale.level0 - finest.level0) / 2).astype(np.int64)
