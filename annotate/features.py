"""Features of GeoJSON, as a browser or QuPath sends them, parsed to outlines.

Geometry of all features is made at once: shapely's calls cost more than ten thousand small rings.
"""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..storage import AnnotationError, format_count
from ..wsi import Areas, kind_without_region
from .outlines import FARTHEST_PX, DrawnOutline, is_outline_origin, new_id

__all__ = ["MOST_CORNERS", "MOST_OUTLINES", "parse_shapes"]

MOST_CORNERS = 2_000_000
"""Corners of all outlines of a slide."""
MOST_OUTLINES = 100_000
LONGEST_TEXT = 500
DIGITS = 2  # after the decimal point of a coordinate; programs do not place corners better
FEWEST_CORNERS = 3

Rings = list[np.ndarray]
"""Rings of a polygon, the outer one first, each (N, 2 or more) level-0 px."""


def parse_shapes(plain: Any, where: str) -> tuple[list[DrawnOutline], list[str]]:
    """Read the outlines of a FeatureCollection, or of a list of features.

    Returns the outlines, whose shapes may cross themselves (see `repair_shapes`), and what was left
    out, in words: features without area, and QuPath's objects that outline no region.

    Raises:
        AnnotationError: no such list, a damaged geometry, or beyond `MOST_OUTLINES` or
            `MOST_CORNERS`; the message names the outline.
    """
    features, notes = _select_features(plain, where)
    facts, names, areas, corners = [], [], [], 0
    for number, feature in enumerate(features, 1):
        own, called = _parse_properties(feature, where, number)
        polygons = _parse_geometry(feature.get("geometry"), where, called)
        if not polygons:
            notes.append(f"{called} encloses no area and is left out")
            continue
        corners += sum(len(ring) for rings in polygons for ring in rings)
        if corners > MOST_CORNERS:
            raise AnnotationError(
                f"{where}: over {MOST_CORNERS} corners at {called}; simplify the outlines"
            )
        facts.append(own)
        names.append(called)
        areas.append(polygons)
    _refuse_far_corners(areas, names, where)
    shapes = _make_shapes(areas)
    outlines = [DrawnOutline(shape=one, **own) for one, own in zip(shapes, facts, strict=True)]
    return _with_own_ids(outlines), notes


