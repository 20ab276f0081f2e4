"""From the logits of a bag's windows to its slide score, and each window's share in it."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import logsumexp, softmax

from .options import BagPooling

__all__ = ["attention_of", "find_shapley", "pool_logits"]


def pool_logits(logits: np.ndarray, pooling: BagPooling) -> float:
    """Return the slide logit of windows (N, 2) logits of classifier and attention, N ≥ 1."""
    windows, attention = logits[:, 0], logits[:, 1]
    if pooling == "attention":
        return float(softmax(attention) @ windows)
    if pooling == "mean":
        return float(windows.mean())
    if pooling == "max":
        return float(windows.max())
    return float(logsumexp(windows) - np.log(len(windows)))


def attention_of(logits: np.ndarray) -> np.ndarray:
    """Return the attention of windows (N, 2) logits: (N,) float64 that sum to 1."""
    return softmax(logits[:, 1]) if len(logits) else np.empty(0)


def find_shapley(
    value: Callable[[np.ndarray], float], empty: float, places: np.ndarray
) -> np.ndarray:
    """Return hierarchical Shapley values of windows, (N,) float64 ≥ 0 (h-Shap).

    value gives the slide score of a bag of some windows, by their indices, and `empty` is that of
    none. A bag is halved across its longer side; the halves' exact Shapley values, with the rest of
    the slide absent, tell which of them are halved on. A window's value is that of the last half,
    itself; 0 where a half that held it had none above 0. See Teneggi et al. 2022.

    places: (N, 2) places of the windows.
    """
    found = np.zeros(len(places))
    everything = np.arange(len(places))
    if len(places) == 1:
        found[0] = max(0.0, value(everything) - empty)
    waiting = [(everything, value(everything))] if len(places) > 1 else []
    while waiting:
        inside, whole = waiting.pop()
        first, second = _halve(inside, places)
        of_first, of_second = value(first), value(second)
        for half, alone, other in ((first, of_first, of_second), (second, of_second, of_first)):
            share = ((alone - empty) + (whole - other)) / 2
            if share <= 0:
                continue
            if len(half) == 1:
                found[half] = share
            else:
                waiting.append((half, alone))
    return found


def _halve(inside: np.ndarray, places: np.ndarray) -> Iterator[np.ndarray]:
    """Divide windows into two halves across the longer side of what they cover."""
    among = places[inside]
    axis = int(np.argmax(np.ptp(among, axis=0)))
    order = np.lexsort((among[:, 1 - axis], among[:, axis]))
    yield from np.array_split(inside[order], 2)
