"""Two models on the same slides: paired differences, their intervals, and how often chance makes as
much of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...storage import ScoreError
from ..scoring.exclusions import LeftOut, left_out_of
from ..scoring.slide_result import Judgement
from ..settings import EvaluateSettings
from .auc import DeLong, delong
from .bootstrap import SLACK, Estimate, Resampling, Statistic
from .caution import caution
from .figures import resampling_of
from .resampled import official_gap, scored, statistics_of

__all__ = ["Comparison", "Difference", "compare"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of the first model less that of the second."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float | None
    """Two-sided, of no difference, by randomisation: how often swapping the two models'
    predictions, patient by patient (slide by slide without patients), gives at least this
    difference; None without resamples."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the slides that both have in their figures."""

    names: tuple[str, str]
    differences: dict[str, Difference]
    """By the name of the figure."""
    delong: DeLong | None
    """Of the slide AUC; slides are taken as independent."""
    slides: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    """Slides that one of the two cannot be scored on, or has no prediction for, and patients
    without a stage for it."""
    resampling: Resampling

    @property
    def metrics(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "names": list(self.names),
            "differences": {name: asdict(one) for name, one in self.differences.items()},
            "slide_auc_delong": None if self.delong is None else asdict(self.delong),
            "slides": list(self.slides),
            "left_out": [asdict(one) for one in self.left_out],
            "bootstrap": {
                "resamples": len(self.resampling.weights),
                "unit": self.resampling.unit,
                "units_with_tumor": self.resampling.tumor_units,
                "units_without": self.resampling.normal_units,
            },
            "caution": caution(self.resampling),
        }

    def table(self) -> pd.DataFrame:
        """A row a figure."""
        return pd.DataFrame(
            [
                {
                    "figure": name,
                    "first": one.first.value,
                    "second": one.second.value,
                    **{k: v for k, v in asdict(one.difference).items() if k != "value"},
                    "difference": one.difference.value,
                    "p_value": one.p_value,
                }
                for name, one in self.differences.items()
            ]
        )


def compare(
    first: Sequence[Judgement],
    second: Sequence[Judgement],
    settings: EvaluateSettings,
    *,
    names: tuple[str, str],
) -> Comparison:
    """Judgements of one cohort by two models, paired by slide; every resample draws the same slides
    for both.

    Where one has no prediction, the slide is in the FROC of both, and in no other figure of either.

    Raises:
        ScoreError: no slide that both can be scored on.
    """
    others = {j.slide.id: j for j in second if j.in_figures}
    pairs = [_paired(j, others[j.slide.id]) for j in first if j.in_figures and j.slide.id in others]
    if not pairs:
        raise ScoreError(
            f"{names[0]} and {names[1]} have no slide in common that can be scored; nothing to "
            "compare"
        )
    ones, twos = [a for a, _ in pairs], [b for _, b in pairs]
    resampling = resampling_of(ones, settings)
    swapped = _swapped(resampling, seed=settings.seed)
    found: dict[str, Difference] = {}
    gaps = official_gap(first), official_gap(second)
    cohort = list({j.slide.id: j for j in (*first, *second)}.values())
    sides = zip(
        (ones, twos, _both(ones, twos)),
        (cohort, cohort, _both(cohort, cohort)),
        (*gaps, ""),
        strict=True,
    )
    for one, two, both in zip(
        *(statistics_of(j, settings, cohort=c, gap=g) for j, c, g in sides), strict=True
    ):
        found |= _differences(one, two, both, resampling, swapped)
    found = {name: _told_of(names, one) for name, one in found.items()}
    scores, is_tumor = scored(ones)
    return Comparison(
        names=names,
        differences=found,
        delong=delong(scores, is_tumor, other=scored(twos)[0], confidence=settings.confidence),
        slides=tuple(j.slide.id for j in ones),
        left_out=(*_left_out(first, second, names[0]), *_left_out(second, first, names[1])),
        resampling=resampling,
    )


