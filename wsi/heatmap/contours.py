"""Contours of a heatmap, and what is known of the region in each.

A contour runs along the edges of cells, not through their centres: it encloses exactly the cells
above the level, so a single cell has an outline too, and areas are those of the cells. Corners lie
at level-0 x = origin + column × stride. Past the slide's edges it is cut off.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, box

from ..annotations import trace_mask
from ..areas import Areas, areas_of, fill_holes, simplify_areas
from .heatmap import Heatmap
from .regions import find_regions

__all__ = ["Contour", "find_contours"]


@dataclass(frozen=True, kw_only=True)
class Contour:
    """Outline of one region of cells above a level."""

    level: float
    shape: Areas
    """Level-0 px; with holes. Several polygons where cells touch at corners only."""
    highest: float
    """Highest probability in the region."""
    mean: float
    area_um2: float
    """Area of the region's cells on the slide."""
    longest_um: float
    """Longest axis of the region, see `HeatmapRegions`."""


def find_contours(
    heatmap: Heatmap,
    *,
    level: float,
    simplify_um: float = 0.0,
    min_area_um2: float = 0.0,
    min_hole_um2: float = 0.0,
) -> Iterator[Contour]:
    """Yield the contours of one level, from top to bottom.

    Simplified ones lie within simplify_um of the edges of their cells, and these within as much of
    them. Regions below min_area_um2 are left out, and holes below min_hole_um2 filled.
    """
    regions = find_regions(heatmap, threshold=level)
    traced = trace_mask(regions.labels > 0)
    labels = _labels_in(traced, regions.labels)
    origin = np.asarray(heatmap.origin_level0)
    placed = shapely.transform(
        np.array(traced, object), lambda xy: np.round(origin + xy * heatmap.stride_level0, 3)
    )
    order = np.argsort(labels, kind="stable")
    parts = np.split(placed[order], np.cumsum(np.bincount(labels, minlength=1)[1:])[:-1])
    for index, polygons in enumerate(parts[: len(regions)]):
        if regions.area_um2[index] < min_area_um2:
            continue
        shape = polygons[0] if len(polygons) == 1 else MultiPolygon(list(polygons))
        shape = _cut(shape, heatmap.slide_size)
        if min_hole_um2:
            shape = fill_holes(shape, min_hole_um2 / heatmap.slide_mpp**2)
        if simplify_um:
            shape = simplify_areas(shape, simplify_um / heatmap.slide_mpp)
        if not shape.is_empty:
            yield Contour(
                level=level,
                shape=shape,
                highest=float(regions.highest[index]),
                mean=float(regions.mean[index]),
                area_um2=float(regions.area_um2[index]),
                longest_um=float(regions.longest_um[index]),
            )


def _labels_in(polygons: list[Polygon], labels: np.ndarray) -> np.ndarray:
    """Label of the region that each polygon belongs to: of the cell below its topmost, leftmost
    corner."""
    if not polygons:
        return np.zeros(0, np.int64)
    rings = shapely.get_exterior_ring(np.array(polygons, object))
    corners, polygon = shapely.get_coordinates(rings, return_index=True)
    order = np.lexsort((corners[:, 0], corners[:, 1], polygon))
    first = order[np.unique(polygon[order], return_index=True)[1]]
    column, row = corners[first].astype(np.int64).T
    return labels[row, column].astype(np.int64)


def _cut(shape: Areas, slide_size: tuple[int, int]) -> Areas:
    """Cut off what lies past the slide's edges."""
    width, height = slide_size
    left, top, right, bottom = shape.bounds
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return shape
    return areas_of(shape.intersection(box(0, 0, width, height)))
