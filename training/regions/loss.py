"""Loss and figures of a segmentation, over the px that a person looked at."""

from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["RegionLoss", "measure_dice"]

SMOOTH = 1.0  # px, so that a batch without the wanted region has a gradient too


class RegionLoss(keras.losses.Loss):
    """Binary cross-entropy plus soft Dice (Milletari et al. 2016) over a whole batch, both over the
    px that were looked at.

    Truth: (N, S, S, 2), wanted and looked at; scores: (N, S, S, 1) logits.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        wanted, looked_at = y_true[..., :1], y_true[..., 1:]
        entropy: Any = ops.binary_crossentropy(wanted, y_pred, from_logits=True)
        count: Any = ops.maximum(_sum(looked_at), 1.0)
        mean = _sum(looked_at * entropy) / count
        found: Any = ops.sigmoid(y_pred) * looked_at
        both, total = _sum(found * wanted), _sum(found) + _sum(wanted * looked_at)
        dice = (2.0 * both + SMOOTH) / (total + SMOOTH)
        return mean + 1.0 - dice


def _sum(values: Any) -> Any:
    return ops.sum(values)


def measure_dice(scores: np.ndarray, known: np.ndarray, *, threshold: float = 0.5) -> float | None:
    """Return the Dice coefficient of px (N, S, S) with a score above a threshold, over all px
    looked at; known is (N, S, S, 2), wanted and looked at. None where neither is anything."""
    looked_at = known[..., 1].astype(bool)
    found, wanted = (scores > threshold) & looked_at, known[..., 0].astype(bool) & looked_at
    total = int(found.sum()) + int(wanted.sum())
    return 2 * int((found & wanted).sum()) / total if total else None
