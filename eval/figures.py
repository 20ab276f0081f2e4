"""The figures of an evaluation: patch AUC, slide AUC and FROC of all slides together, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .auc import Pairs, Roc, roc
from .bootstrap import Estimate, Resampling, estimate
from .froc import DEFINITIONS, Froc, froc_curve, resampled_sensitivity
from .judgement import Judgement, Patches
from .settings import EvaluateSettings
from .verdicts import Verdicts

__all__ = ["Band", "Figures", "FrocFigures", "figures_of"]


@dataclass(frozen=True, kw_only=True)
class FrocFigures:
    """A FROC curve by one definition, its score and its sensitivities; intervals where the definition allows them."""

    curve: Froc
    score: Estimate
    sensitivity: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True)
class Band:
    """Pointwise interval of a FROC curve over rates (R,) of false positives per slide; NaN where there is none."""

    rates: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Every figure, and how many of what it rests on."""

    patch_auc: Estimate
    slide_auc: Estimate
    froc: dict[str, FrocFigures]
    """By the name of the definition, `gigaslide` first."""
    patch_roc: Roc
    slide_roc: Roc
    froc_band: Band
    resampling: Resampling
    tumor_slides: int
    normal_slides: int
    lesion_slides: int
    """Slides whose lesions are known, normal ones included: those that FROC and patch AUC speak of."""
    countable_lesions: int
    itc: int
    tumor_patches: int
    normal_patches: int


def figures_of(judgements: Sequence[Judgement], settings: EvaluateSettings) -> Figures:
    """Figures of the slides that are in them, in any order."""
    slides = [j for j in judgements if j.in_figures]
    is_tumor = np.array([j.is_tumor for j in slides], bool)
    resampling = Resampling.draw(
        [j.slide.id for j in slides],
        [j.slide.patient for j in slides],
        is_tumor,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    scores = np.array([j.score for j in slides], np.float64)
    patches = [j.patches for j in slides]
    slide_roc, slide_auc = _auc(scores, is_tumor, np.arange(len(slides)), "slides", resampling, settings)
    patch_roc, patch_auc = _auc(*_pooled(patches), "patches", resampling, settings)
    known = [(index, j.verdicts, not j.is_tumor) for index, j in enumerate(slides) if j.verdicts is not None]
    verdicts = Verdicts.pooled([v for _, v, _ in known], is_normal=[normal for _, _, normal in known])
    weights = resampling.weights[:, [index for index, _, _ in known]]
    return Figures(
        patch_auc=patch_auc,
        slide_auc=slide_auc,
        froc={name: _froc(verdicts, name, weights, settings) for name in DEFINITIONS},
        patch_roc=patch_roc,
        slide_roc=slide_roc,
        froc_band=_band(verdicts, weights, settings),
        resampling=resampling,
        tumor_slides=int(is_tumor.sum()),
        normal_slides=int((~is_tumor).sum()),
        lesion_slides=len(known),
        countable_lesions=verdicts.countable,
        itc=len(verdicts.best) - verdicts.countable,
        tumor_patches=sum(int(p.is_tumor.sum()) for p in patches if p),
        normal_patches=sum(int((~p.is_tumor).sum()) for p in patches if p),
    )


def _pooled(patches: list[Patches | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = [(index, p) for index, p in enumerate(patches) if p is not None]
    scores = np.concatenate([np.zeros(0, np.float32), *(p.probability for _, p in known)])
    is_tumor = np.concatenate([np.zeros(0, bool), *(p.is_tumor for _, p in known)])
    return scores, is_tumor, np.repeat([i for i, _ in known], [len(p.is_tumor) for _, p in known]).astype(np.int64)


def _auc(
    scores: np.ndarray,
    is_tumor: np.ndarray,
    slide: np.ndarray,
    noun: str,
    resampling: Resampling,
    settings: EvaluateSettings,
) -> tuple[Roc, Estimate]:
    curve = roc(scores, is_tumor, noun=noun)
    pairs = Pairs.of(scores, is_tumor, slide, slides=resampling.weights.shape[1])
    resampled = pairs.auc(resampling.weights)
    return curve, estimate(curve.auc, resampled, confidence=settings.confidence, undefined=curve.undefined)


def _froc(verdicts: Verdicts, name: str, weights: np.ndarray, settings: EvaluateSettings) -> FrocFigures:
    definition = DEFINITIONS[name]
    curve = froc_curve(verdicts, definition, rates=settings.false_positives_per_slide)
    values: tuple[float | None, ...] = curve.at_rates or (None,) * len(curve.rates)
    resampled = np.full((0, len(curve.rates)), np.nan)
    if definition.reading == "reachable" and not curve.undefined:
        resampled = resampled_sensitivity(verdicts, definition, weights, rates=np.array(curve.rates))

    def of(value: float | None, column: np.ndarray) -> Estimate:
        return estimate(value, column, confidence=settings.confidence, undefined=curve.undefined)

    return FrocFigures(
        curve=curve,
        score=of(curve.score, resampled.mean(axis=1)),
        sensitivity=tuple(of(value, column) for value, column in zip(values, resampled.T, strict=True)),
    )


def _band(verdicts: Verdicts, weights: np.ndarray, settings: EvaluateSettings) -> Band:
    rates = np.geomspace(settings.false_positives_per_slide[0] / 2, settings.false_positives_per_slide[-1] * 1.25, 80)
    resampled = resampled_sensitivity(verdicts, DEFINITIONS["gigaslide"], weights, rates=rates)
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    if not len(resampled):
        nothing = np.full(len(rates), np.nan)
        return Band(rates=rates, low=nothing, high=nothing)
    low, high = np.quantile(resampled, [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2], axis=0)
    return Band(rates=rates, low=low, high=high)
