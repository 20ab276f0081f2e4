"""Two models on the same slides: paired differences with intervals and randomisation p-values;
and the slides on which several models disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...storage import ScoreError
from ..scoring.exclusions import Exclusion, list_exclusions
from ..scoring.matching import reaches
from ..scoring.slide_result import SlideResult
from ..settings import EvaluateSettings
from .agreement import HeatmapAgreement
from .bootstrap import SLACK, Estimate, Resampling, Statistic
from .paired import Difference, adjust_holm, subtract
from .resampled import draw_resamples, list_statistics
from .seconds import Seconds

__all__ = ["ModelComparison", "adjust_for_models", "compare", "list_disagreements"]


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Two models on the slides that both have in their figures."""

    names: tuple[str, str]
    differences: dict[str, Difference]
    """By the name of the figure. p-values are two-sided, by randomisation: how often swapping the
    two models' predictions at random, patient by patient (slide by slide without patients), gives
    at least this difference. None without resamples."""
    slides: tuple[str, ...]
    exclusions: tuple[Exclusion, ...]
    """Slides that one of the two models cannot be scored on, or has no prediction for."""
    resampling: Resampling
    heatmaps: HeatmapAgreement | None = None
    """Agreement of the heatmaps, if both models have any of the same cells."""
    seconds: Seconds | None = None
    """Time that each model took for its predictions, if both say it."""

    @property
    def metrics(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "names": list(self.names),
            "differences": {name: asdict(one) for name, one in self.differences.items()},
            "slides": list(self.slides),
            "exclusions": [asdict(one) for one in self.exclusions],
            "bootstrap": {
                "resamples": len(self.resampling.weights),
                "unit": self.resampling.unit,
                "units_with_tumor": self.resampling.tumor_units,
                "units_without": self.resampling.normal_units,
            },
            "caution": self.resampling.caution,
            "heatmaps": self.heatmaps and asdict(self.heatmaps),
            "seconds": self.seconds and {**asdict(self.seconds), "ratio": self.seconds.ratio},
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
                    "p_holm": one.p_holm,
                }
                for name, one in self.differences.items()
            ]
        )


def compare(
    first: Sequence[SlideResult],
    second: Sequence[SlideResult],
    settings: EvaluateSettings,
    *,
    names: tuple[str, str],
) -> ModelComparison:
    """Compare results of one cohort by two models, paired by slide; every resample draws the same
    slides for both.

    A slide that one model has no prediction for is in the FROC of both, and in no other figure.

    Raises:
        ScoreError: no slide that both can be scored on.
    """
    others = {result.slide.id: result for result in second if result.in_figures}
    pairs = [
        _pair(result, others[result.slide.id])
        for result in first
        if result.in_figures and result.slide.id in others
    ]
    if not pairs:
        raise ScoreError(
            f"{names[0]} and {names[1]}: no slide in common that both can be scored on; give "
            "predictions of the same slides"
        )
    ones, twos = [one for one, _ in pairs], [two for _, two in pairs]
    resampling = draw_resamples(ones, settings)
    swaps = _draw_swaps(resampling, seed=settings.seed)
    found: dict[str, Difference] = {}
    sides = (list_statistics(side, settings) for side in (ones, twos, [*ones, *twos]))
    for one, two, both in zip(*sides, strict=True):
        found |= _subtract(one, two, both, resampling, swaps)
    return ModelComparison(
        names=names,
        differences={name: _explain(names, one) for name, one in found.items()},
        slides=tuple(result.slide.id for result in ones),
        exclusions=(*_exclude(first, second, names[0]), *_exclude(second, first, names[1])),
        resampling=resampling,
    )


def _pair(one: SlideResult, other: SlideResult) -> tuple[SlideResult, SlideResult]:
    """Both results without scores where one has no prediction: figures must be of the same
    slides."""
    if one.is_predicted and other.is_predicted:
        return one, other
    return replace(one, score=None, patches=None), replace(other, score=None, patches=None)


def _exclude(
    results: Sequence[SlideResult], others: Sequence[SlideResult], name: str
) -> list[Exclusion]:
    """Slides that a model cannot be scored on, and slides that only the other model has."""
    known = {result.slide.id for result in results}
    lacking = {r.slide.id for r in results if not r.in_figures or not r.is_predicted}
    found = [
        one for one in list_exclusions(results) if one.kind == "slide" and one.slide in lacking
    ]
    found += [
        Exclusion(
            slide=result.slide.id,
            kind="slide",
            excluded_from="every figure",
            reason="not among its slides",
        )
        for result in others
        if result.slide.id not in known
    ]
    return [replace(one, reason=f"{name}: {one.reason}") for one in found]


