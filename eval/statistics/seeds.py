"""Figures of several trainings that differ in their seed only: the mean, and the training noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.matching import PooledMatches
from .bootstrap import Statistic
from .froc import OURS, describe_undefined, resample_sensitivity
from .scores import Pairs, describe_one_class

__all__ = ["SeedMatches", "SeedScores"]


@dataclass(frozen=True, kw_only=True)
class SeedScores:
    """Scores of the same N items (slides or windows) by several trainings."""

    scores: np.ndarray
    """(seeds, N) float, pooled over the test sets; NaN where an item has none."""
    is_tumor: np.ndarray
    """(N,) bool."""
    slide: np.ndarray
    """(N,) int64, index of the slide that holds the item."""
    slides: int
    """S, slides in the resamples."""
    noun: str
    """"slides" or "windows"."""

    def statistic(self, name: str) -> Statistic:
        """AUC as the mean over seeds, as a function of how often each slide was drawn.

        Items that a training did not score are left out of it.
        """
        undefined = describe_one_class(self.is_tumor, self.noun)
        if not undefined and not len(self.scores):
            undefined = "no training"
        pairs = [] if undefined else [self._pairs(scores) for scores in self.scores]

        def compute(weights: np.ndarray) -> np.ndarray:
            found = [one.auc(weights) for one in pairs]
            return np.mean(found, axis=0)[:, None]

        return Statistic(names=(name,), compute=compute, undefined=undefined)

    def noise(self) -> float | None:
        """Standard deviation of the AUC over seeds: training noise, not the uncertainty of the
        mean. None with fewer than two seeds, or one class."""
        if len(self.scores) < 2 or describe_one_class(self.is_tumor, self.noun):
            return None
        every = np.ones((1, self.slides), np.int64)
        values = [float(self._pairs(scores).auc(every)[0]) for scores in self.scores]
        return float(np.std(values, ddof=1))

    def _pairs(self, scores: np.ndarray) -> Pairs:
        known = ~np.isnan(scores)
        return Pairs.count(
            scores[known], self.is_tumor[known], self.slide[known], slides=self.slides
        )


@dataclass(frozen=True, kw_only=True)
class SeedMatches:
    """Detections of the same slides by several trainings, matched with their lesions."""

    matches: Sequence[PooledMatches]
    """A training each, of the same K slides."""
    slide: np.ndarray
    """(K,) int64, index of each of these slides among all in the resamples."""
    slides: int
    """S, slides in the resamples."""
    rates: tuple[float, ...]
    """False positives per slide at which sensitivity is read; their mean is the FROC score."""

    def statistic(self, name: str) -> Statistic:
        """FROC score as the mean over seeds, as a function of how often each slide was drawn."""
        reasons = [describe_undefined(one, OURS) for one in self.matches]

        def compute(weights: np.ndarray) -> np.ndarray:
            return np.mean([self._score(one, weights) for one in self.matches], axis=0)[:, None]

        undefined = next(filter(None, reasons), "" if self.matches else "no training")
        return Statistic(names=(name,), compute=compute, undefined=undefined)

    def noise(self) -> float | None:
        """Standard deviation of the FROC score over seeds; None with fewer than two, or without
        lesions."""
        if len(self.matches) < 2 or any(describe_undefined(one, OURS) for one in self.matches):
            return None
        every = np.ones((1, self.slides), np.int64)
        return float(np.std([self._score(one, every)[0] for one in self.matches], ddof=1))

    def _score(self, matches: PooledMatches, weights: np.ndarray) -> np.ndarray:
        rates = np.array(self.rates)
        return resample_sensitivity(matches, OURS, weights[:, self.slide], rates=rates).mean(axis=1)
