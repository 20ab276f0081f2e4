"""Lesions under squares of a slide: which lesion each square meets, which squares lie on a border.

A lesion is one polygon of the annotated tumour. Frames: polygons and squares in level-0 px, squares
by their top left.
"""

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

__all__ = ["NO_LESION", "lesions_under", "near_border"]

NO_LESION = -1


def lesions_under(tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float) -> np.ndarray:
    """Find the smallest lesion that each square meets: (N,) int32, its index among the tumour's
    polygons, or NO_LESION.

    The smallest, so that a micrometastasis beside a large lesion keeps the patches that meet both.
    """
    lesion = np.full(len(xy), NO_LESION, np.int32)
    if tumor.is_empty or not len(xy):
        return lesion
    polygons = np.array(tumor.geoms, object)
    boxes = _squares(xy, side_level0)
    tree = shapely.STRtree(boxes)
    shapely.prepare(polygons)  # an outline may have 100 000 vertices
    for number in np.argsort(-shapely.area(polygons), kind="stable"):
        near = tree.query(polygons[number])
        lesion[near[shapely.intersects(polygons[number], boxes[near])]] = number
    return lesion


def near_border(
    tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float, within_level0: float
) -> np.ndarray:
    """Find squares within that distance of a lesion's outline, inside or outside: (N,) bool."""
    near = np.zeros(len(xy), bool)
    if tumor.is_empty or not len(xy):
        return near
    x0, y0, x1, y1 = tumor.bounds
    corners = np.asarray(xy, np.float64)
    low, high = np.array([x0, y0]) - within_level0 - side_level0, np.array([x1, y1]) + within_level0
    rows = np.flatnonzero(((corners >= low) & (corners <= high)).all(axis=1))
    outline = tumor.boundary
    shapely.prepare(outline)
    near[rows] = shapely.dwithin(outline, _squares(corners[rows], side_level0), within_level0)
    return near


def _squares(xy: np.ndarray, side_level0: float) -> np.ndarray:
    corners = np.asarray(xy, np.float64)
    return np.asarray(shapely.box(*corners.T, *(corners + side_level0).T), object)
