"""Picture of a heatmap over its slide. Picture px are `scale` level-0 px wide."""

import cv2
import numpy as np

from .heatmap import CellStatus, Heatmap
from .overview import Overview

__all__ = ["heatmap_colours", "overlay_heatmap", "shrink"]

HATCH_PX = 6
OPACITY = 0.7  # of the heatmap over the slide
PALE_TISSUE = 225.0


def heatmap_colours(probability: np.ndarray) -> np.ndarray:
    """Colours of probabilities over pale tissue, RGB float in [0, 255]; safe for colour-blind
    readers."""
    return _over(np.full((*probability.shape, 3), PALE_TISSUE), probability)


def _over(pale: np.ndarray, probability: np.ndarray) -> np.ndarray:
    import matplotlib  # slow, and most worker processes import this module without drawing

    colour = matplotlib.colormaps["viridis"](probability)[..., :3]
    return (1 - OPACITY) * pale + OPACITY * 255 * colour


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


def overlay_heatmap(overview: Overview, heatmap: Heatmap) -> np.ndarray:
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
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    cell = np.ix_(np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1))
    status = np.where(inside, heatmap.status[cell], CellStatus.BACKGROUND)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    pale = np.repeat(255 - (255 - grey) * 0.8, 3, axis=2)
    scored = (status == CellStatus.SCORED)[..., None]
    result = np.where(scored, _over(pale, np.nan_to_num(heatmap.probability)[cell]), pale)
    lost = np.isin(status, (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET))
    stripes = (np.add.outer(np.arange(height), np.arange(width)) % HATCH_PX) < 2
    result[lost] = np.where(stripes[lost, None], 40.0, 245.0)
    return np.ascontiguousarray(np.rint(result).astype(np.uint8))
