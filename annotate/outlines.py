"""Outlines of a slide with their provenance, as GeoJSON features that QuPath reads.

Frame: level-0 px of the slide, x to the right and y down, counted from the slide's corner. In
`properties.metadata`, which QuPath keeps: origin, and parent, the id of the outline that a piece
was cut from.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard, get_args

import shapely

from ..wsi import Areas

__all__ = [
    "COLOURS",
    "FARTHEST_PX",
    "GEOMETRY",
    "PROPERTIES",
    "DrawnOutline",
    "OutlineOrigin",
    "feature_lines",
    "is_outline_origin",
    "new_id",
]

OutlineOrigin = Literal["drawn", "proposed", "corrected", "accepted"]
"""drawn: by a person from scratch. proposed: by a model. corrected: a proposal that a person
changed. accepted: a proposal that a person accepted as it was."""
ORIGINS: tuple[OutlineOrigin, ...] = get_args(OutlineOrigin)
FARTHEST_PX = 1e8
GEOMETRY, PROPERTIES = ', "geometry": ', ', "properties": '
"""Texts between the parts of a line; in JSON of geometry or in a quoted text they cannot stand."""
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
