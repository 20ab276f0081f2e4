"""Figures of the scores of slides and patches: ROC curves and their area, operating points,
precision and recall, calibration."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..scoring.matching import reaches
from .bootstrap import SLACK

__all__ = [
    "Calibration",
    "Pairs",
    "Ranking",
    "Roc",
    "calibration_curve",
    "delong_interval",
    "describe_one_class",
    "roc_curve",
    "youden_threshold",
]

SHARE_SLACK = 1e-9  # a specificity of 0.9 on 30 slides must still admit the third false alarm


@dataclass(frozen=True, kw_only=True)
class Roc:
    """ROC curve. With one class only, the arrays are empty and auc is None."""

    threshold: np.ndarray
    """(T,) descending, from inf."""
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    auc: float | None
    undefined: str = ""
    """Reason why there is no curve."""


def roc_curve(scores: np.ndarray, is_tumor: np.ndarray, *, noun: str) -> Roc:
    """Compute the ROC curve of scores (N,) with truth (N,) bool; noun (plural) names the items."""
    undefined = describe_one_class(is_tumor, noun)
    if undefined:
        empty = np.zeros(0)
        return Roc(
            threshold=empty,
            false_positive_rate=empty,
            true_positive_rate=empty,
            auc=None,
            undefined=undefined,
        )
    import sklearn.metrics  # takes a second, which `gigaslide run --help` must not wait for

    false, true, threshold = sklearn.metrics.roc_curve(is_tumor, scores)
    return Roc(
        threshold=threshold,
        false_positive_rate=false,
        true_positive_rate=true,
        auc=float(sklearn.metrics.roc_auc_score(is_tumor, scores)),
    )


def youden_threshold(scores: np.ndarray, is_tumor: np.ndarray) -> float | None:
    """Return the threshold with the highest sensitivity + specificity − 1 (Youden 1950), for scores
    (N,) with truth (N,) bool of both classes; None if no threshold is better than chance.

    It lies half-way between the scores that it separates. At a tie it is the lowest one, which
    misses the fewest tumour items.
    """
    import sklearn.metrics

    false, true, threshold = sklearn.metrics.roc_curve(
        is_tumor, scores.astype(np.float32), drop_intermediate=False
    )
    gain = true - false
    if gain.max() < SHARE_SLACK:
        return None
    best = np.flatnonzero(gain > gain.max() - SHARE_SLACK)[-1]
    high, low = np.float32(threshold[best]), np.float32(threshold[best + 1])
    middle = (float(high) + float(low)) / 2
    rounded = (round(middle, digits) for digits in range(3, 10))  # the first that separates them
    return next((one for one in rounded if low < np.float32(one) <= high), float(high))


def describe_one_class(is_tumor: np.ndarray, noun: str) -> str:
    """Say that items (plural noun) are of one class only, or missing; empty where both occur."""
    if not len(is_tumor):
        return f"no {noun}"
    if is_tumor.all() or not is_tumor.any():
        return f"only {'tumour' if is_tumor.all() else 'normal'} {noun}"
    return ""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rank sums by pairs of slides, which give the AUC of any draw of the S slides."""

    wins: np.ndarray
    """(S, S) float64: pairs of a tumour item of slide i and a normal item of slide j in which the
    first scores higher; a tie is half a win."""
    tumor: np.ndarray
    """(S,) int64, tumour items of each slide."""
    normal: np.ndarray
    """(S,) int64."""

    @classmethod
    def count(
        cls, scores: np.ndarray, is_tumor: np.ndarray, slide: np.ndarray, *, slides: int
    ) -> "Pairs":
        """Count pairs of items with scores (N,), truth (N,) bool and slide index (N,)."""
        positive, owner = scores[is_tumor], slide[is_tumor]
        order = np.argsort(positive, kind="stable")  # sorted queries stay in the cache
        positive, owner = positive[order], owner[order]
        negative, negative_slide = scores[~is_tumor], slide[~is_tumor]
        wins = np.zeros((slides, slides))
        for index in np.unique(negative_slide):
            below = _count_below(positive, negative[negative_slide == index])
            wins[:, index] = np.bincount(owner, below, slides)
        return cls(
            wins=wins,
            tumor=np.bincount(owner, minlength=slides),
            normal=np.bincount(negative_slide, minlength=slides),
        )

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """AUC of draws (B, S): (B,), NaN where only one class was drawn."""
        pairs = (weights @ self.tumor).astype(np.float64) * (weights @ self.normal)
        pairs[pairs == 0] = np.nan
        return ((weights @ self.wins) * weights).sum(axis=1) / pairs


def _count_below(points: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Count for each point the values below it, a tie as half: float64."""
    among = np.sort(among)
    return (np.searchsorted(among, points, "left") + np.searchsorted(among, points, "right")) / 2


def delong_interval(
    scores: np.ndarray, is_tumor: np.ndarray, *, confidence: float
) -> tuple[float, float] | None:
    """Interval of the AUC of independent items (DeLong et al. 1988), cut to [0, 1].

    None with fewer than two items of a class, and where the variance is 0.
    """
    tumor, normal = scores[is_tumor], scores[~is_tumor]
    if min(len(tumor), len(normal)) < 2:
        return None
    beaten = _count_below(tumor, normal) / len(normal)
    spared = 1 - _count_below(normal, tumor) / len(tumor)
    variance = beaten.var(ddof=1) / len(tumor) + spared.var(ddof=1) / len(normal)
    reach = float(ndtri((1 + confidence) / 2) * np.sqrt(variance))
    if reach <= SLACK:
        return None
    auc = float(beaten.mean())
    return max(0.0, auc - reach), min(1.0, auc + reach)


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
        allowed = normal <= (1 - specificity) * normal[:, -1:] + SHARE_SLACK
        return np.where(allowed, tumor, 0).max(axis=1) / _or_nan(tumor[:, -1] * (normal[:, -1] > 0))

    def specificity_at(self, sensitivity: float, weights: np.ndarray) -> np.ndarray:
        """Best specificity of a threshold with at least that sensitivity."""
        tumor, normal = self.counts(weights)
        enough = tumor >= sensitivity * tumor[:, -1:] - SHARE_SLACK
        fewest = np.where(enough, normal, normal[:, -1:]).min(axis=1)
        return 1 - fewest / _or_nan(normal[:, -1] * (tumor[:, -1] > 0))

    def rates_from(
        self, threshold: float | np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sensitivity and specificity of calling every slide with at least that score, or each with
        its own (S,)."""
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

    @property
    def low_edge(self) -> np.ndarray:
        return self.edges[:-1]

    @property
    def high_edge(self) -> np.ndarray:
        return self.edges[1:]


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
