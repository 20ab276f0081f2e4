"""Learning curves: a figure over the number of labels, and the number that reaches a target."""

import numpy as np

from .bootstrap import Estimate, Resampling

__all__ = ["estimate_reach", "labels_to_reach"]


def labels_to_reach(labels: np.ndarray, figure: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Number of labels at which a figure first reaches a target: (B,) float.

    labels is (K,) ascending, figure (B, K), target (B,). The figure is interpolated on the
    logarithm of the labels. Where the first point reaches the target the result is labels[0], an
    upper limit; where none does it is inf; where a figure is NaN it is NaN.
    """
    reached = figure >= target[:, None]
    first = np.argmax(reached, axis=1)
    rows = np.arange(len(figure))
    before = np.maximum(first - 1, 0)
    low, high = figure[rows, before], figure[rows, first]
    rise = np.where(first > 0, high - low, 1.0)
    share = np.where(first > 0, (target - low) / np.where(rise > 0, rise, 1.0), 1.0)
    logs = np.log(labels.astype(np.float64))
    found = np.exp(logs[before] + np.clip(share, 0.0, 1.0) * (logs[first] - logs[before]))
    found = np.where(reached.any(axis=1), found, np.inf)
    return np.where(np.isnan(figure).any(axis=1) | np.isnan(target), np.nan, found)


def estimate_reach(value: float, resampled: np.ndarray, resampling: Resampling) -> Estimate:
    """Estimate a number of labels, or a ratio of two, with its percentile interval.

    value and resampled (B,) may be inf: "not reached". A limit that is inf is None, and the note
    says so.
    """
    if not np.isfinite(value):
        why = "not defined" if np.isnan(value) else "not reached with any number tried"
        return Estimate(value=None, undefined=why)
    kept = np.sort(resampled[~np.isnan(resampled)])
    dropped = len(resampled) - len(kept)
    if len(kept) < 0.9 * len(resampled) or not len(kept):
        return Estimate(value=float(value), resamples=len(kept), dropped=dropped)
    tails = (1 - resampling.confidence) / 2, (1 + resampling.confidence) / 2
    low, high = np.quantile(kept, tails, method="inverted_cdf").tolist()
    beyond = int(np.isinf(kept).sum())
    note = f"not reached in {beyond} of {len(kept)} resamples" if beyond else ""
    return Estimate(
        value=float(value),
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        method="percentile bootstrap",
        resamples=len(kept),
        dropped=dropped,
        note=note,
    )
