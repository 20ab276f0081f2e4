"""Every figure that has an interval, as a function of how often each slide was drawn."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..scoring.matching import PooledMatches, reaches
from ..scoring.slide_result import Patches, SlideResult
from ..settings import EvaluateSettings
from .bootstrap import Resampling, Statistic
from .froc import DEFINITIONS, FrocDefinition, describe_undefined, resample_sensitivity
from .scores import Pairs, Ranking, describe_one_class

__all__ = ["draw_resamples", "list_statistics", "pool_matches", "pool_patches", "pool_scores"]


def draw_resamples(slides: Sequence[SlideResult], settings: EvaluateSettings) -> Resampling:
    """Draw the resamples behind every interval."""
    return Resampling.draw(
        [result.slide.id for result in slides],
        [result.slide.patient for result in slides],
        np.array([result.is_tumor for result in slides], bool),
        resamples=settings.resamples,
        seed=settings.seed,
        confidence=settings.confidence,
    )


def list_statistics(slides: Sequence[SlideResult], settings: EvaluateSettings) -> list[Statistic]:
    """List all statistics of slides in the figures, in the order of the weights' columns."""
    return [
        *_list_slide_statistics(slides, settings),
        *_list_patch_statistics(slides, settings),
        *(_froc_statistic(slides, one, settings) for one in DEFINITIONS.values()),
    ]


def pool_scores(slides: Sequence[SlideResult]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) float64 and truth (N,) bool of the slides that have a score."""
    known = [result for result in slides if result.score is not None]
    scores = np.array([result.score for result in known], np.float64)
    return scores, np.array([result.is_tumor for result in known], bool)


def pool_patches(slides: Sequence[SlideResult]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), truth (N,) and slide index (N,) of every patch whose truth is known."""
    known = [(index, r.patches) for index, r in enumerate(slides) if r.patches is not None]
    scores = np.concatenate([np.zeros(0, np.float32), *(p.probability for _, p in known)])
    is_tumor = np.concatenate([np.zeros(0, bool), *(p.is_tumor for _, p in known)])
    slide = np.repeat([index for index, _ in known], [len(p.is_tumor) for _, p in known])
    return scores, is_tumor, slide.astype(np.int64)


def pool_matches(slides: Sequence[SlideResult]) -> tuple[PooledMatches, np.ndarray]:
    """Matches of the slides whose lesions are known, and the indices of these slides."""
    known = [(index, r) for index, r in enumerate(slides) if r.matches is not None]
    pooled = PooledMatches.pool(
        [r.matches for _, r in known if r.matches is not None],
        is_normal=[not r.is_tumor for _, r in known],
        is_predicted=[r.is_predicted for _, r in known],
    )
    return pooled, np.array([index for index, _ in known], np.int64)


def _list_slide_statistics(
    slides: Sequence[SlideResult], settings: EvaluateSettings
) -> list[Statistic]:
    has_score = np.array([result.score is not None for result in slides], bool)
    scores, is_tumor = pool_scores(slides)
    ranking = Ranking.of(scores, is_tumor)
    pairs = Pairs.count(scores, is_tumor, np.arange(len(scores)), slides=len(scores))
    one_class = describe_one_class(is_tumor, "slides")
    threshold = np.array([r.threshold for r in slides if r.score is not None], np.float64)
    found = [
        _statistic("slide_auc", pairs.auc, one_class, has_bca=True),
        _statistic("slide_average_precision", ranking.average_precision, one_class),
        *(
            _statistic(
                f"slide_sensitivity_at_specificity_{share:g}",
                lambda w, s=share: ranking.sensitivity_at(s, w),
                one_class,
            )
            for share in settings.specificities
        ),
        *(
            _statistic(
                f"slide_specificity_at_sensitivity_{share:g}",
                lambda w, s=share: ranking.specificity_at(s, w),
                one_class,
            )
            for share in settings.sensitivities
        ),
        _statistic(
            "slide_sensitivity",
            lambda w: ranking.rates_from(threshold, w)[0],
            "" if is_tumor.any() else one_class,
        ),
        _statistic(
            "slide_specificity",
            lambda w: ranking.rates_from(threshold, w)[1],
            "" if (~is_tumor).any() else one_class,
        ),
        _statistic("slide_brier", ranking.brier, "" if len(scores) else "no slides"),
    ]
    return [replace(one, compute=lambda w, of=one.compute: of(w[:, has_score])) for one in found]


def _statistic(
    name: str,
    compute: Callable[[np.ndarray], np.ndarray],
    undefined: str,
    *,
    has_bca: bool = False,
) -> Statistic:
    """A statistic of one figure, weights (B, S) → (B,)."""
    return Statistic(
        names=(name,),
        compute=lambda w: compute(w)[:, None],
        undefined=undefined,
        has_bca=has_bca,
    )


def _list_patch_statistics(
    slides: Sequence[SlideResult], settings: EvaluateSettings
) -> list[Statistic]:
    scores, is_tumor, slide = pool_patches(slides)
    pairs = Pairs.count(scores, is_tumor, slide, slides=len(slides))
    sums = np.array([_sum_patches(r.patches, r.threshold) for r in slides], np.float64)
    sums = sums.reshape(-1, 6)

    def compute(weights: np.ndarray) -> np.ndarray:
        count, error, tumor, called, normal, passed = (weights @ sums).T
        ratios = [_ratio(error, count), _ratio(called, tumor), _ratio(passed, normal)]
        return np.stack(ratios, axis=1)

    return [
        _statistic("patch_auc", pairs.auc, describe_one_class(is_tumor, "patches"), has_bca=True),
        Statistic(
            names=("patch_brier", "patch_sensitivity", "patch_specificity"),
            compute=compute,
            undefined="" if len(scores) else "no patches",
        ),
    ]


def _sum_patches(patches: Patches | None, threshold: float) -> tuple[float, ...]:
    """Patches of a slide, their squared error, tumour, tumour called, normal, normal not called."""
    if patches is None:
        return (0.0,) * 6
    is_tumor, called = patches.is_tumor, reaches(patches.probability, threshold)
    error = ((patches.probability.astype(np.float64) - is_tumor) ** 2).sum()
    return (
        len(is_tumor),
        error,
        is_tumor.sum(),
        (called & is_tumor).sum(),
        (~is_tumor).sum(),
        (~called & ~is_tumor).sum(),
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _froc_statistic(
    slides: Sequence[SlideResult], definition: FrocDefinition, settings: EvaluateSettings
) -> Statistic:
    rates = settings.false_positives_per_slide
    matches, known = pool_matches(slides)

    def compute(weights: np.ndarray) -> np.ndarray:
        found = resample_sensitivity(matches, definition, weights[:, known], rates=np.array(rates))
        return np.concatenate([found.mean(axis=1, keepdims=True), found], axis=1)

    name = f"froc_{definition.name}"
    return Statistic(
        names=(name, *(f"{name}_at_{rate:g}" for rate in rates)),
        compute=compute,
        undefined=describe_undefined(matches, definition),
    )
