"""Shapes of requests and answers; the API's schema is made from them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..annotate import AnnotationMode

__all__ = [
    "ClassColour",
    "Detection",
    "DetectionList",
    "Geometry",
    "Health",
    "HeatmapFacts",
    "PictureQuery",
    "ProblemAnswer",
    "Shape",
    "SlideList",
    "SlideRow",
]

SlideState = Literal["none", "proposed", "saved", "accepted"]
"""none: no version. proposed: the newest is by gigaslide propose. saved, accepted: by a person."""


class Shape(BaseModel):
    """Base of all shapes: unknown keys refused, docstrings become descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ProblemAnswer(Shape):
    """Reason why a request was refused."""

    model_config = ConfigDict(frozen=True, extra="allow")
    error: str


class Health(Shape):
    """The server runs."""

    version: str


class PictureQuery(Shape):
    """Version of a picture."""

    v: str = ""
    """Identity of the slide or hash of the heatmap; another one is answered with 410."""


class ClassColour(Shape):
    """A class of outlines."""

    name: str
    colour: tuple[int, int, int]
    """RGB."""


class SlideRow(Shape):
    """A slide in the list."""

    id: str
    file: str
    """Name of its file, without the folder."""
    label: str
    split: str
    patient: str
    width: int | None
    """Level-0 px, as height; null where unknown."""
    height: int | None
    mpp: float | None
    """µm per level-0 px."""
    score: float | None
    """Tumour score, in [0, 1]."""
    state: SlideState
    versions: int
    newest: int
    """Number of the newest version that is not blind; 0: none."""
    annotator: str
    """Of the newest version."""
    mode: AnnotationMode
    blind: bool
    """True: the annotator draws it without sight of the outlines of others, and of the model's."""
    model_hidden: bool
    """True: nothing that the model found is told, because the slide is drawn from scratch and
    nobody has accepted it yet, or because it is drawn blind."""
    has_heatmap: bool
    problem: str
    """Reason why the slide cannot be shown; empty if it can."""


class SlideList(Shape):
    """The slides of the cohort."""

    slides: list[SlideRow]
    complete: bool
    """False while sizes and scores are still read."""
    classes: list[ClassColour]
    read_only: bool
    annotator: str
    threshold: float
    """Operating threshold of the predictions."""
    version: str


class Geometry(Shape):
    """Size, µm/px and tiles of a slide."""

    id: str
    width: int
    """Level-0 px, as height."""
    height: int
    mpp: float | None
    """µm per level-0 px; null where nobody states it."""
    tile_px: int
    resolutions: list[int]
    """Level-0 px per tile px by z, the coarsest first."""
    v: str
    """Identity of the slide, for URLs of tiles."""
    bounds: tuple[int, int, int, int] | None
    """Scanned part: x, y, width, height in level-0 px."""
    background: tuple[int, int, int]
    """RGB."""
    vendor: str
    label: str
    split: str
    mode: AnnotationMode
    blind: bool
    """True: the annotator draws it without sight of the outlines of others, and of the model's."""
    model_hidden: bool
    """True: nothing that the model found is told, because the slide is drawn from scratch and
    nobody has accepted it yet, or because it is drawn blind."""
    has_heatmap: bool
    newest: int
    """Number of the version to go on with: the newest that is not blind, or the own blind one; 0:
    none."""
    changed: list[str]
    """Differences from the slide that the newest version was drawn on; to save, confirm them."""
    unreadable: list[tuple[int, int, int, int]]
    """Parts that cannot be decoded, as far as known: x, y, width, height in level-0 px."""


class HeatmapFacts(Shape):
    """Place and meaning of a heatmap's picture."""

    rows: int
    columns: int
    origin: tuple[float, float]
    """(x, y) of the corner of the first cell, level-0 px."""
    stride: float
    """Side of a cell, level-0 px."""
    extent: tuple[float, float, float, float]
    """Left, top, right, bottom of all cells, level-0 px."""
    score: float
    threshold: float
    model: str
    v: str
    """Hash for the URLs of the pictures."""
    fits: bool
    """False: it is the heatmap of a slide of another size."""
    counts: dict[str, int]
    """Cells by status."""


class Detection(Shape):
    """A detected tumour."""

    x: float
    """Level-0 px, as y."""
    y: float
    probability: float
    area_um2: float | None
    longest_um: float | None


class DetectionList(Shape):
    """Detections of a slide."""

    detections: list[Detection]
