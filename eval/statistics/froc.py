"""FROC curve: lesion sensitivity against false positives per slide."""

from dataclasses import dataclass

import numpy as np

from ..scoring.matching import PooledMatches
from .froc_definitions import FrocDefinition

__all__ = ["SLACK", "Froc", "describe_undefined", "froc_curve"]

SLACK = 1e-9  # a rate such as 0.1 × 30 slides must still admit the third false positive


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
