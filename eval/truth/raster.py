"""Polygons as masks.

Frames: polygons in level-0 px (x, y); raster px (row, column) are `pixel_level0` level-0 px wide,
origin (0, 0).
"""

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon

from ...wsi import PolygonRaster

__all__ = ["Window", "clusters", "rasterise"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of raster px: rows [row, row + rows), columns [column, column + columns)."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.row, self.row + self.rows), slice(self.column, self.column + self.columns)


def rasterise(parts: np.ndarray, window: Window, *, pixel_level0: float) -> np.ndarray:
    """Mask of polygons that do not overlap: bool (rows, columns) of the window. A px is inside if
    its centre is."""
    corner = window.column * pixel_level0, window.row * pixel_level0
    raster = PolygonRaster(MultiPolygon(list(parts)))
    return raster.window(corner, px_level0=pixel_level0, shape=(window.rows, window.columns))


def clusters(
    bounds: np.ndarray, *, margin_px: int, shape: tuple[int, int]
) -> list[tuple[np.ndarray, Window]]:
    """Polygons that may touch once each has grown by margin_px, as (indices, window) with windows
    that do not touch.

    bounds is (N, 4) x, y, x, y in raster px; shape is the whole raster's (rows, columns), to which
    windows are cut.
    """
    boxes = np.concatenate(
        [np.floor(bounds[:, :2]) - margin_px, np.ceil(bounds[:, 2:]) + margin_px], axis=1
    )
    group = np.arange(len(boxes))
    while True:
        squares = shapely.box(*boxes.T)
        one, other = shapely.STRtree(squares).query(squares, predicate="intersects")
        touching = coo_array((np.ones(len(one)), (one, other)), shape=(len(boxes), len(boxes)))
        count, merged = connected_components(touching, directed=False)
        group = merged[group]
        if count == len(boxes):
            break
        bigger = np.tile([np.inf, np.inf, -np.inf, -np.inf], (count, 1))
        np.minimum.at(bigger[:, :2], merged, boxes[:, :2])
        np.maximum.at(bigger[:, 2:], merged, boxes[:, 2:])
        boxes = bigger
    limit = np.array([shape[1], shape[0], shape[1], shape[0]])
    found = []
    for index, (x0, y0, x1, y1) in enumerate(np.clip(boxes, 0, limit).astype(np.int64).tolist()):
        if x1 > x0 and y1 > y0:
            window = Window(row=y0, column=x0, rows=y1 - y0, columns=x1 - x0)
            found.append((np.flatnonzero(group == index), window))
    return found
