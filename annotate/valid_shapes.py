"""Validity of outlines: checked and repaired in a bounded time."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..storage import AnnotationError, format_count
from ..wsi import Areas, Outline, polygons_in, repair_outlines
from .features import parse_shapes
from .outlines import DrawnOutline

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


def _are_usable(shapes: Sequence[Areas]) -> list[bool]:
    """Tell of each shape whether it has an area and is valid; small ones all at once."""
    if not shapes:
        return []
    array = np.array(shapes, dtype=object)
    parts, owners = shapely.get_parts(array, return_index=True)
    holes = np.zeros(len(shapes), np.int64)
    np.add.at(holes, owners, shapely.get_num_interior_rings(parts))
    is_cheap = holes * shapely.get_num_coordinates(array) < COSTLY
    usable = shapely.area(array) > 0
    usable[is_cheap] &= shapely.is_valid(array[is_cheap])
    for number in np.flatnonzero(usable & ~is_cheap).tolist():
        usable[number] = is_valid(shapes[number])
    return usable.tolist()


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
    every = list(outlines)
    usable = _are_usable([outline.shape for outline in every])
    kept, notes = [], []
    for number, (outline, is_usable) in enumerate(zip(every, usable, strict=True), 1):
        if is_usable:
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
