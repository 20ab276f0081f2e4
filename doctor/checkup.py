"""What was found on a slide and in a cohort."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..cohort import CohortSlide
from ..storage import gigaslide_version
from .annotation_checks import AnnotationFacts
from .estimate import StageEstimate
from .findings import BY_SEVERITY, Finding, Severity, worst
from .pixel_checks import PixelFacts, TileSample
from .workload import PredictWork, TileWork

__all__ = ["CohortCheckup", "SideFacts", "SlideCheckup"]

FORMAT = "gigaslide-checkup/1"


@dataclass(frozen=True, kw_only=True)
class SlideCheckup:
    """One slide; what could not be looked at is None."""

    id: str
    path: str
    label: str
    patient: str
    split: str
    findings: tuple[Finding, ...] = ()
    pixels: PixelFacts | None = None
    tiles: TileSample | None = None
    tissue_mm2: float | None = None
    tissue_seconds: float = 0.0
    """Reading the overview and finding tissue in it, on one core."""
    annotation_seconds: float = 0.0
    """Reading the annotation and counting its lesions, on one core."""
    annotation: AnnotationFacts | None = None
    tile: TileWork | None = None
    """None where the slide is not tiled."""
    predict: PredictWork | None = None
    """None where the slide is not predicted."""
    fingerprint: str = ""
    seconds: float = 0.0
    traceback: str = ""
    """Where the check-up itself failed."""

    @classmethod
    def of_row(cls, row: CohortSlide) -> "SlideCheckup":
        return cls(
            id=row.id, path=str(row.path), label=row.label, patient=row.patient, split=row.split
        )

    @property
    def worst(self) -> Severity | None:
        return worst(self.findings)

    @cached_property
    def by_severity(self) -> tuple[Finding, ...]:
        return tuple(sorted(self.findings, key=lambda finding: BY_SEVERITY.index(finding.severity)))


@dataclass(frozen=True, kw_only=True)
class SideFacts:
    """One side of the split, counted."""

    split: str
    """Empty: the slides on no side."""
    slides: int
    tumor: int
    normal: int
    patients: int
    """0 where no patient is given."""
    tumor_patches: int
    """That tiling would draw; 0 where the side is not tiled."""
    normal_patches: int


@dataclass(frozen=True, kw_only=True)
class CohortCheckup:
    """All slides in the cohort's order, what is between them, and what a run would take."""

    cohort: str
    slides: tuple[SlideCheckup, ...]
    findings: tuple[Finding, ...]
    sides: tuple[SideFacts, ...]
    estimates: tuple[StageEstimate, ...]
    cores: int
    settings: dict[str, Any]

    @property
    def exit_status(self) -> int:
        """0: no error; 1: no slide could be opened; 2: some errors, on slides or between them."""
        if all(slide.pixels is None for slide in self.slides):
            return 1
        return (
            2 if "error" in {worst(self.findings), *(slide.worst for slide in self.slides)} else 0
        )

    @property
    def worst_first(self) -> Sequence[SlideCheckup]:
        order = {severity: place for place, severity in enumerate((*BY_SEVERITY[:2], None))}
        return sorted(self.slides, key=lambda slide: order[_bad(slide)])

    def count(self, severity: Severity | None) -> int:
        """Slides whose worst finding is of that severity; None: of those with notes at most."""
        return sum(_bad(slide) == severity for slide in self.slides)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "exit_status": self.exit_status,
            "counts": {
                "error": self.count("error"),
                "warning": self.count("warning"),
                "good": self.count(None),
            },
            **dataclasses.asdict(self),
            "made_with": {"gigaslide": gigaslide_version()},
        }


def _bad(slide: SlideCheckup) -> Severity | None:
    return None if slide.worst == "note" else slide.worst
