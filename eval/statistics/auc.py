"""ROC curves and their area, for slides and for patches."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from .bootstrap import SLACK

__all__ = ["Pairs", "Roc", "delong_interval", "roc_curve"]


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
