"""Validity of outlines: checked and repaired in a bounded time."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..storage import AnnotationError, format_count
from ..wsi import Areas, Outline, polygons_in, repair_outlines
from .outlines import DrawnOutline, parse_shapes

__all__ = ["is_valid", "parse_features", "repair_shapes"]

COSTLY = 10**7  # holes times corners
TOO_COSTLY = 10**9


def parse_features(plain: Any, where: str) -> tuple[list[DrawnOutline], list[str]]:
    """Read the outlines of a FeatureCollection, or of a list of features, and make them valid.

    Returns the outlines, and what was changed or left out, in words.

    Raises:
        AnnotationError: no such list, a damaged geometry, too many outlines or corners, or an
            outline that crosses itself too often; the message names the outline.
    """
    outlines, left_out = parse_shapes(plain, where)
    repaired, changes = repair_shapes(outlines, where)
    return repaired, left_out + changes


def is_valid(shape: Areas) -> bool:
    """Tell whether polygons are valid, in a bounded time.

    The usual check takes the number of holes times that of corners, which are minutes for an
    outline around ten thousand holes. There the holes must lie apart from each other and from the
    outer ring, which may refuse a valid polygon, whose holes touch.
    """
    parts = [shape] if isinstance(shape, Polygon) else list(shape.geoms)
    if all(_cost(part) < COSTLY for part in parts):
        return bool(shape.is_valid)
    apart = len(parts) == 1 or bool(shapely.is_valid(MultiPolygon([_shell(p) for p in parts])))
    return apart and all(_is_valid_part(part) for part in parts)


def _cost(polygon: Polygon) -> int:
    return len(polygon.interiors) * int(shapely.get_num_coordinates(polygon))


def _shell(polygon: Polygon) -> Polygon:
    return Polygon(polygon.exterior)


def _is_valid_part(polygon: Polygon) -> bool:
    shell, holes = _shell(polygon), shapely.polygons(list(polygon.interiors))
    if not (shell.is_valid and shapely.is_valid(holes).all()):
        return False
    shapely.prepare(shell)
    if not shapely.contains_properly(shell, holes).all():
        return False
    return len(shapely.STRtree(holes).query(holes, predicate="intersects")[0]) == len(holes)


def repair_shapes(
    outlines: Iterable[DrawnOutline], where: str
) -> tuple[list[DrawnOutline], list[str]]:
    """Make every outline valid, and leave out those without area; return them and the changes.

    Raises:
        AnnotationError: an outline crosses itself too often to be repaired in a bounded time.
    """
    kept, notes = [], []
    for number, outline in enumerate(outlines, 1):
        if outline.shape.area > 0 and is_valid(outline.shape):
            kept.append(outline)
            continue
        called = outline.name or f"outline {number}"
        if any(_cost(part) > TOO_COSTLY for part in shapely.get_parts(outline.shape)):
            corners = int(shapely.get_num_coordinates(outline.shape))
            raise AnnotationError(
                f"{where}: {called} crosses itself and has {corners} corners and too many holes to "
                "be repaired; simplify it, or fill its holes"
            )
        parts = [
            Outline(name=called, group=outline.group, polygon=part)
            for part in shapely.get_parts(outline.shape)
        ]
        mended = [one.polygon for one in repair_outlines(parts, Path(where))]
        whole = polygons_in(shapely.union_all([part for part in mended if not part.is_empty]))
        if whole.is_empty:
            notes.append(f"{called} encloses no area and is left out")
            continue
        before, after = outline.shape.area, whole.area
        pieces = f", {format_count(len(whole.geoms), 'piece')}" if len(whole.geoms) > 1 else ""
        notes.append(f"{called} crossed itself: area {before:.0f} → {after:.0f} px²{pieces}")
        shape = whole.geoms[0] if len(whole.geoms) == 1 else whole
        kept.append(replace(outline, shape=shape))
    return kept, notes
