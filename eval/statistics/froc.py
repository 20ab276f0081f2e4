"""FROC curve: lesion sensitivity against false positives per slide, its definitions (whose false
positives count, and over which slides), and its resamples."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..scoring.matching import PooledMatches

__all__ = [
    "DEFINITIONS",
    "OURS",
    "Froc",
    "FrocDefinition",
    "describe_undefined",
    "froc_curve",
    "resample_sensitivity",
]

SLACK = 1e-9  # a rate such as 0.1 × 30 slides must still admit the third false positive


@dataclass(frozen=True, kw_only=True)
class FrocDefinition:
    """Slides whose false positives are counted, and by whose number they are divided."""

    name: str
    slides: Literal["all", "normal"]
    description: str

    def select(self, matches: PooledMatches) -> np.ndarray:
        """Slides that count for false positives, (S,) bool; never one without a prediction."""
        if self.slides == "normal":
            return matches.predicted & matches.is_normal
        return matches.predicted


OURS = FrocDefinition(
    name="gigaslide",
    slides="all",
    description="false positives over all slides; every operating point; sensitivity at f is the "
    "best with at most f",
)
DEFINITIONS = {
    OURS.name: OURS,
    "liu2017": FrocDefinition(
        name="liu2017",
        slides="normal",
        description="as gigaslide, but with false positives on and over tumour-negative slides "
        "only",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Froc:
    """A FROC curve; the arrays are empty where it is not defined."""

    threshold: np.ndarray
    """(T,) ascending, ending with inf: nothing detected."""
    false_positives: np.ndarray
    """(T,) per slide, descending."""
    sensitivity: np.ndarray
    """(T,) share of countable lesions found."""
    rates: tuple[float, ...]
    """False positives per slide at which the curve is read."""
    at_rates: tuple[float, ...]
    """Sensitivity at each rate."""
    undefined: str = ""
    """Reason why there is no curve."""

    @property
    def score(self) -> float | None:
        """Mean sensitivity at the rates."""
        return float(np.mean(self.at_rates)) if self.at_rates else None

    @classmethod
    def empty(cls, rates: tuple[float, ...], undefined: str) -> "Froc":
        nothing = np.zeros(0)
        return cls(
            threshold=nothing,
            false_positives=nothing,
            sensitivity=nothing,
            rates=rates,
            at_rates=(),
            undefined=undefined,
        )


def froc_curve(
    matches: PooledMatches, definition: FrocDefinition, *, rates: tuple[float, ...]
) -> Froc:
    """Compute the curve with every operating point, and the best sensitivity that a threshold with
    at most f false positives per slide reaches, for each f of rates.

    A lesion found with p = 0 is found; a missed one has no operating point.
    """
    reason = describe_undefined(matches, definition)
    if reason:
        return Froc.empty(rates, reason)
    chosen = definition.select(matches)
    false = np.sort(matches.false_positive[chosen[matches.false_positive_slide]])
    hits = np.sort(matches.best[matches.is_found])
    threshold = np.append(np.unique(np.concatenate([false, hits])), np.inf)
    false_positives = (len(false) - np.searchsorted(false, threshold)) / chosen.sum()
    sensitivity = (len(hits) - np.searchsorted(hits, threshold)) / matches.countable
    limits = np.array(rates) + SLACK
    place = np.searchsorted(false_positives[::-1], limits, side="right") - 1
    return Froc(
        threshold=threshold,
        false_positives=false_positives,
        sensitivity=sensitivity,
        rates=rates,
        at_rates=tuple(sensitivity[::-1][place].tolist()),
    )


def describe_undefined(matches: PooledMatches, definition: FrocDefinition) -> str:
    """Say why a curve is not defined; empty where it is."""
    if not len(matches.is_normal):
        return "no slides"
    if not len(matches.best):
        return "no lesions"
    if not matches.countable:
        return "no countable lesions, only isolated tumour cells"
    if not matches.predicted.any():
        return "no predictions"
    return "" if definition.select(matches).any() else "no tumour-negative slides"


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
