"""Shapes of requests and answers around outlines: versions, drafts, edits, regions, events."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ...annotate import Order
from ..schema import Shape

__all__ = [
    "Draft",
    "DraftList",
    "EditRequest",
    "Edited",
    "Event",
    "EventList",
    "NextList",
    "NextQuery",
    "NextRow",
    "RestoreRequest",
    "SaveRequest",
    "Saved",
    "Stroke",
    "VersionList",
    "VersionQuery",
    "VersionRow",
]

GeoJson = dict[str, Any]
Name = Annotated[str, Field(max_length=200)]
MOST_POINTS = 20_000
MOST_EVENTS = 200


class VersionQuery(Shape):
    """Version of outlines to read."""

    version: Annotated[int, Field(ge=0, lt=10**9)] | None = None
    """Default: the newest one that is not blind; of a slide that is drawn blind, the own one."""
    bbox: str = ""
    """Rectangle to which outlines must reach: left,top,right,bottom in level-0 px."""


class SaveRequest(Shape):
    """All outlines of a slide, to be saved as its next version."""

    outlines: GeoJson
    """GeoJSON FeatureCollection."""
    accepted: bool = False
    """True: a person answers for every outline."""
    blind: bool = False
    """True: drawn without sight of the outlines of others; always so where the slide is dealt to
    its annotator like that."""
    tab: Name = ""
    """Tab of the browser, whose draft is removed."""
    slide_changed: bool = False
    """True: the outlines fit the slide as it is now, though it was replaced."""
    annotator: Name = ""
    """Name of the person who drew; used where the command states no annotator."""
    mode: Literal["", "scratch", "corrected"] = ""
    """Default: as dealt to the slide."""


class RestoreRequest(Shape):
    """A version to be written again as the newest one."""

    accepted: bool | None = None
    """Default: as it was."""
    annotator: Name = ""
    """Name of the person who restores; used where the command states no annotator."""


class Saved(Shape):
    """A version that was saved."""

    version: int
    parent: int
    outlines: int
    notes: list[str]
    """Repairs, and what was left out, in words."""


class VersionRow(Shape):
    """A version without its outlines."""

    version: int
    parent: int
    made: str
    """UTC, ISO 8601."""
    annotator: str
    accepted: bool
    blind: bool
    mode: str
    made_by: str
    outlines: int
    restored_from: int | None


class VersionList(Shape):
    """Versions of a slide, the oldest first."""

    newest: int
    """Number of the version to go on with, as `Geometry.newest`."""
    versions: list[VersionRow]


class Draft(Shape):
    """A draft that a tab left."""

    tab: str
    saved: float
    """Seconds since 1970, UTC."""


class DraftList(Shape):
    """Drafts of a slide, the last written first."""

    drafts: list[Draft]


class Stroke(Shape):
    """A stroke of the mouse."""

    kind: Literal["brush", "polygon", "line"]
    points: Annotated[list[tuple[float, float]], Field(max_length=MOST_POINTS)]
    """(x, y), level-0 px."""
    radius: float = 0.0
    """Radius of the brush, level-0 px."""


class EditRequest(Shape):
    """An edit of outlines."""

    operation: Literal["add", "cut", "split", "fill", "merge", "simplify"]
    outline: GeoJson | None = None
    """GeoJSON Feature; add without one makes a new outline."""
    outlines: Annotated[tuple[GeoJson, ...], Field(max_length=1000)] = ()
    """GeoJSON Features to merge."""
    stroke: Stroke | None = None
    tolerance_px: float = Field(default=0.0, ge=0, le=1e6)
    """simplify: greatest distance between the old and the new outline, level-0 px."""
    min_hole_px2: float = Field(default=0.0, ge=0, le=1e15)
    """simplify: area below which holes are filled, level-0 px²."""
    group: Name = "Tumor"
    """Class of a new outline."""


class Edited(Shape):
    """Outlines after an edit."""

    outlines: list[GeoJson]
    """GeoJSON Features; the first keeps the id."""
    notes: list[str]
    """Repairs, in words."""


class NextQuery(Shape):
    """Choice of the regions to look at next."""

    order: Order = "doubt"
    count: Annotated[int, Field(ge=1, le=1000)] = 20


class NextRow(Shape):
    """A square to look at."""

    slide: str
    x: int
    """Left, level-0 px, as y, width and height."""
    y: int
    width: int
    height: int
    order: Order
    value_mm2: float
    reason: str


class NextList(Shape):
    """Regions to look at next, the first one first."""

    regions: list[NextRow]


class Event(Shape):
    """An event of an annotator."""

    slide: Name
    kind: Literal["open", "input", "close"]
    tab: Name = ""
    time: Annotated[float, Field(ge=0, lt=1e11)] | None = None
    """Seconds since 1970, UTC; default: now."""
    mode: Literal["", "scratch", "corrected"] = ""


class EventList(Shape):
    """Events for the journal."""

    events: Annotated[list[Event], Field(max_length=MOST_EVENTS)]
    annotator: Name = ""
    """Name of the annotator; used where the command states none."""
