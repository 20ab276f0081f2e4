"""Order of a slide's cells, and the squares in which they are scored."""

import numpy as np

from ..wsi import floor_div
from .settings import PredictSettings

__all__ = ["block_side", "order_by_square", "order_near"]

FAST_BLOCK_PX = 2048
"""Side of the squares of cells that fast scores together, at strides of up to 128 px; larger
squares could take longer than a block may, where all is tumour."""
FAST_BLOCK = (24, 32)  # least and most cells; the last call of the network in a block is padded
FASTEST_BLOCK = 64  # cells; enough tiles that one is read while another is computed


def order_near(cells: np.ndarray, size: int) -> np.ndarray:
    """Order cells (N, 2) (row, column) by squares of about `size` cells, so that consecutive cells
    lie near each other and few tiles are read for two blocks."""
    side = max(1, floor_div(size**0.5, 1))
    rows, columns = cells.T
    return cells[np.lexsort((columns, rows, columns // side, rows // side))]


def block_side(settings: PredictSettings, stride_px: int) -> int:
    """Return the cells along the side of the squares in which a fast mode scores a slide."""
    if settings.mode == "fastest":
        return FASTEST_BLOCK
    return int(np.clip(FAST_BLOCK_PX // stride_px, *FAST_BLOCK))


def order_by_square(cells: np.ndarray, side: int) -> tuple[np.ndarray, list[int]]:
    """Order cells (N, 2) (row, column) by squares of side × side cells: the cells, and where each
    square with cells begins, followed by N."""
    rows, columns = cells.T
    ordered = cells[np.lexsort((columns, rows, columns // side, rows // side))]
    square = ordered // side
    is_first = np.any(np.diff(square, axis=0, prepend=square[:1] - 1), axis=1)
    return ordered, [*np.flatnonzero(is_first).tolist(), len(cells)]
