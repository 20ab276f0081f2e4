"""Picture of a batch, as the network is given it."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from ...patching import CLASS_COLOURS
from ...wsi import CLASSES
from ..sampler import Batch

__all__ = ["draw_batch", "save_batch"]

EDGE_PX = 4


def draw_batch(batch: Batch) -> np.ndarray:
    """Draw the patches of a batch in rows, framed by class in `CLASS_COLOURS`; several scales lie
    side by side. Returns (rows, columns, 3) uint8."""
    edges = np.array([CLASS_COLOURS[name] for name in CLASSES], np.uint8)
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
