"""Repair of outlines that cross themselves, with the change in area logged."""

import logging
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ...storage import AnnotationError
from .shapes import Outline

__all__ = ["polygons_in", "repair"]

logger = logging.getLogger(__name__)

MOST_CROSSINGS = 200_000  # per outline: a scribble of a thousand random points; takes seconds
SAMPLED = 10**6  # pairs of edges that are tested
_NOTABLE = 0.01  # share of the area; smaller repairs are common in hand-drawn outlines


def repair(outlines: list[Outline], path: Path) -> list[Outline]:
    """Make every outline valid; one that falls apart becomes several of its name and group.

    An outline without area gets an empty polygon.
    """
    polygons = np.array([outline.polygon for outline in outlines], object)
    good = shapely.is_valid(polygons) & (shapely.area(polygons) > 0) | shapely.is_empty(polygons)
    return [
        part
        for outline, is_good in zip(outlines, good, strict=True)
        for part in ([outline] if is_good else _make_valid(outline, path))
    ]


def _make_valid(outline: Outline, path: Path) -> list[Outline]:
    crossings = _count_crossings(outline.polygon)
    if crossings > MOST_CROSSINGS:
        raise AnnotationError(
            f"{path}: outline {outline.name!r} crosses itself about {crossings} times; draw it "
            "again"
        )
    before = outline.polygon.area
    # An area enclosed twice is inside, as in ASAP; shapely's other method makes it a hole and is
    # slow.
    parts = polygons_in(
        shapely.make_valid(outline.polygon, method="structure", keep_collapsed=False)
    ).geoms
    area = sum(part.area for part in parts)
    if not area:
        logger.warning("%s: outline %r has no area and is dropped", path, outline.name)
        return [Outline(name=outline.name, group=outline.group, polygon=Polygon())]
    level = logging.WARNING if abs(area - before) > _NOTABLE * max(area, before) else logging.INFO
    logger.log(
        level,
        "%s: outline %r crossed itself: area %.0f → %.0f px²",
        path,
        outline.name,
        before,
        area,
    )
    return [Outline(name=outline.name, group=outline.group, polygon=part) for part in parts]


def _count_crossings(polygon: Polygon) -> int:
    """Estimate how often the polygon's lines cross, from a sample of its edges."""
    points, ring = shapely.get_coordinates(shapely.get_rings(polygon), return_index=True)
    pairs = np.stack([points[:-1], points[1:]], axis=1)[ring[1:] == ring[:-1]]
    edges = np.asarray(shapely.linestrings(pairs), object)
    some = edges[
        np.unique(np.linspace(0, len(edges) - 1, max(16, SAMPLED // len(edges))).astype(np.int64))
    ]
    found = shapely.STRtree(edges).query(some, predicate="crosses")[0]
    return len(found) * len(edges) // (2 * len(some))


def polygons_in(geometry) -> MultiPolygon:
    """Keep the polygons of a geometry of any kind; lines and points enclose no area."""
    parts = shapely.get_parts(geometry) if geometry is not None else []
    flat = [p for part in parts for p in shapely.get_parts(part)]
    return MultiPolygon([p for p in flat if isinstance(p, Polygon) and p.area > 0])
