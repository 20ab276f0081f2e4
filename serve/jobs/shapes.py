"""Shapes of the requests and answers of models, uploads and jobs."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ..schema import Shape
from .job import State
from .uploads import SlideFormat

__all__ = [
    "JobAnswer",
    "JobId",
    "JobList",
    "JobRequest",
    "ModelAnswer",
    "ModelList",
    "ModelRow",
    "ResultName",
    "UploadAnswer",
    "UploadQuery",
]

ResultName = Literal[
    "heatmap.zip", "heatmap.png", "detections.csv", "detections.geojson", "outlines.geojson"
]
Name = Annotated[str, Field(min_length=1, max_length=300)]
Place = Annotated[int, Field(ge=0, le=10**8)]
Length = Annotated[int, Field(ge=1, le=10**8)]


class ModelRow(Shape):
    """A model that jobs may name."""

    id: str
    hash: str
    """Of weights and temperatures."""
    task: str
    """Kind of places that it scores: patches, or every px of a region."""
    architecture: str
    mpp: list[float]
    """µm/px of its windows, the finest first."""
    patch_px: int
    threshold: float | None
    """Operating threshold on slide scores; null if none was chosen."""


class ModelList(Shape):
    """The models of this server."""

    models: list[ModelRow]


class ModelAnswer(ModelRow):
    """A model, its card and the settings that a job may give."""

    card: dict[str, Any]
    settings: dict[str, Any]
    """JSON schema of the settings."""


class UploadQuery(Shape):
    """Kind of an upload."""

    format: SlideFormat = "tif"
    """Format of the slide; one that is a single file."""


class UploadAnswer(Shape):
    """An upload."""

    upload: str
    """Id: a hash of the content."""
    bytes: int


class JobRequest(Shape):
    """A slide to predict with a model."""

    model: Name
    """Id of a model."""
    slide: Name | None = None
    """Id of a slide of the cohort; or upload."""
    upload: Name | None = None
    """Id of an upload."""
    region: tuple[Place, Place, Length, Length] | None = None
    """Left, top, width, height in level-0 px: only cells whose centre lies in it are scored.
    Default: the whole slide."""
    outputs: list[ResultName] = Field(default_factory=lambda: list(get_args(ResultName)))
    """Results whose addresses the answer lists. All are made: they come from one heatmap."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the prediction, see the model."""


class JobId(Shape):
    """A job that was taken, or is there."""

    id: str
    """Hash of model, slide, region and settings."""
    state: State
    results: dict[ResultName, str]
    """Addresses of the results, relative to the server's; they are there once the job is done."""


class JobAnswer(Shape):
    """A job and how far it is."""

    id: str
    state: State
    reason: str
    """Reason for which it failed; of a finished one, the parts without a result. Empty if all is
    well."""
    model: str
    slide: str | None
    upload: str | None
    region: tuple[int, int, int, int] | None
    settings: dict[str, Any]
    before: int
    """Jobs that wait before this one."""
    fraction: float
    """Share of the windows that is scored, in [0, 1]."""
    windows: int
    """Windows to score; 0 while unknown."""
    windows_per_s: float | None
    eta_s: float | None
    """Seconds that a running job still needs; null while unknown."""
    made: float
    """Seconds since 1970, as ended."""
    ended: float | None
    counts: dict[str, int]
    """Cells by what became of them, and detections."""
    results: dict[ResultName, str]
    """Addresses of the results, relative to the server's; empty until the job is done."""


class JobList(Shape):
    """Jobs, the newest first."""

    jobs: list[JobAnswer]
