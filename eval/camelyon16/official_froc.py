"""FROC curve of an official program, its readings, and their resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..scoring.matching import PooledMatches
from ..statistics.froc import Froc, describe_undefined
from ..statistics.froc_definitions import OURS
from .programs import Program

__all__ = ["official_curve", "resample_readings"]


def official_curve(matches: PooledMatches, program: Program, *, rates: tuple[float, ...]) -> Froc:
    """Compute the curve and the readings of a program, from matches by its own lesions."""
    undefined = describe_undefined(matches, OURS)
    if undefined:
        return Froc.empty(rates, undefined)
    values = _Values(matches=matches, program=program)
    threshold, false_positives, sensitivity = values.points(np.ones(len(matches.is_normal), int))
    return Froc(
        threshold=threshold,
        false_positives=false_positives,
        sensitivity=sensitivity,
        rates=rates,
        at_rates=tuple(_read(false_positives, sensitivity, program, rates).tolist()),
    )


def resample_readings(
    matches: PooledMatches, program: Program, weights: np.ndarray, *, rates: Sequence[float]
) -> np.ndarray:
    """Readings (B, R) of draws (B, S), each as the program reads the drawn slides; NaN where no
    countable lesion or no slide was drawn."""
    values = _Values(matches=matches, program=program)
    found = np.full((len(weights), len(rates)), np.nan)
    countable = matches.lesion_slide[~matches.is_itc]
    for row, times in enumerate(weights):
        if times[countable].any() and times @ matches.predicted:
            _, false_positives, sensitivity = values.points(times)
            found[row] = _read(false_positives, sensitivity, program, rates)
    return found


@dataclass(frozen=True, kw_only=True)
class _Values:
    """All values that a program compares."""

    matches: PooledMatches
    program: Program

    @cached_property
    def hits(self) -> np.ndarray:
        """(L,) float64, what the program holds of each lesion: 0 for a miss and for isolated
        cells."""
        best = np.where(self.matches.is_found, self.matches.best, 0.0)
        return best.astype(self.program.hits).astype(np.float64)

    @cached_property
    def threshold(self) -> np.ndarray:
        """(T,) ascending, every value that occurs."""
        return np.unique(np.concatenate([self.matches.false_positive, self.hits]))

    @cached_property
    def false_at(self) -> np.ndarray:
        """(F,) index of the threshold that each false positive is."""
        return np.searchsorted(self.threshold, self.matches.false_positive)

    @cached_property
    def hit_at(self) -> np.ndarray:
        """(L,) index of the highest threshold that each lesion reaches, in the type of hits."""
        rounded = self.threshold.astype(self.program.hits).astype(np.float64)
        return np.searchsorted(rounded, self.hits, side="right") - 1

    def points(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Threshold ascending, false positives per slide, and sensitivity, of slides drawn times
        (S,) each."""
        matches, size = self.matches, len(self.threshold)
        false, lesions = times[matches.false_positive_slide], times[matches.lesion_slide]
        found = np.where(matches.is_found, lesions, 0)
        false_above = np.bincount(self.false_at, false, size)[::-1].cumsum()[::-1]
        found_above = np.bincount(self.hit_at, found, size)[::-1].cumsum()[::-1]
        values = [matches.false_positive[false > 0], self.hits[lesions > 0], [np.inf]]
        floor = 0.0 if self.program.drops == "zero" else np.concatenate(values).min()
        kept = self.threshold > floor
        slides, countable = times @ matches.predicted, lesions[~matches.is_itc].sum()
        return (
            np.append(self.threshold[kept], np.inf),
            np.append(false_above[kept] / slides, 0.0),
            np.append(found_above[kept] / countable, 0.0),
        )


def _read(
    false_positives: np.ndarray, sensitivity: np.ndarray, program: Program, rates: Sequence[float]
) -> np.ndarray:
    """Sensitivity at each rate, from points with descending false positives."""
    rising, found = false_positives[::-1], sensitivity[::-1]
    if program.interpolates:
        return np.interp(rates, rising, found)
    return found[np.minimum(np.searchsorted(rising, rates), len(rising) - 1)]
