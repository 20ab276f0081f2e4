"""Polygons as areas: their parts, without small holes, with fewer corners. In any unit."""

import shapely
from shapely.geometry import MultiPolygon, Polygon

__all__ = ["Areas", "areas_of", "fill_holes", "simplify_areas"]

Areas = Polygon | MultiPolygon


def simplify_areas(shape: Areas, tolerance: float) -> Areas:
    """Return polygons with fewer corners, whose lines lie within the tolerance of the old ones and
    the other way round; the polygons themselves where that cannot be."""
    corners = shapely.points(shapely.get_coordinates(shape))
    # GEOS may drop the first corner of a ring after its neighbours, and so exceed its tolerance.
    for step in (tolerance, tolerance / 2):
        simple = areas_of(shape.simplify(step))
        if not simple.is_valid or simple.is_empty:
            continue
        lines = simple.boundary
        shapely.prepare(lines)
        if shapely.dwithin(lines, corners, tolerance).all():
            return simple
    return shape


def fill_holes(shape: Areas, min_area: float) -> Areas:
    """Fill holes whose area is below min_area, in the square of the shape's unit.

    What lies in such a hole becomes part of the polygon around it.
    """
    parts = [
        Polygon(part.exterior, [ring for ring in part.interiors if Polygon(ring).area >= min_area])
        for part in (shape.geoms if isinstance(shape, MultiPolygon) else [shape])
    ]
    return areas_of(shapely.union_all(parts))


def areas_of(shape: shapely.Geometry) -> Areas:
    """Polygons of a geometry; a cut along an edge leaves lines and points beside them."""
    found = [one for one in shapely.get_parts(shape) if isinstance(one, Polygon) and one.area]
    return found[0] if len(found) == 1 else MultiPolygon(found)
