"""Tests of a difference between two sets of predictions of the same items: paired bootstrap,
corrected resampled t, and Holm's correction for several tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import SLACK, Draws, Estimate, Resampling

__all__ = [
    "CorrectedT",
    "Difference",
    "adjust_holm",
    "bootstrap_p_value",
    "corrected_t",
    "subtract",
]

FEWEST_SPLITS = 3


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of the first model less that of the second."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float | None
    """Two-sided p-value of the test that the caller names; None where there is none."""
    p_holm: float | None = None
    """The p-value adjusted by Holm's method for the family of tests that the caller names."""


def subtract(one: Draws, two: Draws, resampling: Resampling) -> list[tuple[Estimate, np.ndarray]]:
    """Subtract the K figures of two models, drawn with the same resamples.

    Return for each figure the difference with its interval, and the resampled differences (B,).
    """
    values, resampled = one.value - two.value, one.resampled - two.resampled
    return [
        (resampling.estimate(value, resampled[:, k]), resampled[:, k])
        for k, value in enumerate(values)
    ]


def bootstrap_p_value(difference: np.ndarray) -> float | None:
    """Two-sided p-value of no difference, from resampled differences (B,): twice the smaller share
    of resamples on one side of 0.

    None where fewer than nine in ten resamples define the difference.
    """
    known = difference[~np.isnan(difference)]
    if not len(known) or len(known) < 0.9 * len(difference):
        return None
    fewer = min((known <= SLACK).sum(), (known >= -SLACK).sum())
    return float(min(1.0, 2 * (fewer + 1) / (len(known) + 1)))


@dataclass(frozen=True, kw_only=True)
class CorrectedT:
    """Corrected resampled t-test of a difference (Nadeau and Bengio 2003)."""

    t: float
    p_value: float
    splits: int
    """J, test sets in which the difference is defined; J − 1 degrees of freedom."""


def corrected_t(differences: np.ndarray, *, test_to_train: float) -> CorrectedT | None:
    """Test the differences (J,) of a figure on J test sets of repeated cross-validation; NaN where
    a test set does not define it, as with one class.

    The variance is multiplied by 1/J + test_to_train, the ratio of the sizes of test and training
    set, because training sets overlap. None with fewer than three test sets, and where all
    differences are equal.
    """
    from scipy.stats import t as student  # half a second, which `--help` must not wait for

    known = differences[~np.isnan(differences)]
    splits = len(known)
    if splits < FEWEST_SPLITS:
        return None
    variance = (1 / splits + test_to_train) * float(known.var(ddof=1))
    if variance <= SLACK**2:
        return None
    value = float(known.mean() / np.sqrt(variance))
    return CorrectedT(
        t=value,
        p_value=float(2 * student.sf(abs(value), splits - 1)),
        splits=splits,
    )


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust the p-values of a family of tests (Holm 1979); None stays None and is no test."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted
