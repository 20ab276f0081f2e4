"""The figures of an evaluation: what slides, patches, lesions and patients say together, each with
its interval."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from sklearn.metrics import precision_recall_curve

from ..pn_stage import CLASSES, Stages
from ..scoring.matching import Verdicts
from ..scoring.slide_result import Judgement
from ..scoring.threshold import reaches
from ..settings import EvaluateSettings
from ..truth.measures import SIZES
from .auc import DeLong, Roc, delong, roc
from .bootstrap import SLACK, Estimate, Resampling
from .froc import DEFINITIONS, Froc, froc_curve
from .froc_bootstrap import resampled_sensitivity
from .froc_definitions import difference_words
from .resampled import (
    official_gap,
    pooled_patches,
    pooled_verdicts,
    scored,
    stages_of,
    statistics_of,
)
from .slide_level import Calibration, calibration

__all__ = [
    "Band",
    "Figures",
    "FrocFigures",
    "PrecisionRecall",
    "SizeCounts",
    "figures_of",
    "resampling_of",
]


@dataclass(frozen=True, kw_only=True)
class FrocFigures:
    """A FROC curve by one definition, its score and its sensitivities; intervals where the
    definition allows them."""

    curve: Froc
    score: Estimate
    sensitivity: tuple[Estimate, ...]
    slides: int
    """With a prediction that can be judged."""
    countable_lesions: int
    itc: int
    difference: str = ""
    """Why the score is not ours, in a sentence; empty for ours."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """Pointwise interval of a FROC curve over rates (R,) of false positives per slide; NaN where
    draws tell none."""

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
    """What was found of each size."""

    lesions: dict[str, tuple[int, int, int]]
    """By size: lesions, of them found by any detection, of them found from the slide threshold on.
    """
    slides: np.ndarray
    """(4, 2) int64: slides by true class (`CLASSES`), and whether their score is below or from the
    threshold on."""
    classes: np.ndarray
    """(4, 4) int64: slides by true class and by the class of the largest predicted lesion; those
    that have both."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Every figure, and how many of what it rests on."""

    estimates: dict[str, Estimate]
    """All that have an interval, by name."""
    slide_delong: DeLong | None
    froc: dict[str, FrocFigures]
    """By the name of the definition, `gigaslide` first."""
    patch_roc: Roc
    slide_roc: Roc
    slide_precision_recall: PrecisionRecall
    slide_calibration: Calibration
    patch_calibration: Calibration
    patch_average_precision: float | None
    sizes: SizeCounts
    stages: Stages
    froc_band: Band
    resampling: Resampling
    tumor_slides: int
    """Those with a score: absent ones have none."""
    normal_slides: int
    lesion_slides: int
    """Slides whose lesions are known, normal and absent ones included: those that FROC speaks of.
    """
    absent_slides: int
    """Slides without predictions: in no slide figure, their lesions missed, no false positives
    divided by them."""
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


def resampling_of(slides: Sequence[Judgement], settings: EvaluateSettings) -> Resampling:
    """The draws behind every interval."""
    return Resampling.draw(
        [j.slide.id for j in slides],
        [j.slide.patient for j in slides],
        np.array([j.is_tumor for j in slides], bool),
        resamples=settings.resamples,
        seed=settings.seed,
        confidence=settings.confidence,
    )


def figures_of(judgements: Sequence[Judgement], settings: EvaluateSettings) -> Figures:
    """Figures of the slides that are in them, in any order."""
    slides = [j for j in judgements if j.in_figures]
    resampling = resampling_of(slides, settings)
    estimates: dict[str, Estimate] = {}
    gap = official_gap(judgements)
    for statistic in statistics_of(slides, settings, cohort=judgements, gap=gap):
        estimates |= resampling.estimates(statistic)
    scores, is_tumor = scored(slides)
    patches, patch_is_tumor, _ = pooled_patches(slides)
    verdicts, known = pooled_verdicts(slides, "gigaslide")
    bins = {"bins": settings.calibration_bins, "confidence": settings.confidence}
    recall = _precision_recall(patches, patch_is_tumor)
    return Figures(
        estimates=estimates,
        slide_delong=delong(scores, is_tumor, confidence=settings.confidence),
        froc=_froc(slides, estimates, settings, gap=gap),
        patch_roc=roc(patches, patch_is_tumor, noun="patches"),
        slide_roc=roc(scores, is_tumor, noun="slides"),
        slide_precision_recall=_precision_recall(scores, is_tumor),
        slide_calibration=calibration(scores, is_tumor, **bins),
        patch_calibration=calibration(patches, patch_is_tumor, **bins),
        patch_average_precision=_area(recall) if len(recall.threshold) else None,
        sizes=_sizes(slides, settings),
        stages=stages_of(slides, judgements),
        froc_band=_band(verdicts, resampling.weights[:, known], settings),
        resampling=resampling,
        tumor_slides=int(is_tumor.sum()),
        normal_slides=int((~is_tumor).sum()),
        lesion_slides=len(known),
        absent_slides=sum(j.is_absent for j in slides),
        countable_lesions=verdicts.countable,
        itc=len(verdicts.best) - verdicts.countable,
        tumor_patches=int(patch_is_tumor.sum()),
        normal_patches=int((~patch_is_tumor).sum()),
    )


