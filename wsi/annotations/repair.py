"""Outlines that cross themselves, made valid; what changes is told."""

import logging
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from .outline import Outline

__all__ = ["polygons_in", "repaired"]

logger = logging.getLogger(__name__)

_NOTABLE = 0.01  # share of the area; hand-drawn outlines touch themselves all the time


def repaired(outlines: list[Outline], path: Path) -> list[Outline]:
    """The same outlines, each valid and with an area; one that falls apart becomes several of its name and group."""
    polygons = np.array([outline.polygon for outline in outlines], object)
    good = shapely.is_valid(polygons) & (shapely.area(polygons) > 0)
    return [
        part
        for outline, is_good in zip(outlines, good, strict=True)
        for part in ([outline] if is_good else _made_valid(outline, path))
    ]


def _made_valid(outline: Outline, path: Path) -> list[Outline]:
    before = outline.polygon.area
    parts = polygons_in(shapely.make_valid(outline.polygon)).geoms
    area = sum(part.area for part in parts)
    if not area:
        logger.warning("%s: outline %r has no area and is left out", path, outline.name)
        return []
    level = logging.WARNING if abs(area - before) > _NOTABLE * max(area, before) else logging.INFO
    logger.log(level, "%s: outline %r crossed itself: area %.0f → %.0f px²", path, outline.name, before, area)
    return [Outline(name=outline.name, group=outline.group, polygon=part) for part in parts]


def polygons_in(geometry) -> MultiPolygon:
    """The polygons in a geometry of any kind; lines and points are nothing drawn around."""
    parts = shapely.get_parts(geometry) if geometry is not None else []
    flat = [p for part in parts for p in shapely.get_parts(part)]
    return MultiPolygon([p for p in flat if isinstance(p, Polygon) and p.area > 0])
