"""Slide-level figures: operating points, precision and recall, calibration."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..scoring.threshold import reaches

__all__ = ["Calibration", "Ranking", "calibration_curve"]

SLACK = 1e-9  # a specificity of 0.9 on 30 slides must still admit the third false alarm


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Slides ranked by their score.

    All methods take weights (B, S), how often each slide was drawn, and return (B,), NaN where the
    figure is not defined.
    """

    threshold: np.ndarray
    """(T,) descending, every score that occurs."""
    scores: np.ndarray
    """(S,)."""
    is_tumor: np.ndarray
    """(S,) bool."""

    @classmethod
    def of(cls, scores: np.ndarray, is_tumor: np.ndarray) -> "Ranking":
        """Rank scores (S,) with truth (S,) bool."""
        return cls(threshold=np.unique(scores)[::-1], scores=scores, is_tumor=is_tumor)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count drawn tumour and normal slides with at least each threshold: two (B, T) int64."""
        order = np.argsort(-self.scores, kind="stable")
        ends = np.searchsorted(-self.scores[order], -self.threshold, side="right") - 1
        tumor = (weights * self.is_tumor)[:, order].cumsum(axis=1)[:, ends]
        normal = (weights * ~self.is_tumor)[:, order].cumsum(axis=1)[:, ends]
        return tumor, normal

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Σ (recall gained) × precision over the thresholds: a step curve without interpolation."""
        tumor, normal = self.counts(weights)
        called = tumor + normal
        precision = np.divide(tumor, called, out=np.zeros(tumor.shape), where=called > 0)
        gained = np.diff(tumor, axis=1, prepend=0)
        return (gained * precision).sum(axis=1) / _or_nan(tumor[:, -1])

    def sensitivity_at(self, specificity: float, weights: np.ndarray) -> np.ndarray:
        """Best sensitivity of a threshold with at least that specificity."""
        tumor, normal = self.counts(weights)
        allowed = normal <= (1 - specificity) * normal[:, -1:] + SLACK
        return np.where(allowed, tumor, 0).max(axis=1) / _or_nan(tumor[:, -1] * (normal[:, -1] > 0))

    def specificity_at(self, sensitivity: float, weights: np.ndarray) -> np.ndarray:
        """Best specificity of a threshold with at least that sensitivity."""
        tumor, normal = self.counts(weights)
        enough = tumor >= sensitivity * tumor[:, -1:] - SLACK
        fewest = np.where(enough, normal, normal[:, -1:]).min(axis=1)
        return 1 - fewest / _or_nan(normal[:, -1] * (tumor[:, -1] > 0))

    def rates_from(self, threshold: float, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sensitivity and specificity of calling every slide with at least that score."""
        called = reaches(self.scores, threshold)
        tumor, normal = weights @ self.is_tumor, weights @ ~self.is_tumor
        return (
            weights @ (called & self.is_tumor) / _or_nan(tumor),
            weights @ (~called & ~self.is_tumor) / _or_nan(normal),
        )

    def brier(self, weights: np.ndarray) -> np.ndarray:
        """Mean squared error of the score."""
        return weights @ (self.scores - self.is_tumor) ** 2 / _or_nan(weights.sum(axis=1))


def _or_nan(count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, count, np.nan)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of scores in bins of equal width over [0, 1]; NaN in an empty bin."""

    edges: np.ndarray
    """(bins + 1,)"""
    count: np.ndarray
    mean_score: np.ndarray
    tumor_share: np.ndarray
    low: np.ndarray
    """Wilson's interval of tumor_share."""
    high: np.ndarray
    brier: float | None
    expected_error: float | None
    """Mean absolute difference of mean score and share, weighted by the bins' counts."""


def calibration_curve(
    scores: np.ndarray, is_tumor: np.ndarray, *, bins: int, confidence: float
) -> Calibration:
    """Compute the calibration of scores (N,) in [0, 1], truth (N,) bool; the last bin holds 1."""
    scores = scores.astype(np.float64)
    edges = np.linspace(0, 1, bins + 1)
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    among = np.where(count > 0, count, np.nan)
    mean = np.bincount(index, scores, bins) / among
    share = np.bincount(index, is_tumor, bins) / among
    z = float(ndtri((1 + confidence) / 2))
    middle = (share + z**2 / (2 * among)) / (1 + z**2 / among)
    reach = z / (1 + z**2 / among) * np.sqrt(share * (1 - share) / among + z**2 / (4 * among**2))
    total = len(scores)
    return Calibration(
        edges=edges,
        count=count,
        mean_score=mean,
        tumor_share=share,
        low=middle - reach,
        high=middle + reach,
        brier=float(np.mean((scores - is_tumor) ** 2)) if total else None,
        expected_error=float(np.nansum(np.abs(mean - share) * count) / total) if total else None,
    )
