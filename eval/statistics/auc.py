"""ROC curves and their area, of slides or of patches; resampled through the pairs of slides."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from .bootstrap import SLACK

__all__ = ["DeLong", "Pairs", "Roc", "delong", "roc"]


@dataclass(frozen=True, kw_only=True)
class Roc:
    """A curve and its area. With one class only, the arrays are empty, auc is None and `undefined`
    says why."""

    threshold: np.ndarray
    """(T,) descending, from inf."""
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    auc: float | None
    undefined: str = ""


def roc(scores: np.ndarray, is_tumor: np.ndarray, *, noun: str) -> Roc:
    """ROC of scores (N,) with truth (N,) bool; noun (plural) is for the reason if undefined."""
    if is_tumor.all() or not is_tumor.any():
        empty = np.zeros(0)
        reason = (
            f"no {noun}"
            if not len(scores)
            else f"only {'tumour' if is_tumor.all() else 'normal'} {noun}"
        )
        return Roc(
            threshold=empty,
            false_positive_rate=empty,
            true_positive_rate=empty,
            auc=None,
            undefined=reason,
        )
    false, true, threshold = roc_curve(is_tumor, scores)
    return Roc(
        threshold=threshold,
        false_positive_rate=false,
        true_positive_rate=true,
        auc=float(roc_auc_score(is_tumor, scores)),
    )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The rank sum by pairs of slides, from which the AUC of any draw of the S slides follows.

    `wins[i, j]` counts pairs of a tumour item of slide i and a normal item of slide j in which the
    first scores higher; a tie is half a win.
    """

    wins: np.ndarray
    """(S, S) float64."""
    tumor: np.ndarray
    """(S,) int64, tumour items of each slide."""
    normal: np.ndarray
    """(S,) int64."""

    @classmethod
    def of(
        cls, scores: np.ndarray, is_tumor: np.ndarray, slide: np.ndarray, *, slides: int
    ) -> "Pairs":
        """Items with scores (N,), truth (N,) bool and slide index (N,)."""
        positive, owner = scores[is_tumor], slide[is_tumor]
        order = np.argsort(positive, kind="stable")  # sorted queries stay in the cache
        positive, owner = positive[order], owner[order]
        negative, negative_slide = scores[~is_tumor], slide[~is_tumor]
        wins = np.zeros((slides, slides))
        for index in np.unique(negative_slide):
            against = np.sort(negative[negative_slide == index])
            below = np.searchsorted(against, positive, "left") + np.searchsorted(
                against, positive, "right"
            )
            wins[:, index] = np.bincount(owner, below / 2, slides)
        return cls(
            wins=wins,
            tumor=np.bincount(owner, minlength=slides),
            normal=np.bincount(negative_slide, minlength=slides),
        )

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """AUC with slides drawn weights (B, S) times each: (B,), NaN where only one class was
        drawn."""
        pairs = (weights @ self.tumor).astype(np.float64) * (weights @ self.normal)
        pairs[pairs == 0] = np.nan
        return ((weights @ self.wins) * weights).sum(axis=1) / pairs


@dataclass(frozen=True, kw_only=True)
class DeLong:
    """An AUC, or the difference of two on the same items, by DeLong et al. 1988; items are taken as
    independent."""

    value: float
    variance: float
    low: float | None = None
    """Of the normal interval; an AUC's is cut to [0, 1]. None where the variance is 0."""
    high: float | None = None
    p_value: float | None = None
    """Two-sided, of no difference; None for one AUC, and where the variance is 0."""
    note: str = ""
    """Why there is no interval."""


def delong(
    scores: np.ndarray, is_tumor: np.ndarray, *, other: np.ndarray | None = None, confidence: float
) -> DeLong | None:
    """Of scores (N,), or of scores less other scores (N,) of the same items; None with fewer than
    two of a class."""
    if min(is_tumor.sum(), (~is_tumor).sum()) < 2:
        return None
    tumor, normal = _placements(scores, is_tumor)
    if other is not None:
        other_tumor, other_normal = _placements(other, is_tumor)
        tumor, normal = tumor - other_tumor, normal - other_normal
    value = float(tumor.mean())
    variance = float(tumor.var(ddof=1) / len(tumor) + normal.var(ddof=1) / len(normal))
    reach = float(norm.ppf((1 + confidence) / 2)) * np.sqrt(variance)
    if reach <= SLACK:
        return DeLong(
            value=value, variance=0.0, note="its variance is 0: how sure it is cannot be told"
        )
    low, high = value - reach, value + reach
    if other is None:
        return DeLong(value=value, variance=variance, low=max(0.0, low), high=min(1.0, high))
    p_value = float(2 * norm.sf(abs(value) / np.sqrt(variance)))
    return DeLong(value=value, variance=variance, low=low, high=high, p_value=p_value)


def _placements(scores: np.ndarray, is_tumor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the other class that each tumour and each normal item beats, a tie being half."""
    tumor, normal = scores[is_tumor], scores[~is_tumor]

    def share_below(points: np.ndarray, among: np.ndarray) -> np.ndarray:
        among = np.sort(among)
        return (
            np.searchsorted(among, points, "left") + np.searchsorted(among, points, "right")
        ) / (2 * len(among))

    return share_below(tumor, normal), 1 - share_below(normal, tumor)
