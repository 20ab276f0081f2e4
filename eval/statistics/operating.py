"""What a reader meets at the operating point: every lesion missed and every false positive, with
where it lies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..scoring.matching import Verdict
from ..scoring.slide_result import Judgement
from ..scoring.threshold import reaches

__all__ = ["FalsePositive", "MissedLesion", "OperatingPoint", "operating_point"]


@dataclass(frozen=True, kw_only=True)
class MissedLesion:
    """A countable lesion without a detection from the threshold on."""

    slide: str
    lesion: int
    """Its number on the slide, as in lesions.csv."""
    x: float
    """Level-0 px, its centre of mass."""
    y: float
    longest_axis_um: float
    """Growth included."""
    area_mm2: float
    """As annotated."""
    size: str
    """"micro" or "macro"."""
    best_probability: float | None
    """Of a detection below the threshold; None where nothing was detected in it."""


@dataclass(frozen=True, kw_only=True)
class FalsePositive:
    """A detection from the threshold on that lies in no lesion."""

    slide: str
    x: float
    """Level-0 px."""
    y: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """All slides whose detections can be judged, with detections from one threshold on."""

    threshold: float
    slides: int
    """With a prediction: those by which false positives are divided."""
    lesions: int
    """Countable ones, those of absent slides included."""
    missed: tuple[MissedLesion, ...]
    """The nearest misses first, then what nothing was detected in, large ones first."""
    false_positives: tuple[FalsePositive, ...]
    """Most probable first."""

    @property
    def sensitivity(self) -> float | None:
        return 1 - len(self.missed) / self.lesions if self.lesions else None

    @property
    def false_positives_per_slide(self) -> float | None:
        return len(self.false_positives) / self.slides if self.slides else None

    @property
    def metrics(self) -> dict[str, Any]:
        """As plain JSON."""
        names = ("threshold", "slides", "lesions", "sensitivity", "false_positives_per_slide")
        return {
            **{name: getattr(self, name) for name in names},
            "missed": [asdict(one) for one in self.missed],
            "false_positives": [asdict(one) for one in self.false_positives],
        }

    def missed_table(self) -> pd.DataFrame:
        """A row a lesion."""
        return pd.DataFrame(
            [asdict(one) for one in self.missed], columns=list(MissedLesion.__annotations__)
        )

    def false_positives_table(self) -> pd.DataFrame:
        """A row a detection."""
        return pd.DataFrame(
            [asdict(one) for one in self.false_positives],
            columns=list(FalsePositive.__annotations__),
        )


def operating_point(judgements: Sequence[Judgement], *, threshold: float) -> OperatingPoint:
    """Of the slides in the figures whose detections can be judged."""
    slides = [j for j in judgements if j.in_figures and j.verdicts is not None]
    missed = [lesion for j in slides for lesion in _missed(j, threshold)]
    false = [detection for j in slides for detection in _false(j, threshold)]
    return OperatingPoint(
        threshold=threshold,
        slides=sum(not j.is_absent for j in slides),
        lesions=sum(j.verdicts.countable for j in slides if j.verdicts is not None),
        missed=tuple(sorted(missed, key=_nearest_first)),
        false_positives=tuple(sorted(false, key=lambda one: -one.probability)),
    )


def _nearest_first(lesion: MissedLesion) -> tuple[float, float]:
    return (
        1.0 if lesion.best_probability is None else -lesion.best_probability
    ), -lesion.longest_axis_um


def _missed(judgement: Judgement, threshold: float) -> list[MissedLesion]:
    measures, verdicts = judgement.lesions, judgement.verdicts
    if measures is None or verdicts is None:
        return []
    is_missed = ~measures.is_itc & ~reaches(verdicts.best, threshold)
    return [
        MissedLesion(
            slide=judgement.slide.id,
            lesion=index + 1,
            x=float(measures.centre_level0[index, 0]),
            y=float(measures.centre_level0[index, 1]),
            longest_axis_um=float(measures.major_axis_um[index]),
            area_mm2=float(measures.drawn_mm2[index]),
            size=str(measures.size[index]),
            best_probability=None
            if np.isnan(verdicts.best[index])
            else float(verdicts.best[index]),
        )
        for index in np.flatnonzero(is_missed).tolist()
    ]


def _false(judgement: Judgement, threshold: float) -> list[FalsePositive]:
    detections, verdicts = judgement.detections, judgement.verdicts
    if detections is None or verdicts is None:
        return []
    chosen = (verdicts.verdict == Verdict.FALSE_POSITIVE) & reaches(
        detections.probability, threshold
    )
    columns = (getattr(detections, name)[chosen].tolist() for name in ("x", "y", "probability"))
    return [
        FalsePositive(slide=judgement.slide.id, x=x, y=y, probability=p)
        for x, y, p in zip(*columns, strict=True)
    ]
