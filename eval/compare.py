"""Two models on the same slides: paired differences, their intervals, and how likely chance makes them."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..wsi import Cohort, Recipe, ScoreError, SettingsError, gigaslide_version, refuse_foreign_folder, whole_folder
from .auc import DeLong, delong
from .bootstrap import Estimate, Resampling
from .evaluation import judge_cohort, slides_to_evaluate
from .figures import resampling_of
from .judgement import Judgement
from .prediction import open_predictions
from .settings import EvaluateSettings
from .statistics import statistics_of

__all__ = ["Comparison", "Difference", "compare", "compare_cohort"]

logger = logging.getLogger(__name__)

STAGE = "compare"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of the first model less that of the second."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float | None
    """Two-sided, of no difference: twice the smaller share of paired resamples on either side of 0 (a resample at 0
    counts on both), at least 1 in so many; None without resamples."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the slides that both have in their figures."""

    names: tuple[str, str]
    differences: dict[str, Difference]
    """By the name of the figure."""
    delong: DeLong | None
    """Of the slide AUC; slides are taken as independent."""
    slides: tuple[str, ...]
    left_out: tuple[str, ...]
    """Slides that one of the two cannot be scored on."""
    resampling: Resampling

    @property
    def metrics(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "names": list(self.names),
            "differences": {name: asdict(one) for name, one in self.differences.items()},
            "slide_auc_delong": None if self.delong is None else asdict(self.delong),
            "slides": list(self.slides),
            "left_out": list(self.left_out),
            "bootstrap": {"resamples": len(self.resampling.weights), "unit": self.resampling.unit},
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
    first: Sequence[Judgement], second: Sequence[Judgement], settings: EvaluateSettings, *, names: tuple[str, str]
) -> Comparison:
    """Judgements of one cohort by two models, paired by slide; every resample draws the same slides for both.

    Raises:
        ScoreError: no slide that both can be scored on.
    """
    others = {j.slide.id: j for j in second if j.in_figures}
    pairs = [(j, others[j.slide.id]) for j in first if j.in_figures and j.slide.id in others]
    if not pairs:
        raise ScoreError(f"{names[0]} and {names[1]} have no slide in common that can be scored; nothing to compare")
    ones, twos = [a for a, _ in pairs], [b for _, b in pairs]
    resampling = resampling_of(ones, settings)
    found: dict[str, Difference] = {}
    for one, two in zip(statistics_of(ones, settings), statistics_of(twos, settings), strict=True):
        a, b = resampling.estimates(one), resampling.estimates(two)
        undefined = one.undefined or two.undefined
        for name in one.names if undefined else ():
            found[name] = Difference(
                first=a[name], second=b[name], difference=Estimate(value=None, undefined=undefined), p_value=None
            )
        if undefined:
            continue
        parts = [x - y for x, y in zip(resampling.resampled(one), resampling.resampled(two), strict=True)]
        for name, *column in zip(one.names, *(part.T for part in parts), strict=True):
            found[name] = Difference(
                first=a[name], second=b[name], difference=resampling.estimate(*column), p_value=_p_value(column[1])
            )
    used = {j.slide.id for j in ones}
    return Comparison(
        names=names,
        differences=found,
        delong=delong(_scores(ones), _is_tumor(ones), other=_scores(twos), confidence=settings.confidence),
        slides=tuple(j.slide.id for j in ones),
        left_out=tuple(sorted({j.slide.id for j in (*first, *second)} - used)),
        resampling=resampling,
    )


def _scores(slides: Sequence[Judgement]) -> np.ndarray:
    return np.array([j.score for j in slides], np.float64)


def _is_tumor(slides: Sequence[Judgement]) -> np.ndarray:
    return np.array([j.is_tumor for j in slides], bool)


def _p_value(differences: np.ndarray) -> float | None:
    kept = differences[~np.isnan(differences)]
    if not len(kept):
        return None
    smaller = min((kept <= 0).sum(), (kept >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (len(kept) + 1)))


def compare_cohort(
    cohort: Cohort,
    first: Path,
    second: Path,
    out: Path,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> Comparison:
    """Judge two sets of predictions of a cohort and write `comparison.json` and `comparison.csv` into out.

    Raises:
        SettingsError: no slides of that split, or out holds something else than a comparison.
        ScoreError: predictions that cannot be used, or no slide that both can be scored on.
    """
    slides = slides_to_evaluate(cohort, settings)
    if not slides:
        raise SettingsError(f"no slide of the cohort has split {settings.split!r}; an empty split takes every slide")
    refuse_foreign_folder(out)
    one, two = (
        judge_cohort(slides, open_predictions(path, cohort), settings, on_slide=on_slide) for path in (first, second)
    )
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    comparison = compare(one, two, settings, names=names)
    recipe = Recipe(
        stage=STAGE,
        settings=settings.model_dump(mode="json"),
        inputs={"first": str(first), "second": str(second)},
        made_with={"gigaslide": gigaslide_version()},
    )
    with whole_folder(out) as partial:
        text = json.dumps({**comparison.metrics, "settings": recipe.settings}, indent=1, allow_nan=False)
        (partial / "comparison.json").write_text(text, encoding="utf-8")
        comparison.table().to_csv(partial / "comparison.csv", index=False, lineterminator="\n")
        recipe.save(partial / "recipe.json")
    logger.info("%s: %d slides compared", out, len(comparison.slides))
    return comparison
