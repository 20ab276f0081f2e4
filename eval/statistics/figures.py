"""Figures of an evaluation, each with its interval: from all slides together, and for each value of
a cohort column, such as scanner or centre."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from ...cohort import CohortSlide
from ...storage import SettingsError, fold_name
from ...wsi import LESION_SIZES
from ..scoring.matching import PooledMatches, reaches
from ..scoring.slide_result import SlideResult
from ..settings import EvaluateSettings
from ..truth.measures import CLASSES
from .bootstrap import SLACK, Estimate, Resampling
from .froc import DEFINITIONS, OURS, Froc, froc_curve, resample_sensitivity
from .resampled import draw_resamples, list_statistics, pool_matches, pool_patches, pool_scores
from .scores import Calibration, Roc, calibration_curve, delong_interval, roc_curve

__all__ = [
    "Band",
    "Figures",
    "FrocFigures",
    "PrecisionRecall",
    "SizeCounts",
    "Subgroup",
    "check_columns",
    "compute_figures",
    "compute_subgroups",
]

OWN_COLUMNS = ("label", "patient", "split")


@dataclass(frozen=True, kw_only=True)
class FrocFigures:
    """A FROC curve by one definition, with intervals of its score and its sensitivities."""

    curve: Froc
    score: Estimate
    sensitivity: tuple[Estimate, ...]
    """At each rate of the curve."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """Pointwise interval of a FROC curve over rates (R,) of false positives per slide; NaN without
    an interval."""

    rates: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """Precision and recall at every threshold (T,), ascending; empty with one class only."""

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SizeCounts:
    """Lesions found and slides called, by size."""

    lesions: dict[str, tuple[int, int, int]]
    """By size: lesions; those with a detection; those with one of at least the slide threshold."""
    slides: np.ndarray
    """(4, 2) int64: slides by true class (`CLASSES`), score below and from the threshold on."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Every figure, with the number of slides, lesions and patches behind it."""

    estimates: dict[str, Estimate]
    """All that have an interval, by name."""
    froc: dict[str, FrocFigures]
    """By the name of the definition, `gigaslide` first."""
    patch_roc: Roc
    slide_roc: Roc
    slide_precision_recall: PrecisionRecall
    slide_calibration: Calibration
    patch_calibration: Calibration
    patch_average_precision: float | None
    sizes: SizeCounts
    froc_band: Band
    resampling: Resampling
    tumor_slides: int
    """Slides with a score and tumour."""
    normal_slides: int
    """Slides with a score and without tumour."""
    lesion_slides: int
    """Slides whose lesions are known, normal ones included."""
    lesion_slides_predicted: int
    """Lesion slides with a prediction; false positives per slide are divided by this number."""
    slides_without_prediction: int
    countable_lesions: int
    itc: int
    tumor_patches: int
    normal_patches: int

    @property
    def patch_auc(self) -> Estimate:
        return self.estimates["patch_auc"]

    @property
    def slide_auc(self) -> Estimate:
        return self.estimates["slide_auc"]


def compute_figures(results: Sequence[SlideResult], settings: EvaluateSettings) -> Figures:
    """Compute the figures of the slides that are in them, in any order."""
    slides = [result for result in results if result.in_figures]
    resampling = draw_resamples(slides, settings)
    estimates = estimate_all(slides, resampling, settings)
    scores, is_tumor = pool_scores(slides)
    patches, patch_is_tumor, _ = pool_patches(slides)
    matches, known = pool_matches(slides)
    bins = {"bins": settings.calibration_bins, "confidence": settings.confidence}
    patch_curve = _precision_recall(patches, patch_is_tumor)
    return Figures(
        estimates=estimates,
        froc=_froc(matches, estimates, settings),
        patch_roc=roc_curve(patches, patch_is_tumor, noun="patches"),
        slide_roc=roc_curve(scores, is_tumor, noun="slides"),
        slide_precision_recall=_precision_recall(scores, is_tumor),
        slide_calibration=calibration_curve(scores, is_tumor, **bins),
        patch_calibration=calibration_curve(patches, patch_is_tumor, **bins),
        patch_average_precision=_area(patch_curve) if len(patch_curve.threshold) else None,
        sizes=_count_sizes(slides),
        froc_band=_band(matches, resampling.weights[:, known], settings),
        resampling=resampling,
        tumor_slides=int(is_tumor.sum()),
        normal_slides=int((~is_tumor).sum()),
        lesion_slides=len(known),
        lesion_slides_predicted=int(matches.predicted.sum()),
        slides_without_prediction=sum(not result.is_predicted for result in slides),
        countable_lesions=matches.countable,
        itc=len(matches.best) - matches.countable,
        tumor_patches=int(patch_is_tumor.sum()),
        normal_patches=int((~patch_is_tumor).sum()),
    )