def _draw_swaps(resampling: Resampling, *, seed: int) -> np.ndarray:
    """(B, S) int64: 1 where a slide's two predictions are swapped, alike within a unit."""
    shape = len(resampling.weights), len(resampling.has_tumor)
    return np.random.default_rng([seed, 1]).integers(0, 2, shape)[:, resampling.unit_of]


def _subtract(
    one: Statistic, two: Statistic, both: Statistic, resampling: Resampling, swaps: np.ndarray
) -> dict[str, Difference]:
    if one.undefined or two.undefined:
        first, second = resampling.estimate_all(one), resampling.estimate_all(two)
        none = Estimate(value=None)
        return {
            name: Difference(first=first[name], second=second[name], difference=none, p_value=None)
            for name in one.names
        }
    a, b = resampling.evaluate(one), resampling.evaluate(two)
    first, second = resampling.estimate_all(one, a), resampling.estimate_all(two, b)
    differences = subtract(a, b, resampling)
    by_chance = both.compute(np.concatenate([1 - swaps, swaps], axis=1)) - both.compute(
        np.concatenate([swaps, 1 - swaps], axis=1)
    )
    return {
        name: Difference(
            first=first[name],
            second=second[name],
            difference=differences[k][0],
            p_value=_p_value(differences[k][0].value, by_chance[:, k]),
        )
        for k, name in enumerate(one.names)
    }


def _explain(names: tuple[str, str], found: Difference) -> Difference:
    """Add the reason why there is no difference: which of the two models lacks what."""
    if found.difference.value is not None:
        return found
    reasons = [found.first.undefined, found.second.undefined]
    reason = reasons[0]
    if reasons[0] != reasons[1]:
        reason = ", ".join(f"{n}: {why}" for n, why in zip(names, reasons, strict=True) if why)
    return replace(found, difference=replace(found.difference, undefined=reason))


def _p_value(difference: float | None, by_chance: np.ndarray) -> float | None:
    if not len(by_chance) or difference is None or np.isnan(by_chance).any():
        return None
    return float(((np.abs(by_chance) >= abs(difference) - SLACK).sum() + 1) / (len(by_chance) + 1))


def adjust_for_models(comparisons: Sequence[ModelComparison]) -> list[ModelComparison]:
    """Adjust the p-values of each figure for the number of models that were compared."""
    names = dict.fromkeys(name for one in comparisons for name in one.differences)
    adjusted = {
        name: adjust_holm(
            [
                one.differences[name].p_value if name in one.differences else None
                for one in comparisons
            ]
        )
        for name in names
    }
    return [
        replace(
            one,
            differences={
                name: replace(found, p_holm=adjusted[name][index])
                for name, found in one.differences.items()
            },
        )
        for index, one in enumerate(comparisons)
    ]


def list_disagreements(
    scored: Mapping[str, Sequence[SlideResult]],
) -> list[dict[str, Any]]:
    """List the slides that every model has a score of, as plain JSON; scored is by model name.

    Slides that not all models call alike come first, then the rest by the spread of their counts
    of lesions and false positives at each model's threshold, then by the spread of their scores.
    """
    by_id = [{r.slide.id: r for r in results if r.score is not None} for results in scored.values()]
    shared = [name for name in by_id[0] if all(name in one for one in by_id)]
    rows = [
        _disagreement(dict(zip(scored, (one[name] for one in by_id), strict=True)))
        for name in shared
    ]
    return sorted(
        rows,
        key=lambda row: (not row["called_differently"], -row["count_spread"], -row["score_spread"]),
    )


def _disagreement(by_model: Mapping[str, SlideResult]) -> dict[str, Any]:
    first = next(iter(by_model.values()))
    models = {name: _model_row(result) for name, result in by_model.items()}
    scores = [one["score"] for one in models.values()]
    counts = [
        [one[name] or 0 for one in models.values()] for name in ("lesions_found", "false_positives")
    ]
    return {
        "slide": first.slide.id,
        "label": first.slide.label,
        "patient": first.slide.patient,
        "lesions": None if first.matches is None else first.matches.countable,
        "called_differently": len({one["called_tumor"] for one in models.values()}) > 1,
        "count_spread": sum(max(one) - min(one) for one in counts),
        "score_spread": max(scores) - min(scores),
        "models": models,
    }


def _model_row(result: SlideResult) -> dict[str, Any]:
    matches, threshold = result.matches, result.threshold
    return {
        "score": result.score,
        "called_tumor": bool(reaches(result.score, threshold)),
        "lesions_found": None if matches is None else matches.hits_from(threshold),
        "false_positives": None if matches is None else int(matches.is_false_from(threshold).sum()),
    }