def _select_features(plain: Any, where: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the features that may outline a region, and which kinds were left out, in words."""
    features = plain.get("features") if isinstance(plain, dict) else plain
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise AnnotationError(
            f"{where}: expected a GeoJSON FeatureCollection; send or export the outlines again"
        )
    left_out = Counter(map(kind_without_region, features))
    if left_out.pop("", 0) < len(features):
        features = [one for one in features if not kind_without_region(one)]
    if len(features) > MOST_OUTLINES:
        raise AnnotationError(
            f"{where}: {len(features)} outlines, and a slide has at most {MOST_OUTLINES}; merge or "
            "remove some"
        )
    notes = [
        f"{format_count(count, kind)} left out, because only annotations outline a region; to use "
        "them, change them to annotations in QuPath"
        for kind, count in left_out.items()
    ]
    return features, notes


def _with_own_ids(outlines: Sequence[DrawnOutline]) -> list[DrawnOutline]:
    """Give a new id to outlines whose id another one has: a copy in QuPath keeps it."""
    seen: set[str] = set()
    kept = []
    for outline in outlines:
        if outline.id in seen:
            metadata = {**outline.metadata, "parent": outline.id}
            outline = replace(outline, id=new_id(), metadata=metadata)
        seen.add(outline.id)
        kept.append(outline)
    return kept


def _parse_properties(
    feature: Mapping[str, Any], where: str, number: int
) -> tuple[dict[str, Any], str]:
    """Return all of an outline but its shape, and what messages call it."""
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise AnnotationError(f"{where}: outline {number} has properties that are no JSON object")
    stated = properties.get("classification") or {}
    if not isinstance(stated, dict):
        stated = {"name": stated}
    names = stated.get("names", stated.get("name", ""))
    group = _text(": ".join(map(str, names)) if isinstance(names, list) else names)
    name = _text(properties.get("name"))
    called = f"outline {number}" + (f" ({name})" if name else "")
    metadata = properties.get("metadata")
    texts = {
        _text(key): _text(value)
        for key, value in (metadata.items() if isinstance(metadata, dict) else ())
    }
    origin = texts.pop("origin", "")
    own = {
        "id": _parse_id(feature.get("id")),
        "group": group,
        "name": name,
        "origin": origin if is_outline_origin(origin) else "drawn",
        "colour": _parse_colour(stated.get("color")),
        "metadata": texts,
        "measurements": _parse_measurements(properties.get("measurements"), f"{where}: {called}"),
    }
    return own, called


def _parse_measurements(plain: Any, called: str) -> dict[str, float]:
    known = plain.items() if isinstance(plain, dict) else ()
    try:
        numbers = {_text(key): float(one) for key, one in known if isinstance(one, int | float)}
    except OverflowError as error:
        raise AnnotationError(
            f"{called} has a measurement that is no number; leave it out"
        ) from error
    return {key: number for key, number in numbers.items() if np.isfinite(number)}


def _text(value: Any) -> str:
    try:
        return "" if value is None else str(value)[:LONGEST_TEXT]
    except ValueError:  # an integer of thousands of digits
        return ""


def _parse_id(value: Any) -> str:
    try:
        return str(uuid.UUID(value))
    except (ValueError, TypeError, AttributeError):
        return new_id()


def _parse_colour(value: Any) -> tuple[int, int, int] | None:
    if not (isinstance(value, list) and len(value) == 3):
        return None
    if not all(isinstance(part, int) and 0 <= part <= 255 for part in value):
        return None
    return value[0], value[1], value[2]


def _parse_geometry(geometry: Any, where: str, called: str) -> list[Rings]:
    """Return the polygons of a GeoJSON geometry; none for one of too few points or of lines."""
    try:
        found = [_parse_rings(part) for part in _parts(geometry)]
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise AnnotationError(
            f"{where}: the geometry of {called} is damaged: {error}; draw it again"
        ) from error
    return [rings for rings in found if rings]


def _parts(geometry: Any) -> Iterator[Any]:
    """Yield the rings of each polygon of a GeoJSON geometry."""
    if not isinstance(geometry, dict):
        return
    kind = geometry.get("type")
    if kind == "Polygon":
        yield geometry.get("coordinates")
    elif kind == "MultiPolygon":
        yield from geometry.get("coordinates") or []
    elif kind == "GeometryCollection":
        for part in geometry.get("geometries") or []:
            yield from _parts(part)


def _parse_rings(plain: Any) -> Rings:
    """Return the rings of a polygon that have three corners; none if the outer one has fewer."""
    rings = [np.asarray(ring, np.float64) for ring in plain or []]
    if any(ring.size and (ring.ndim != 2 or ring.shape[1] < 2) for ring in rings):
        raise ValueError("a ring is no list of (x, y)")
    if not (rings and _encloses_area(rings[0])):
        return []
    return [ring[:, :2] for ring in rings if _encloses_area(ring)]


def _encloses_area(ring: np.ndarray) -> bool:
    """Tell whether a ring has at least three corners; the last point may repeat the first."""
    if len(ring) != FEWEST_CORNERS:
        return len(ring) > FEWEST_CORNERS
    first, last = ring[[0, -1]].round(DIGITS)
    return bool((first != last).any())


def _refuse_far_corners(areas: Sequence[Sequence[Rings]], names: Sequence[str], where: str) -> None:
    rings = [ring for area in areas for rings in area for ring in rings]
    if not rings or np.abs(np.concatenate(rings)).max() <= FARTHEST_PX:  # NaN is refused too
        return
    for area, called in zip(areas, names, strict=True):
        if not all(np.abs(ring).max() <= FARTHEST_PX for rings in area for ring in rings):
            raise AnnotationError(
                f"{where}: a coordinate of {called} lies on no slide; give level-0 px"
            )


def _make_shapes(areas: Sequence[Sequence[Rings]]) -> list[Areas]:
    """Make a shape of the polygons of each outline."""
    polygons = [rings for area in areas for rings in area]
    rings = [ring for polygon in polygons for ring in polygon]
    if not rings:
        return []
    corners = np.concatenate(rings).round(DIGITS)
    made = np.asarray(shapely.linearrings(corners, indices=_owners(rings)))
    parts = iter(np.asarray(shapely.polygons(made, indices=_owners(polygons))).tolist())
    return [
        next(parts) if len(area) == 1 else MultiPolygon([next(parts) for _ in area])
        for area in areas
    ]


def _owners(groups: Sequence[Any]) -> np.ndarray:
    """Return for each item of all groups the number of its group."""
    return np.repeat(np.arange(len(groups)), [len(group) for group in groups])
