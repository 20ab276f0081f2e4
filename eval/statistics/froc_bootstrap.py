"""Sensitivity at given false positives per slide for thousands of draws of the slides."""

import numpy as np

from ..scoring.matching import PooledMatches
from .froc import SLACK
from .froc_definitions import FrocDefinition

__all__ = ["resample_sensitivity"]


def resample_sensitivity(
    matches: PooledMatches, definition: FrocDefinition, weights: np.ndarray, *, rates: np.ndarray
) -> np.ndarray:
    """Sensitivity at rates (R,) for slides drawn weights (B, S) times each: (B, R), NaN where it is
    not defined.

    The sensitivity at f is the share of hits above the most probable false positive with which the
    draw exceeds f. False positives and hits are sorted once; each draw is two running sums.
    """
    chosen = definition.select(matches)
    false = np.flatnonzero(chosen[matches.false_positive_slide])
    false = false[np.argsort(-matches.false_positive[false], kind="stable")]
    found = np.flatnonzero(matches.is_found)
    found = found[np.argsort(-matches.best[found], kind="stable")]
    above = np.searchsorted(-matches.best[found], -matches.false_positive[false])
    hits_above = np.append(above, len(found))
    false_slide, found_slide = matches.false_positive_slide[false], matches.lesion_slide[found]
    countable = matches.lesion_slide[~matches.is_itc]
    limits, readings = np.asarray(rates) + SLACK, np.full((len(weights), len(rates)), np.nan)
    for row, times in enumerate(weights):
        slides, lesions = times[chosen].sum(), times[countable].sum()
        if slides and lesions:
            exceeding = np.searchsorted(times[false_slide].cumsum() / slides, limits, side="right")
            hits = np.append(0, times[found_slide].cumsum())
            readings[row] = hits[hits_above[exceeding]] / lesions
    return readings