def _paired(one: Judgement, other: Judgement) -> tuple[Judgement, Judgement]:
    """What one lacks is not told of the other either: figures of different slides are no pair."""
    if not one.is_absent and not other.is_absent:
        return one, other
    nothing: dict[str, Any] = {"score": None, "patches": None, "predicted_class": ""}
    return replace(one, **nothing), replace(other, **nothing)


def _left_out(
    judgements: Sequence[Judgement], others: Sequence[Judgement], name: str
) -> list[LeftOut]:
    """What a model leaves out of the comparison, and slides that only the others have."""
    known = {j.slide.id for j in judgements}
    lacking = {j.slide.id for j in judgements if not j.in_figures or j.is_absent}
    its = [
        one
        for one in left_out_of(judgements)
        if one.what in ("slide", "patient") and one.slide in lacking
    ]
    none = [j.slide.id for j in others if j.slide.id not in known]
    reason, whole = "not among its slides", "every figure"
    its += [LeftOut(slide=i, what="slide", name="", left_out_of=whole, reason=reason) for i in none]
    return [replace(one, reason=f"{name}: {one.reason}") for one in its]


def _both(ones: Sequence[Judgement], twos: Sequence[Judgement]) -> list[Judgement]:
    """Each slide twice, once by each model; weights then say whose prediction is taken."""
    # A patient's stage must not mix the models' slides.
    apart = {j.slide.id: f"{j.slide.patient} again" if j.slide.patient else "" for j in twos}
    return [*ones, *(replace(j, slide=replace(j.slide, patient=apart[j.slide.id])) for j in twos)]


def _swapped(resampling: Resampling, *, seed: int) -> np.ndarray:
    """(B, S) int64: 1 where a slide's two predictions are swapped, the same for all slides of a
    unit."""
    draws, units = len(resampling.weights), len(resampling.left_out)
    return np.random.default_rng([seed, 1]).integers(0, 2, (draws, units)) @ (
        1 - resampling.left_out
    )


def _differences(
    one: Statistic, two: Statistic, both: Statistic, resampling: Resampling, swapped: np.ndarray
) -> dict[str, Difference]:
    first, second = resampling.estimates(one), resampling.estimates(two)
    if one.undefined or two.undefined:
        none = Estimate(value=None)
        return {
            n: Difference(first=first[n], second=second[n], difference=none, p_value=None)
            for n in one.names
        }
    pairs = zip(resampling.resampled(one), resampling.resampled(two), strict=True)
    values, resampled, left_out = (x - y for x, y in pairs)
    by_chance = both.of(np.concatenate([1 - swapped, swapped], axis=1)) - both.of(
        np.concatenate([swapped, 1 - swapped], axis=1)
    )
    return {
        name: Difference(
            first=first[name],
            second=second[name],
            difference=resampling.estimate(values[k], resampled[:, k], left_out[:, k]),
            p_value=_p_value(float(values[k]), by_chance[:, k]),
        )
        for k, name in enumerate(one.names)
    }


def _told_of(names: tuple[str, str], found: Difference) -> Difference:
    """Where there is no difference, why: which of the two lacks what."""
    if found.difference.value is not None:
        return found
    reasons = {
        name: one.undefined for name, one in zip(names, (found.first, found.second), strict=True)
    }
    both = len(set(reasons.values())) == 1
    words = (
        found.first.undefined
        if both
        else ", ".join(f"{name}: {why}" for name, why in reasons.items() if why)
    )
    return replace(found, difference=replace(found.difference, undefined=words))


def _p_value(difference: float, by_chance: np.ndarray) -> float | None:
    if not len(by_chance) or np.isnan(difference) or np.isnan(by_chance).any():
        return None
    return float(((np.abs(by_chance) >= abs(difference) - SLACK).sum() + 1) / (len(by_chance) + 1))