def estimate_all(
    slides: Sequence[SlideResult], resampling: Resampling, settings: EvaluateSettings
) -> dict[str, Estimate]:
    """Estimate every statistic; slide AUC has DeLong's interval where there are neither resamples
    nor patients."""
    found: dict[str, Estimate] = {}
    for statistic in list_statistics(slides, settings):
        found |= resampling.estimate_all(statistic)
    if not settings.resamples and resampling.unit == "slides":
        interval = delong_interval(*pool_scores(slides), confidence=settings.confidence)
        if interval is not None:
            low, high = interval
            found["slide_auc"] = replace(found["slide_auc"], low=low, high=high, method="DeLong")
    return found


def _froc(
    matches: PooledMatches, estimates: dict[str, Estimate], settings: EvaluateSettings
) -> dict[str, FrocFigures]:
    found: dict[str, FrocFigures] = {}
    for name, definition in DEFINITIONS.items():
        curve = froc_curve(matches, definition, rates=settings.false_positives_per_slide)
        found[name] = FrocFigures(
            curve=curve,
            score=replace(estimates[f"froc_{name}"], value=curve.score),
            sensitivity=tuple(
                replace(estimates[f"froc_{name}_at_{rate:g}"], value=value)
                for rate, value in zip_longest(curve.rates, curve.at_rates)
            ),
        )
    return found


def _precision_recall(scores: np.ndarray, is_tumor: np.ndarray) -> PrecisionRecall:
    if not is_tumor.any() or is_tumor.all():
        return PrecisionRecall(threshold=np.zeros(0), precision=np.zeros(0), recall=np.zeros(0))
    from sklearn.metrics import precision_recall_curve

    precision, recall, threshold = precision_recall_curve(is_tumor, scores)
    return PrecisionRecall(threshold=threshold, precision=precision[:-1], recall=recall[:-1])


def _area(curve: PrecisionRecall) -> float:
    return float((-np.diff(curve.recall, append=0.0) * curve.precision).sum())


def _count_sizes(slides: Sequence[SlideResult]) -> SizeCounts:
    counts: dict[str, Counter[str]] = {size: Counter() for size in LESION_SIZES}
    table = np.zeros((len(CLASSES), 2), np.int64)
    for result in slides:
        if result.true_class and result.score is not None:
            row = CLASSES.index(result.true_class)
            table[row, int(reaches(result.score, result.threshold))] += 1
        if result.lesions is None or result.matches is None:
            continue
        best = result.matches.best
        for size in LESION_SIZES:
            its = best[result.lesions.size == size]
            found = int((~np.isnan(its)).sum())
            called = int(reaches(its, result.threshold).sum())
            counts[size].update({"all": len(its), "found": found, "called": called})
    lesions = {size: (one["all"], one["found"], one["called"]) for size, one in counts.items()}
    return SizeCounts(lesions=lesions, slides=table)


def _band(matches: PooledMatches, weights: np.ndarray, settings: EvaluateSettings) -> Band:
    first, last = settings.false_positives_per_slide[0], settings.false_positives_per_slide[-1]
    rates = np.geomspace(first / 2, last * 1.25, 80)
    resampled = resample_sensitivity(matches, OURS, weights, rates=rates)
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    if not len(resampled):
        nothing = np.full(len(rates), np.nan)
        return Band(rates=rates, low=nothing, high=nothing)
    tails = [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2]
    ends = np.quantile(resampled, tails, axis=0)
    low, high = np.where(ends[1] - ends[0] > SLACK, ends, np.nan)
    return Band(rates=rates, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """Slides with one value of a column, resampled among themselves."""

    column: str
    value: str
    """Empty for slides without a value."""
    slides: int
    tumor_slides: int
    countable_lesions: int
    estimates: dict[str, Estimate]


def check_columns(cohort: Iterable[CohortSlide], settings: EvaluateSettings) -> None:
    """Refuse subgroups by columns that the cohort lacks.

    Raises:
        SettingsError: naming the missing columns and those there are.
    """
    known = dict.fromkeys([*OWN_COLUMNS, *(name for slide in cohort for name, _ in slide.further)])
    names = {fold_name(name) for name in known}
    missing = [name for name in settings.subgroups if fold_name(name) not in names]
    if missing:
        raise SettingsError(
            f"subgroups: the cohort has no column {', '.join(missing)}; there are "
            f"{', '.join(known)}"
        )


def compute_subgroups(
    results: Sequence[SlideResult], settings: EvaluateSettings
) -> tuple[Subgroup, ...]:
    """Compute the subgroups of every column in the settings, values in alphabetical order."""
    used = [result for result in results if result.in_figures]
    return tuple(
        _compute_subgroup(column, value, [r for r in used if _value(r, column) == value], settings)
        for column in settings.subgroups
        for value in sorted({_value(r, column) for r in used})
    )


def _value(result: SlideResult, column: str) -> str:
    slide, own = result.slide, fold_name(column)
    return getattr(slide, own) if own in OWN_COLUMNS else slide.column(column)


def _compute_subgroup(
    column: str, value: str, slides: Sequence[SlideResult], settings: EvaluateSettings
) -> Subgroup:
    return Subgroup(
        column=column,
        value=value,
        slides=len(slides),
        tumor_slides=sum(result.is_tumor for result in slides),
        countable_lesions=pool_matches(slides)[0].countable,
        estimates=estimate_all(slides, draw_resamples(slides, settings), settings),
    )
