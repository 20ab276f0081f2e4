"""How much of a square is tumour, from the polygons: no mask of the slide is ever made.

The rule: a window pixel is tumour if its centre lies inside the annotated tumour (on the line does not count).
"""

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

__all__ = ["tumor_fractions"]

AT_ONCE = 100_000  # squares made polygons at a time: about 100 MB


def tumor_fractions(tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float, side_px: int) -> np.ndarray:
    """Share of tumour pixels in squares: (N,) float32 in [0, 1]; above 0 means at least one pixel.

    tumor is in level-0 px; xy is (N, 2) float level-0 (x, y) top left; each square is side_level0 wide and holds
    side_px × side_px window pixels.
    """
    corners = np.asarray(xy, np.float64).reshape(-1, 2)
    fractions = np.zeros(len(corners), np.float32)
    if tumor.is_empty or not len(corners):
        return fractions
    # A tree over the parts, so that a slide with a thousand small lesions asks only the near ones.
    parts = np.asarray(tumor.geoms)
    shapely.prepare(parts)
    tree = shapely.STRtree(parts)
    start, end = np.reshape(tumor.bounds, (2, 2))
    near = np.flatnonzero(((corners <= end) & (corners + side_level0 >= start)).all(axis=1))
    for first in range(0, len(near), AT_ONCE):
        rows = near[first : first + AT_ONCE]
        fractions[rows] = _fractions(tree, corners[rows], side_level0=side_level0, side_px=side_px)
    return fractions


def _fractions(tree: shapely.STRtree, corners: np.ndarray, *, side_level0: float, side_px: int) -> np.ndarray:
    fractions = np.zeros(len(corners), np.float32)
    x, y = corners.T
    squares = shapely.box(x, y, x + side_level0, y + side_level0)
    square_of, part_of = tree.query(squares, predicate="intersects")
    order = np.argsort(square_of, kind="stable")
    found, first = np.unique(square_of[order], return_index=True)
    for index, parts_of in zip(found, np.split(part_of[order], first[1:]), strict=True):
        near = tree.geometries[parts_of]
        if len(near) == 1 and shapely.contains_properly(near[0], squares[index]):
            fractions[index] = 1.0
        else:
            fractions[index] = _counted(near, corners[index], side_level0 / side_px, side_px)
    return fractions


def _counted(parts: np.ndarray, corner: np.ndarray, pixel_level0: float, side_px: int) -> float:
    centres = (np.arange(side_px) + 0.5) * pixel_level0
    x, y = np.meshgrid(corner[0] + centres, corner[1] + centres)
    end = corner + side_px * pixel_level0
    inside = np.zeros(x.shape, bool)
    for part in parts:
        piece: BaseGeometry = shapely.clip_by_rect(part, *corner, *end)
        if not piece.is_empty:
            shapely.prepare(piece)
            inside |= shapely.contains_xy(piece, x, y)
    return float(inside.mean())
