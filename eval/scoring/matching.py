"""Matching of detections with lesions: hits and false positives, found and missed lesions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ...wsi import Detections
from ..truth.lesions import AnyLesions

__all__ = ["Match", "PooledMatches", "SlideMatches", "match_detections", "match_labels", "reaches"]


def reaches(probability: Any, threshold: float | np.ndarray) -> np.ndarray:
    """Return whether probabilities of any shape are at least the threshold: bool; NaN is not.

    Both are rounded to float32, as heatmaps are stored: a cell of 0.7 reaches a threshold of 0.7,
    and so does the slide whose score it is.
    """
    return np.asarray(probability, np.float32) >= np.asarray(threshold, np.float32)


class Match(StrEnum):
    """Match of one detection."""

    HIT = "hit"
    FALSE_POSITIVE = "false positive"
    IGNORED = "ignored"
    """In isolated tumour cells: neither hit nor false positive."""


@dataclass(frozen=True, kw_only=True)
class SlideMatches:
    """Matches of N detections and L lesions on one slide."""

    match: np.ndarray
    """(N,) object, a `Match` each. Every detection in a countable lesion is a hit."""
    lesion: np.ndarray
    """(N,) int64, label of the lesion around it, 0 for none."""
    probability: np.ndarray
    """(N,) float64."""
    best: np.ndarray
    """(L,) float64, highest probability of a detection in each lesion; NaN where it is missed."""
    is_itc: np.ndarray
    """(L,) bool."""

    def count(self, match: Match) -> int:
        return int((self.match == match).sum())

    @property
    def countable(self) -> int:
        return int((~self.is_itc).sum())

    @property
    def hits(self) -> int:
        """Countable lesions with a detection inside."""
        return int((~self.is_itc & ~np.isnan(self.best)).sum())

    def hits_from(self, threshold: float) -> int:
        """Count the countable lesions with a detection of at least the threshold inside."""
        return int(reaches(self.best[~self.is_itc], threshold).sum())

    def is_false_from(self, threshold: float) -> np.ndarray:
        """False positives of at least the threshold, (N,) bool."""
        return (self.match == Match.FALSE_POSITIVE) & reaches(self.probability, threshold)


def match_detections(
    detections: Detections, lesions: AnyLesions | None, *, is_outside: np.ndarray | None = None
) -> SlideMatches:
    """Match the detections of one slide with its lesions; None for a slide without tumour.

    Detections that are outside the slide, (N,) bool, are false positives even where a lesion
    touches the border.
    """
    if lesions is None:
        label, is_itc = np.zeros(len(detections), np.int64), np.zeros(0, bool)
    else:
        label = lesions.at(np.stack([detections.x, detections.y], axis=1))
        is_itc = lesions.measures.is_itc
    return match_labels(detections, label, is_itc, is_outside=is_outside)


def match_labels(
    detections: Detections,
    label: np.ndarray,
    is_itc: np.ndarray,
    *,
    is_outside: np.ndarray | None = None,
) -> SlideMatches:
    """Match detections (N,) by the label of the lesion that each lies in, 0 for none; is_itc is
    (L,) bool."""
    if is_outside is not None:
        label = np.where(is_outside, 0, label)
    best = np.full(len(is_itc), np.nan)
    np.fmax.at(best, label[label > 0] - 1, detections.probability[label > 0])
    match = np.full(len(detections), Match.FALSE_POSITIVE, object)
    match[label > 0] = Match.HIT
    match[np.append(False, is_itc)[label]] = Match.IGNORED
    return SlideMatches(
        match=match, lesion=label, probability=detections.probability, best=best, is_itc=is_itc
    )


@dataclass(frozen=True, kw_only=True)
class PooledMatches:
    """Matches of S slides: F false positives and L lesions, each with the index of its slide."""

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
    is_predicted: np.ndarray | None = None
    """(S,) bool, slides with a prediction; only these divide the false positives. None: all."""

    @classmethod
    def pool(
        cls,
        slides: Sequence[SlideMatches],
        *,
        is_normal: Sequence[bool],
        is_predicted: Sequence[bool] | None = None,
    ) -> "PooledMatches":
        false = [s.probability[s.match == Match.FALSE_POSITIVE] for s in slides]
        index = np.arange(len(slides))
        return cls(
            is_normal=np.array(is_normal, bool),
            false_positive=np.concatenate([np.zeros(0), *false]),
            false_positive_slide=np.repeat(index, [len(f) for f in false]),
            best=np.concatenate([np.zeros(0), *(s.best for s in slides)]),
            is_itc=np.concatenate([np.zeros(0, bool), *(s.is_itc for s in slides)]),
            lesion_slide=np.repeat(index, [len(s.best) for s in slides]),
            is_predicted=None if is_predicted is None else np.array(is_predicted, bool),
        )

    @property
    def predicted(self) -> np.ndarray:
        """(S,) bool."""
        if self.is_predicted is None:
            return np.ones(len(self.is_normal), bool)
        return self.is_predicted

    @property
    def countable(self) -> int:
        return int((~self.is_itc).sum())

    @property
    def is_found(self) -> np.ndarray:
        """(L,) bool: countable lesions with a detection inside."""
        return ~self.is_itc & ~np.isnan(self.best)
