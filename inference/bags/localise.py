"""Maps of a bag: what each window says for tumour, as probabilities that one threshold suits."""

import math
from typing import Any, Literal

import numpy as np

from ...models import BagEnsemble, BagScores
from ...storage import SettingsError

__all__ = ["Localise", "describe_attention", "localise"]

Localise = Literal["score", "attention", "attention-score", "shapley"]
ATTENTION_MAPS = ("attention", "attention-score")

EQUAL = 0.95
"""Share of the windows that attention counts as, from which on it tells none from another."""
AWAY = -0.3
"""Rank correlation of attention and scores from which on attention points away from tumour."""
TUMOR = 0.5
"""Probability of a window that attention could point at; slides without any are not judged."""
FEWEST = 8
"""Windows below which neither is judged."""


def localise(
    models: BagEnsemble, bag: np.ndarray, xy: np.ndarray, found: BagScores, way: Localise
) -> np.ndarray:
    """Return a value for each window, (N,) float64 in [0, 1].

    score is the window's own probability. Attention and Shapley values are shares of the slide: a
    share s of N windows becomes N s / (1 + N s), 0.5 for an equal share. It is multiplied by the
    slide's probability, or for attention-score by the window's, so that slides compare.

    Raises:
        SettingsError: attention of models that have none.
    """
    if way == "score":
        return found.windows
    if way in ATTENTION_MAPS:
        if any(model.options.pooling != "attention" for model in models.models):
            raise SettingsError(
                f"--localise {way}: a model pools its windows without attention; give score or "
                "shapley"
            )
        relative = _compare_with_equal(found.attention)
        return relative * (found.slide if way == "attention" else found.windows)
    values = models.find_shapley(bag, xy)
    total = values.sum()
    return found.slide * _compare_with_equal(values / total if total else values)


def _compare_with_equal(shares: np.ndarray) -> np.ndarray:
    times = len(shares) * shares
    return times / (1 + times)


def describe_attention(models: BagEnsemble, found: BagScores) -> str:
    """Describe attention that is not to be trusted on a slide; empty where it may be."""
    count = len(found.attention)
    has_attention = all(model.options.pooling == "attention" for model in models.models)
    if count < FEWEST or not has_attention:
        return ""
    weights = found.attention[found.attention > 0]
    entropy = -float(weights @ np.log(weights))
    if math.exp(entropy) >= EQUAL * count:
        return "attention is equal over all windows"
    if found.windows.min() < TUMOR <= found.windows.max():
        from scipy.stats import spearmanr  # half a second, which `--help` must not wait for

        correlation: Any = spearmanr(found.attention, found.windows)
        if correlation.statistic <= AWAY:
            return "attention points away from the windows' scores"
    return ""
