"""What becomes of each detection and each lesion: hit, false positive, ignored; found or missed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ...wsi import Detections
from ..truth.lesions import AnyLesions

__all__ = ["SlideVerdicts", "Verdict", "Verdicts", "judge_detections"]


class Verdict(StrEnum):
    """Of one detection."""

    HIT = "hit"
    FALSE_POSITIVE = "false positive"
    IGNORED = "ignored"
    """In isolated tumour cells: neither right nor wrong."""


@dataclass(frozen=True, kw_only=True)
class SlideVerdicts:
    """Of one slide: N detections and L lesions."""

    verdict: np.ndarray
    """(N,) object, a `Verdict` each. Every detection in a countable lesion is a hit, the lesion is
    found once."""
    lesion: np.ndarray
    """(N,) int64, label of the lesion it lies in, 0 for none."""
    probability: np.ndarray
    """(N,) float64."""
    best: np.ndarray
    """(L,) float64, highest probability of a detection in each lesion; NaN where there is none:
    missed, not 0."""
    is_itc: np.ndarray
    """(L,) bool."""

    def count(self, verdict: Verdict) -> int:
        return int((self.verdict == verdict).sum())

    @property
    def countable(self) -> int:
        return int((~self.is_itc).sum())

    @property
    def hits(self) -> int:
        """Countable lesions found by at least one detection."""
        return int((~self.is_itc & ~np.isnan(self.best)).sum())


def judge_detections(
    detections: Detections, lesions: AnyLesions | None, *, is_outside: np.ndarray | None = None
) -> SlideVerdicts:
    """Detections of one slide against its lesions; None: a slide without tumour, where each one is
    false.

    So is each one that is_outside, (N,) bool: a lesion may end at the border of the slide, and hold
    points on it.
    """
    probability = detections.probability
    if lesions is None:
        lesion, best, is_itc = np.zeros(len(detections), np.int64), np.zeros(0), np.zeros(0, bool)
    else:
        lesion = lesions.at(np.stack([detections.x, detections.y], axis=1))
        if is_outside is not None:
            lesion[is_outside] = 0
        is_itc = lesions.measures.is_itc
        best = np.full(len(is_itc), np.nan)
        np.fmax.at(best, lesion[lesion > 0] - 1, probability[lesion > 0])
    verdict = np.full(len(detections), Verdict.FALSE_POSITIVE, object)
    ignored = np.append(False, is_itc)[lesion]
    verdict[lesion > 0] = Verdict.HIT
    verdict[ignored] = Verdict.IGNORED
    return SlideVerdicts(
        verdict=verdict, lesion=lesion, probability=probability, best=best, is_itc=is_itc
    )


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """Verdicts of S slides in one pool: F false positives and L lesions, each with the index of its
    slide."""

    is_normal: np.ndarray
    """(S,) bool, slides without tumour."""
    false_positive: np.ndarray
    """(F,) float64, probabilities."""
    false_positive_slide: np.ndarray
    """(F,) int64."""
    best: np.ndarray
    """(L,) float64, NaN = missed."""
    is_itc: np.ndarray
    """(L,) bool."""
    lesion_slide: np.ndarray
    """(L,) int64."""
    is_absent: np.ndarray | None = None
    """(S,) bool, slides without a prediction: no false positives are counted there, nor divided by
    them. None: none."""

    @classmethod
    def pooled(
        cls,
        slides: Sequence[SlideVerdicts],
        *,
        is_normal: Sequence[bool],
        is_absent: Sequence[bool] | None = None,
    ) -> "Verdicts":
        false = [s.probability[s.verdict == Verdict.FALSE_POSITIVE] for s in slides]
        index = np.arange(len(slides))
        return cls(
            is_normal=np.array(is_normal, bool),
            false_positive=np.concatenate([np.zeros(0), *false]),
            false_positive_slide=np.repeat(index, [len(f) for f in false]),
            best=np.concatenate([np.zeros(0), *(s.best for s in slides)]),
            is_itc=np.concatenate([np.zeros(0, bool), *(s.is_itc for s in slides)]),
            lesion_slide=np.repeat(index, [len(s.best) for s in slides]),
            is_absent=None if is_absent is None else np.array(is_absent, bool),
        )

    @property
    def is_predicted(self) -> np.ndarray:
        """(S,) bool."""
        return np.ones(len(self.is_normal), bool) if self.is_absent is None else ~self.is_absent

    @property
    def countable(self) -> int:
        return int((~self.is_itc).sum())

    @property
    def is_found(self) -> np.ndarray:
        """(L,) bool: countable lesions with a detection inside."""
        return ~self.is_itc & ~np.isnan(self.best)