def _froc(
    slides: Sequence[Judgement],
    estimates: dict[str, Estimate],
    settings: EvaluateSettings,
    *,
    gap: str,
) -> dict[str, FrocFigures]:
    found: dict[str, FrocFigures] = {}
    for name, definition in DEFINITIONS.items():
        verdicts, _ = pooled_verdicts(slides, definition.lesions)
        curve = froc_curve(verdicts, definition, rates=settings.false_positives_per_slide)
        if definition.lesions != "gigaslide" and gap:
            curve = curve.without(gap)
        ours = found["gigaslide"].curve if found else None
        found[name] = FrocFigures(
            curve=curve,
            score=_as_read(estimates[f"froc_{name}"], curve.score),
            sensitivity=tuple(
                _as_read(estimates[f"froc_{name}_at_{rate:g}"], value)
                for rate, value in zip_longest(curve.rates, curve.at_rates)
            ),
            slides=int(verdicts.is_predicted.sum()),
            countable_lesions=verdicts.countable,
            itc=len(verdicts.best) - verdicts.countable,
            difference=""
            if ours is None
            else difference_words(curve, ours, verdicts=verdicts, slides=slides),
        )
    return found


def _as_read(estimate: Estimate, value: float | None) -> Estimate:
    """The value as the curve itself is read, to the last digit."""
    return replace(estimate, value=value)


def _precision_recall(scores: np.ndarray, is_tumor: np.ndarray) -> PrecisionRecall:
    if not is_tumor.any() or is_tumor.all():
        return PrecisionRecall(threshold=np.zeros(0), precision=np.zeros(0), recall=np.zeros(0))
    precision, recall, threshold = precision_recall_curve(is_tumor, scores)
    return PrecisionRecall(threshold=threshold, precision=precision[:-1], recall=recall[:-1])


def _area(curve: PrecisionRecall) -> float:
    return float((-np.diff(curve.recall, append=0.0) * curve.precision).sum())


def _sizes(slides: Sequence[Judgement], settings: EvaluateSettings) -> SizeCounts:
    threshold = settings.slide_threshold
    counts: dict[str, Counter[str]] = {size: Counter() for size in SIZES}
    table, classes = np.zeros((len(CLASSES), 2), np.int64), np.zeros((len(CLASSES),) * 2, np.int64)
    for j in slides:
        if j.true_class:
            row = CLASSES.index(j.true_class)
            if j.score is not None:
                table[row, int(reaches(j.score, threshold))] += 1
            if j.predicted_class:
                classes[row, CLASSES.index(j.predicted_class)] += 1
        if j.lesions is None or j.verdicts is None:
            continue
        for size, best in zip(j.lesions.size.tolist(), j.verdicts.best.tolist(), strict=True):
            counts[size].update(
                {"all": 1, "any": int(best == best), "from": int(reaches(best, threshold))}
            )  # NaN: missed
    lesions = {size: (one["all"], one["any"], one["from"]) for size, one in counts.items()}
    return SizeCounts(lesions=lesions, slides=table, classes=classes)


def _band(verdicts: Verdicts, weights: np.ndarray, settings: EvaluateSettings) -> Band:
    rates = np.geomspace(
        settings.false_positives_per_slide[0] / 2, settings.false_positives_per_slide[-1] * 1.25, 80
    )
    resampled = resampled_sensitivity(verdicts, DEFINITIONS["gigaslide"], weights, rates=rates)
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    if not len(resampled):
        nothing = np.full(len(rates), np.nan)
        return Band(rates=rates, low=nothing, high=nothing)
    ends = np.quantile(
        resampled, [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2], axis=0
    )
    low, high = np.where(ends[1] - ends[0] > SLACK, ends, np.nan)
    return Band(rates=rates, low=low, high=high)
