"""ROC curves and their area, of slides or of patches; resampled through the pairs of slides."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

__all__ = ["Pairs", "Roc", "roc"]


@dataclass(frozen=True, kw_only=True)
class Roc:
    """A curve and its area. With one class only, the arrays are empty, auc is None and `undefined` says why."""

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
        reason = f"no {noun}" if not len(scores) else f"only {'tumour' if is_tumor.all() else 'normal'} {noun}"
        return Roc(threshold=empty, false_positive_rate=empty, true_positive_rate=empty, auc=None, undefined=reason)
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

    `wins[i, j]` counts pairs of a tumour item of slide i and a normal item of slide j in which the first scores higher;
    a tie is half a win.
    """

    wins: np.ndarray
    """(S, S) float64."""
    tumor: np.ndarray
    """(S,) int64, tumour items of each slide."""
    normal: np.ndarray
    """(S,) int64."""

    @classmethod
    def of(cls, scores: np.ndarray, is_tumor: np.ndarray, slide: np.ndarray, *, slides: int) -> "Pairs":
        """Items with scores (N,), truth (N,) bool and slide index (N,)."""
        positive, owner = scores[is_tumor], slide[is_tumor]
        order = np.argsort(positive, kind="stable")  # sorted queries stay in the cache
        positive, owner = positive[order], owner[order]
        negative, negative_slide = scores[~is_tumor], slide[~is_tumor]
        wins = np.zeros((slides, slides))
        for index in np.unique(negative_slide):
            against = np.sort(negative[negative_slide == index])
            below = np.searchsorted(against, positive, "left") + np.searchsorted(against, positive, "right")
            wins[:, index] = np.bincount(owner, below / 2, slides)
        return cls(
            wins=wins,
            tumor=np.bincount(owner, minlength=slides),
            normal=np.bincount(negative_slide, minlength=slides),
        )

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """AUC with slides drawn weights (B, S) times each: (B,), NaN where only one class was drawn."""
        pairs = (weights @ self.tumor).astype(np.float64) * (weights @ self.normal)
        pairs[pairs == 0] = np.nan
        return ((weights @ self.wins) * weights).sum(axis=1) / pairs
