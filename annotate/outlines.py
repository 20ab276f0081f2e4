"""Outlines of a slide with their provenance, as GeoJSON features that QuPath reads.

Frame: level-0 px of the slide, x to the right and y down, counted from the slide's corner. In
`properties.metadata`, which QuPath keeps: origin, and parent, the id of the outline that a piece
was cut from.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeGuard, get_args

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..storage import AnnotationError, format_count
from ..wsi import Areas, kind_without_region

__all__ = [
    "COLOURS",
    "GEOMETRY",
    "MOST_CORNERS",
    "MOST_OUTLINES",
    "PROPERTIES",
    "DrawnOutline",
    "OutlineOrigin",
    "feature_lines",
    "is_outline_origin",
    "new_id",
    "parse_shapes",
]

OutlineOrigin = Literal["drawn", "proposed", "corrected", "accepted"]
"""drawn: by a person from scratch. proposed: by a model. corrected: a proposal that a person
changed. accepted: a proposal that a person accepted as it was."""
ORIGINS: tuple[OutlineOrigin, ...] = get_args(OutlineOrigin)
MOST_CORNERS = 2_000_000
"""Corners of all outlines of a slide."""
MOST_OUTLINES = 100_000
LONGEST_TEXT = 500
FARTHEST_PX = 1e8
GEOMETRY, PROPERTIES = ', "geometry": ', ', "properties": '
"""Texts between the parts of a line; in JSON of geometry or in a quoted text they cannot stand."""
DIGITS = 2  # after the decimal point of a coordinate; programs do not place corners better
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "tumor": (200, 0, 0),
    "exclusion": (100, 100, 100),
    "region*": (0, 0, 180),
    "normal": (0, 140, 70),
    "necrosis": (90, 60, 40),
}
"""RGB by class in lower case; QuPath refuses a class without a colour."""
OTHER_COLOUR = (0, 120, 200)


@dataclass(frozen=True, kw_only=True)
class DrawnOutline:
    """One outline of a slide: polygons with holes, level-0 px, and where they come from."""

    id: str
    """UUID, the same in every version and after a round trip through QuPath."""
    shape: Areas
    group: str = "Tumor"
    """In QuPath: class."""
    name: str = ""
    origin: OutlineOrigin = "drawn"
    colour: tuple[int, int, int] | None = None
    """RGB; None: that of the class."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Further texts of QuPath's metadata."""
    measurements: Mapping[str, float] = field(default_factory=dict)

    @property
    def parent(self) -> str:
        """Id of the outline that this one was cut from; empty if of none."""
        return self.metadata.get("parent", "")


def is_outline_origin(text: object) -> TypeGuard[OutlineOrigin]:
    """Tell whether a text is an origin."""
    return text in ORIGINS


def new_id() -> str:
    """Return a random UUID."""
    return str(uuid.uuid4())


def feature_lines(outlines: Sequence[DrawnOutline]) -> Iterator[str]:
    """Yield each outline as one line of GeoJSON, a Feature."""
    shapes = shapely.to_geojson([outline.shape for outline in outlines]) if outlines else []
    for outline, shape in zip(outlines, shapes, strict=True):
        about = json.dumps(_properties(outline))
        head = f'{{"type": "Feature", "id": {json.dumps(outline.id)}'
        yield f"{head}{GEOMETRY}{shape}{PROPERTIES}{about}}}"


def _properties(outline: DrawnOutline) -> dict[str, Any]:
    colour = outline.colour or COLOURS.get(outline.group.casefold(), OTHER_COLOUR)
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": outline.name,
        "classification": {"name": outline.group, "color": list(colour)},
        "metadata": {**outline.metadata, "origin": outline.origin},
    }
    if not outline.group:  # QuPath takes an empty name for a class of its own
        del properties["classification"]
    if outline.measurements:
        properties["measurements"] = dict(outline.measurements)
    return properties


def parse_shapes(plain: Any, where: str) -> tuple[list[DrawnOutline], list[str]]:
    """Read the outlines of a FeatureCollection, or of a list of features.

    Returns the outlines, whose shapes may cross themselves (see `repair_shapes`), and what was left
    out, in words: features without area, and QuPath's objects that outline no region.

    Raises:
        AnnotationError: no such list, a damaged geometry, or beyond `MOST_OUTLINES` or
            `MOST_CORNERS`; the message names the outline.
    """
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
    outlines, corners = [], 0
    for number, feature in enumerate(features, 1):
        outline = _parse_feature(feature, where, number, notes)
        if outline is not None:
            corners += int(shapely.get_num_coordinates(outline.shape))
            outlines.append(outline)
        if corners > MOST_CORNERS:
            raise AnnotationError(
                f"{where}: over {MOST_CORNERS} corners at outline {number}; simplify the outlines"
            )
    return _with_own_ids(outlines), notes


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


def _parse_feature(
    feature: Mapping[str, Any], where: str, number: int, notes: list[str]
) -> DrawnOutline | None:
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
    shape = _parse_shape(feature.get("geometry"), where, called)
    if shape.is_empty:
        notes.append(f"{called} encloses no area and is left out")
        return None
    metadata = properties.get("metadata")
    texts = {
        _text(key): _text(value)
        for key, value in (metadata.items() if isinstance(metadata, dict) else ())
    }
    origin = texts.pop("origin", "")
    return DrawnOutline(
        id=_parse_id(feature.get("id")),
        shape=shape,
        group=group,
        name=name,
        origin=origin if is_outline_origin(origin) else "drawn",
        colour=_parse_colour(stated.get("color")),
        metadata=texts,
        measurements=_parse_measurements(properties.get("measurements"), f"{where}: {called}"),
    )


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


def _parse_shape(geometry: Any, where: str, called: str) -> Areas:
    """Make the polygons of a GeoJSON geometry; empty for one of too few points or of lines."""
    try:
        polygons = [_polygon(part, where, called) for part in _parts(geometry)]
    except (
        ValueError,
        TypeError,
        IndexError,
        OverflowError,
        RecursionError,
        shapely.errors.ShapelyError,
    ) as error:
        raise AnnotationError(
            f"{where}: the geometry of {called} is damaged: {error}; draw it again"
        ) from error
    kept = [polygon for polygon in polygons if not polygon.is_empty]
    return kept[0] if len(kept) == 1 else MultiPolygon(kept)


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


def _polygon(rings: Any, where: str, called: str) -> Polygon:
    arrays = [np.asarray(ring, np.float64) for ring in rings or []]
    for points in arrays:
        if points.size and not (points.ndim == 2 and points.shape[1] >= 2):
            raise ValueError("a ring is no list of (x, y)")
        if not np.abs(points).max(initial=0) <= FARTHEST_PX:  # refuses NaN too
            raise AnnotationError(
                f"{where}: a coordinate of {called} lies on no slide; give level-0 px"
            )
        if len(points) > MOST_CORNERS:
            raise AnnotationError(
                f"{where}: {called} has {len(points)} corners, over {MOST_CORNERS}; simplify it"
            )
    long = [points[:, :2].round(DIGITS) for points in arrays if len(points) >= 3]
    return Polygon(long[0], long[1:]) if long and len(arrays[0]) >= 3 else Polygon()
