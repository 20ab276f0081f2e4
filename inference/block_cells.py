"""Cells of a slide in the order of their blocks, kept in a file beside the partial output."""

import numpy as np

from ..storage import Location, read_part, write_file

__all__ = ["keep_cells", "read_cells"]

CELLS = "cells"
CELL = np.dtype("<i4")


def keep_cells(folder: Location, cells: np.ndarray) -> None:
    """Keep cells (N, 2) (row, column)."""
    write_file(folder, CELLS, cells.astype(CELL).tobytes())


def read_cells(folder: Location, *, first: int, stop: int) -> np.ndarray:
    """Read cells that were kept, from first up to stop: (N, 2) int32 (row, column)."""
    size = 2 * CELL.itemsize
    content = read_part(folder, CELLS, start=first * size, stop=stop * size)
    return np.frombuffer(content, CELL).reshape(-1, 2)
