"""Picture of a heatmap over its slide. Picture px are `scale` level-0 px wide."""

import cv2
import numpy as np

from ..overview import Overview
from .heatmap import CellStatus, Heatmap

__all__ = ["heatmap_colours", "overlay_heatmap", "shrink"]

HATCH_PX = 6
OPACITY = 0.7  # of the heatmap over the slide
PALE_TISSUE = 225.0
LOST = (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET)


def heatmap_colours(probability: np.ndarray) -> np.ndarray:
    """Colours of probabilities over pale tissue, RGB float in [0, 255]; safe for colour-blind
    readers."""
    return (1 - OPACITY) * PALE_TISSUE + _colour(probability)


def _colour(probability: np.ndarray, colours: str = "viridis") -> np.ndarray:
    """Colours of probabilities, to be added to what shines through."""
    import matplotlib  # slow, and most worker processes import this module without drawing

    return OPACITY * 255 * matplotlib.colormaps[colours](probability)[..., :3]


def shrink(overview: Overview, picture_px: int) -> Overview:
    """Shrink an overview until its longer side has at most picture_px."""
    height, width = overview.image.shape[:2]
    factor = min(1.0, picture_px / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = cv2.resize(overview.image, size, interpolation=cv2.INTER_AREA)
    unreadable = (
        cv2.resize(overview.unreadable.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    )
    return Overview(
        image=image, scale_level0=overview.scale_level0 * width / size[0], unreadable=unreadable
    )


def overlay_heatmap(
    overview: Overview, heatmap: Heatmap, *, colours: str = "viridis"
) -> np.ndarray:
    """Draw a heatmap over the slide in pale grey: RGB uint8, the shape of the overview's image.

    Scored cells are coloured, cells that failed or are missing are hatched, the background is bare.
    """
    image, scale = overview.image, overview.scale_level0
    height, width = image.shape[:2]
    rows, columns = heatmap.status.shape
    origin_x, origin_y = heatmap.origin_level0
    row = np.floor(((np.arange(height) + 0.5) * scale - origin_y) / heatmap.stride_level0)
    column = np.floor(((np.arange(width) + 0.5) * scale - origin_x) / heatmap.stride_level0)
    row, column = row.astype(np.int64), column.astype(np.int64)
    across, column = (column >= 0) & (column < columns), np.clip(column, 0, columns - 1)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    pale = 255 - (255 - grey) * 0.8
    result = cv2.merge([np.rint(pale).astype(np.uint8)] * 3)
    scored = np.isin(heatmap.status, (CellStatus.SCORED, CellStatus.FIRST_PASS))
    lost = np.isin(heatmap.status, LOST)
    colour = _colour(np.nan_to_num(heatmap.probability), colours)
    # Row of cells by row of cells: whole pictures of numbers do not fit in a core's cache.
    for number in range(max(0, row[0]), min(rows, row[-1] + 1)):
        band = slice(*np.searchsorted(row, (number, number + 1)))
        mixed = (1 - OPACITY) * pale[band, :, None] + colour[number, column]
        is_scored = (across & scored[number, column])[:, None]
        np.copyto(result[band], np.rint(mixed), casting="unsafe", where=is_scored)
        if lost[number].any():
            stripes = np.add.outer(np.arange(height)[band], np.arange(width)) % HATCH_PX < 2
            hatched = np.where(stripes, 40, 245)[..., None]
            is_lost = (across & lost[number, column])[:, None]
            np.copyto(result[band], hatched, casting="unsafe", where=is_lost)
    return result
