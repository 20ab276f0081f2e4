"""Origin of each outline of a new version, by comparison with the version that it was made from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import shapely

from .outlines import GEOMETRY, PROPERTIES, DrawnOutline, OutlineOrigin, is_outline_origin

__all__ = ["EarlierOutline", "read_earlier", "with_origins"]

SAME_PX = 0.02  # corners are rounded to 0.01 px


@dataclass(frozen=True, kw_only=True)
class EarlierOutline:
    """An outline of an earlier version; its corners are parsed only where they are needed."""

    id: str
    origin: OutlineOrigin
    group: str
    geometry: str
    """GeoJSON."""

    def has_shape(self, shape: shapely.Geometry, text: str) -> bool:
        """Tell whether it has this shape, whose GeoJSON is text, wherever its rings begin."""
        if text == self.geometry:
            return True
        mine, other = shapely.normalize([shapely.from_geojson(self.geometry), shape])
        return bool(shapely.equals_exact(mine, other, SAME_PX))


def read_earlier(lines: Iterable[str]) -> dict[str, EarlierOutline]:
    """Read the outlines of a version's lines, one each, by id; other lines are passed over."""
    shapes, rests = [], []
    for line in lines:
        head, geometry, rest = line.partition(GEOMETRY)
        shape, properties, about = rest.partition(PROPERTIES)
        if geometry and properties:
            shapes.append(shape)
            rests.append(head + PROPERTIES + about.rstrip().rstrip(","))
    # One call for all: a call for each line costs more than its few words.
    features = json.loads(f"[{','.join(rests)}]")
    if len(features) != len(shapes):
        raise ValueError("a line holds more than one outline")
    found = {}
    for feature, shape in zip(features, shapes, strict=True):
        own = feature["properties"]
        origin = own.get("metadata", {}).get("origin", "drawn")
        earlier = EarlierOutline(
            id=feature["id"],
            origin=origin if is_outline_origin(origin) else "drawn",
            group=own.get("classification", {}).get("name", ""),
            geometry=shape,
        )
        found[earlier.id] = earlier
    return found


def with_origins(
    outlines: Iterable[DrawnOutline], known: Mapping[str, EarlierOutline], *, accepted: bool
) -> list[DrawnOutline]:
    """Set the origin of every outline; what the outlines state of themselves does not count.

    An outline that the earlier version does not know was drawn, a piece of a proposal corrected. A
    proposal that was changed, in its shape or class, is corrected; one that was not stays proposed,
    until the version is accepted.
    """
    every = list(outlines)
    proposals = [n for n, one in enumerate(every) if _is_proposal(known.get(one.id))]
    texts = shapely.to_geojson([every[n].shape for n in proposals]) if proposals else []
    text_of = dict(zip(proposals, texts, strict=True))
    found = [
        _origin(outline, text_of.get(n, ""), known, accepted=accepted)
        for n, outline in enumerate(every)
    ]
    return [
        outline if outline.origin == origin else replace(outline, origin=origin)
        for outline, origin in zip(every, found, strict=True)
    ]


def _is_proposal(earlier: EarlierOutline | None) -> bool:
    return earlier is not None and earlier.origin not in ("drawn", "corrected")


def _origin(
    outline: DrawnOutline, text: str, known: Mapping[str, EarlierOutline], *, accepted: bool
) -> OutlineOrigin:
    earlier = known.get(outline.id)
    if earlier is None:
        source = known.get(outline.parent, outline if outline.parent else None)
        return "drawn" if source is None or source.origin == "drawn" else "corrected"
    if not _is_proposal(earlier):
        return earlier.origin
    if outline.group != earlier.group or not earlier.has_shape(outline.shape, text):
        return "corrected"
    return "accepted" if accepted else earlier.origin
