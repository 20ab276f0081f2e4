"""Results of a check-up: of one slide, of one split, and of the cohort."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..cohort import CohortSlide
from ..storage import gigaslide_version
from ..wsi import SlideInfo
from .annotation_checks import AnnotationFacts
from .findings import BY_SEVERITY, Finding, Severity, find_worst
from .pixel_checks import TileSample
from .workload import PredictWorkload, TileWorkload

__all__ = ["CohortCheckup", "SlideCheckup", "SplitFacts", "StageEstimate"]

FORMAT = "gigaslide-checkup/2"
PIXELS = (
    *("width", "height", "mpp", "mpp_source", "vendor", "reader", "reader_reason"),
    *("level_downsamples", "bounds"),
)  # of a slide's metadata, in checkup.json


@dataclass(frozen=True, kw_only=True)
class SlideCheckup:
    """Results of one slide; a field is None if it could not be examined."""

    id: str
    path: str
    label: str
    patient: str
    split: str
    findings: tuple[Finding, ...] = ()
    pixels: SlideInfo | None = None
    tiles: TileSample | None = None
    tissue_mm2: float | None = None
    tissue_seconds: float = 0.0
    """Time to read the overview and detect tissue in it, on one core."""
    annotation_seconds: float = 0.0
    """Time to read the annotation and count its lesions, on one core."""
    annotation: AnnotationFacts | None = None
    tile: TileWorkload | None = None
    """None if the slide is not tiled."""
    predict: PredictWorkload | None = None
    """None if the slide is not predicted."""
    fingerprint: str = ""
    seconds: float = 0.0
    traceback: str = ""
    """Traceback of an error in the check-up itself."""

    @classmethod
    def of_row(cls, row: CohortSlide) -> "SlideCheckup":
        return cls(
            id=row.id, path=str(row.path), label=row.label, patient=row.patient, split=row.split
        )

    @property
    def worst(self) -> Severity | None:
        return find_worst(self.findings)

    @cached_property
    def by_severity(self) -> tuple[Finding, ...]:
        return tuple(sorted(self.findings, key=lambda finding: BY_SEVERITY.index(finding.severity)))


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """Counts of one split."""

    split: str
    """Empty for slides without a split."""
    slides: int
    tumor: int
    normal: int
    patients: int
    """0 if no patient is given."""
    tumor_patches: int
    """Patches that tiling would draw; 0 if the split is not tiled."""
    normal_patches: int


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """Approximate cost of one stage on this machine."""

    stage: str
    slides: int
    items: int
    unit: str
    """Unit of the items."""
    bytes: float
    hours: float
    basis: str
    """Measurements behind the hours."""


@dataclass(frozen=True, kw_only=True)
class CohortCheckup:
    """Results of all slides in the cohort's order, findings between slides, and estimates."""

    cohort: str
    slides: tuple[SlideCheckup, ...]
    findings: tuple[Finding, ...]
    splits: tuple[SplitFacts, ...]
    estimates: tuple[StageEstimate, ...]
    cores: int
    settings: dict[str, Any]

    @property
    def exit_status(self) -> int:
        """0: no error; 1: no slide could be opened; 2: errors on some slides or between them."""
        if all(slide.pixels is None for slide in self.slides):
            return 1
        severities = {find_worst(self.findings), *(slide.worst for slide in self.slides)}
        return 2 if "error" in severities else 0

    @property
    def worst_first(self) -> Sequence[SlideCheckup]:
        order = {severity: rank for rank, severity in enumerate((*BY_SEVERITY[:2], None))}
        return sorted(self.slides, key=lambda slide: order[_severity(slide)])

    def count(self, severity: Severity | None) -> int:
        """Count slides by their worst finding; None counts those with at most notes."""
        return sum(_severity(slide) == severity for slide in self.slides)

    def to_json(self) -> dict[str, Any]:
        content = dataclasses.asdict(self)
        for slide in content["slides"]:
            if slide["pixels"]:
                slide["pixels"] = {name: slide["pixels"][name] for name in PIXELS}
        return {
            "format": FORMAT,
            "exit_status": self.exit_status,
            "counts": {
                "error": self.count("error"),
                "warning": self.count("warning"),
                "good": self.count(None),
            },
            **content,
            "made_with": {"gigaslide": gigaslide_version()},
        }


def _severity(slide: SlideCheckup) -> Severity | None:
    return None if slide.worst == "note" else slide.worst
