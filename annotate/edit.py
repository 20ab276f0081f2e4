"""Edits of outlines: union, difference, split, fill, simplify, brush, repair.

Geometry in, valid outlines out. Nothing is kept between two edits. Frame: level-0 px.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import shapely
from shapely.geometry import LineString, MultiPolygon, Point, Polygon

from ..storage import AnnotationError
from ..wsi import Areas, areas_of, fill_holes, polygons_in, simplify_areas
from .outlines import FARTHEST_PX, DrawnOutline, new_id
from .valid_shapes import repair_shapes

__all__ = [
    "MOST_STROKE_POINTS",
    "EditOperation",
    "brush_area",
    "edit_outline",
    "polygon_area",
    "simplify_outline",
    "union_outlines",
]

EditOperation = Literal["add", "cut", "split", "fill"]
MOST_STROKE_POINTS = 20_000
ROUNDNESS = 8  # corners of a quarter of a brush's round end
STROKE_DETAIL = 0.05  # distance of a simplified stroke, in radii
PIECE = 4  # edges of a stroke that are drawn at once
SLIVER_PX2 = 1.0  # pieces below it come from rounding


def brush_area(points: np.ndarray, radius: float) -> Areas:
    """Return the area that a round brush of this radius passes over.

    points: (N, 2) level-0 (x, y); one point gives a disc.

    Raises:
        AnnotationError: no point, too many, a coordinate on no slide, or no radius.
    """
    path = _check_points(points)
    if not 0 < radius < FARTHEST_PX:
        raise AnnotationError(f"the brush has a radius of {radius:g} px; give a positive one")
    if len(path) > 1 and np.ptp(path, axis=0).any():
        corners = shapely.get_coordinates(LineString(path).simplify(STROKE_DETAIL * radius))
        # A buffer of a whole line that crosses itself takes minutes; that of short pieces does not.
        starts = range(0, len(corners) - 1, PIECE)
        lines = [LineString(corners[start : start + PIECE + 1]) for start in starts]
    else:
        lines = [Point(path[0])]
    return areas_of(shapely.union_all(shapely.buffer(lines, radius, quad_segs=ROUNDNESS)))


def polygon_area(points: np.ndarray) -> Areas:
    """Return the area inside a closed stroke; one that crosses itself is repaired. Empty where it
    encloses nothing.

    points: (N, 2) level-0 (x, y).

    Raises:
        AnnotationError: no point, too many, a coordinate on no slide, or too many crossings.
    """
    ring = _check_points(points)
    if len(ring) < 3:
        return Polygon()
    drawn = DrawnOutline(id=new_id(), shape=Polygon(ring), name="the stroke")
    repaired, _ = repair_shapes([drawn], "edit")
    return repaired[0].shape if repaired else Polygon()


def edit_outline(
    outline: DrawnOutline, stroke: Areas | np.ndarray, operation: EditOperation
) -> list[DrawnOutline]:
    """Change an outline by a stroke; return what becomes of it, the largest piece first.

    add: union. cut: difference. fill: remove the holes that the stroke meets. split: cut along the
    stroke, an open line of (N, 2) level-0 (x, y), without loss of area. The largest piece keeps the
    outline's id; the others get new ones, and name it as their parent. Without any area left the
    list is empty; where the stroke changes nothing, the outline is returned as it was.

    Raises:
        AnnotationError: a stroke that is not of the operation's kind.
    """
    if operation == "split":
        if not isinstance(stroke, np.ndarray):
            raise AnnotationError("an outline is split along a line; give the points of one")
        parts = _split(outline.shape, _check_points(stroke))
        is_split = len(parts.geoms) > shapely.get_num_geometries(outline.shape)
        return _pieces(outline, parts) if is_split else [outline]
    if isinstance(stroke, np.ndarray):
        raise AnnotationError(f"{operation} takes an area; give that of a brush or of a polygon")
    if operation == "add":
        edited = outline.shape.union(stroke)
    elif operation == "cut":
        edited = outline.shape.difference(stroke)
    else:
        edited = _fill(outline.shape, stroke)
    return [outline] if shapely.equals(edited, outline.shape) else _pieces(outline, edited)


def union_outlines(outlines: Sequence[DrawnOutline]) -> list[DrawnOutline]:
    """Merge outlines into one; it keeps the id and class of the first.

    Raises:
        AnnotationError: no outline.
    """
    if not outlines:
        raise AnnotationError("no outline to merge; select some")
    return _pieces(outlines[0], shapely.union_all([one.shape for one in outlines]))


def simplify_outline(
    outline: DrawnOutline, *, tolerance: float, min_hole: float = 0.0
) -> DrawnOutline:
    """Return an outline with fewer corners, no farther than the tolerance from the old ones (px),
    and without holes below min_hole (px²)."""
    shape = outline.shape
    if min_hole > 0:
        shape = fill_holes(shape, min_hole)
    return replace(outline, shape=simplify_areas(shape, tolerance) if tolerance > 0 else shape)


def _check_points(points: np.ndarray) -> np.ndarray:
    path = np.asarray(points, np.float64)
    if path.ndim != 2 or path.shape[1:] != (2,) or not len(path):
        raise AnnotationError("a stroke has no points (x, y); draw it again")
    if len(path) > MOST_STROKE_POINTS:
        raise AnnotationError(
            f"a stroke has {len(path)} points, over {MOST_STROKE_POINTS}; draw it in parts"
        )
    if not np.isfinite(path).all() or np.abs(path).max() > FARTHEST_PX:
        raise AnnotationError("a coordinate of the stroke lies on no slide; give level-0 px")
    return path


def _split(shape: Areas, path: np.ndarray) -> MultiPolygon:
    if len(path) < 2 or not np.ptp(path, axis=0).any():
        return polygons_in(shape)
    cut = shapely.union_all([shape.boundary, LineString(path)])  # with a node at every crossing
    faces = shapely.get_parts(shapely.polygonize([cut]))
    shapely.prepare(shape)
    return MultiPolygon(list(faces[shapely.contains_xy(shape, *_inner_points(faces))]))


def _inner_points(faces: np.ndarray) -> np.ndarray:
    """(2, N) x and y of a point inside each polygon."""
    return shapely.get_coordinates(shapely.point_on_surface(faces)).T


def _fill(shape: Areas, stroke: Areas) -> Areas:
    parts = [
        Polygon(
            part.exterior, [ring for ring in part.interiors if not stroke.intersects(Polygon(ring))]
        )
        for part in shapely.get_parts(shape).tolist()
    ]
    return areas_of(shapely.union_all(parts))


def _pieces(outline: DrawnOutline, geometry: shapely.Geometry) -> list[DrawnOutline]:
    """Make an outline of every polygon of a geometry."""
    parts = sorted(polygons_in(geometry).geoms, key=lambda part: -part.area)
    parts = [part for part in parts if part.area >= SLIVER_PX2]
    parent = outline.parent or outline.id
    return [
        replace(outline, shape=part)
        if not number
        else replace(
            outline, id=new_id(), shape=part, metadata={**outline.metadata, "parent": parent}
        )
        for number, part in enumerate(parts)
    ]
