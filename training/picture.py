"""Picture of a batch, as the network is given it."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from .sampler import Batch

__all__ = ["draw_batch", "save_batch"]

EDGE_PX = 4
NORMAL_EDGE, TUMOR_EDGE = (60, 120, 200), (200, 40, 40)


def draw_batch(batch: Batch) -> np.ndarray:
    """Draw the patches of a batch in rows, with red edges where they are tumour and blue ones where
    not; several scales lie side by side. Returns (rows, columns, 3) uint8."""
    edges = np.array([NORMAL_EDGE, TUMOR_EDGE], np.uint8)
    across = math.ceil(math.sqrt(len(batch.labels)))
    framed = []
    for patches, label in zip(batch.patches, batch.labels, strict=True):
        side_by_side = np.concatenate(patches, axis=1)
        rows, columns, _ = side_by_side.shape
        picture = np.empty((rows + 2 * EDGE_PX, columns + 2 * EDGE_PX, 3), np.uint8)
        picture[:] = edges[label]
        picture[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX] = side_by_side
        framed.append(picture)
    blank = np.full_like(framed[0], 255)
    framed += [blank] * (-len(framed) % across)
    lines = [np.concatenate(framed[i : i + across], 1) for i in range(0, len(framed), across)]
    return np.concatenate(lines)


def save_batch(batch: Batch, path: Path) -> None:
    """Save `draw_batch` as PNG."""
    Image.fromarray(draw_batch(batch)).save(path)
