"""Number of labels or slides that reaches a target, as an estimate, and the ratio of two."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..eval import Estimate, Resampling, estimate_reach

__all__ = ["Reach", "estimate_number", "estimate_ratio"]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Number of labels or slides with which a learner reaches a target."""

    learner: str
    target: float
    """Value of the figure that counts as reached, on all slides."""
    number: Estimate


def estimate_number(numbers: np.ndarray, smallest: float, resampling: Resampling) -> Estimate:
    """Estimate a number of labels, slides or steps from its value on all slides, then on each
    resample, (1 + B,), inf where the target is not reached; smallest is the number of the first
    point of the curve."""
    found = estimate_reach(float(numbers[0]), numbers[1:], resampling)
    if _is_bound(numbers, smallest):
        return _add_note(found, "at most: the smallest number tried reaches it")
    return found


def estimate_ratio(
    numbers: Mapping[str, np.ndarray], smallest: Mapping[str, float], resampling: Resampling
) -> Estimate:
    """Estimate the ratio of strong to weak labels from the numbers (1 + B,) of both learners, see
    `estimate_number`."""
    beyond = [name for name in ("weak", "strong") if np.isinf(numbers[name][0])]
    if beyond:
        learners = " and the ".join(f"{name} learner" for name in beyond)
        return Estimate(value=None, undefined=f"the target is not reached by the {learners}")
    with np.errstate(invalid="ignore"):  # inf / inf: neither learner reaches it
        ratio = numbers["strong"] / numbers["weak"]
    found = estimate_reach(float(ratio[0]), ratio[1:], resampling)
    if missed := int((ratio[1:] == 0).sum()):
        note = f"the weak learner does not reach it in {missed} of {len(ratio) - 1} resamples, "
        found = _add_note(found, f"{note}where the ratio counts as 0")
    bounds = [name for name, one in numbers.items() if _is_bound(one, smallest[name])]
    if len(bounds) > 1:
        return _add_note(found, "no limit either way: both learners' smallest samples reach it")
    if bounds:
        side = "at most" if bounds == ["strong"] else "at least"
        note = f"{side}: the smallest sample of the {bounds[0]} learner reaches it"
        return _add_note(found, note)
    return found


def _is_bound(numbers: np.ndarray, smallest: float) -> bool:
    return bool(numbers[0] <= smallest * (1 + 1e-9))  # the number is exp(log(labels))


def _add_note(estimate: Estimate, note: str) -> Estimate:
    return replace(estimate, note="; ".join(filter(None, (note, estimate.note))))
