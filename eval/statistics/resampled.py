"""Every figure that has an interval, as a function of which slides were drawn: vectorised, by
weights."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..pn_stage import Stages
from ..scoring.matching import Verdicts
from ..scoring.slide_result import Judgement, JudgementStatus, Patches
from ..scoring.threshold import reaches
from ..settings import EvaluateSettings
from .auc import Pairs
from .bootstrap import Statistic
from .froc import DEFINITIONS, undefined
from .froc_bootstrap import resampled_sensitivity
from .slide_level import Ranking

__all__ = [
    "official_gap",
    "pooled_patches",
    "pooled_verdicts",
    "scored",
    "stages_of",
    "statistics_of",
]


def statistics_of(
    slides: Sequence[Judgement],
    settings: EvaluateSettings,
    *,
    cohort: Sequence[Judgement] = (),
    gap: str = "",
) -> list[Statistic]:
    """All of them, of slides that are in the figures, in the order of the weights' columns.

    cohort are all slides, see `stages_of`; gap says why the official programs would give no score,
    see `official_gap`.
    """
    return [
        *_of_slides(slides, settings),
        *_of_patches(slides, settings),
        *(_of_froc(slides, name, settings, gap=gap) for name in DEFINITIONS),
        _of_stages(slides, cohort),
    ]


def official_gap(judgements: Sequence[Judgement]) -> str:
    """What ours counts and says, and the official programs take for an error; empty where nothing
    is amiss.

    What they leave out anyway, tumour outlined in part or not at all, they do not miss.
    """
    asked = [j for j in judgements if not j.is_unjudged]
    gaps = {
        "no predictions for": [
            j for j in asked if j.status in (JudgementStatus.MISSING, JudgementStatus.ABSENT)
        ],
        "no use of": [j for j in asked if j.status == JudgementStatus.FAILED],
        "detections outside": [j for j in asked if j.outside],
        "no level-5 mask of": [j for j in asked if j.truth is not None and j.truth.no_official],
    }
    found = [f"{words} {_some([j.slide.id for j in some])}" for words, some in gaps.items() if some]
    return f"{', '.join(found)}, which is an error in the official programs" if found else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _of_slides(slides: Sequence[Judgement], settings: EvaluateSettings) -> list[Statistic]:
    known = np.array([j.score is not None for j in slides], bool)
    scores, is_tumor = scored(slides)
    ranking = Ranking.of(scores, is_tumor)
    pairs = Pairs.of(scores, is_tumor, np.arange(len(scores)), slides=len(scores))
    one_class = _one_class(is_tumor, "slides")
    columns: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "slide_auc": pairs.auc,
        "slide_average_precision": ranking.average_precision,
    }
    for share in settings.specificities:
        columns[f"slide_sensitivity_at_specificity_{share:g}"] = lambda w, s=share: (
            ranking.sensitivity_at(s, w)
        )
    for share in settings.sensitivities:
        columns[f"slide_specificity_at_sensitivity_{share:g}"] = lambda w, s=share: (
            ranking.specificity_at(s, w)
        )
    threshold = settings.slide_threshold
    found = [
        _joined(columns, one_class),
        Statistic(
            names=("slide_sensitivity",),
            of=lambda w: ranking.rates_from(threshold, w)[0][:, None],
            undefined="" if is_tumor.any() else one_class,
        ),
        Statistic(
            names=("slide_specificity",),
            of=lambda w: ranking.rates_from(threshold, w)[1][:, None],
            undefined="" if (~is_tumor).any() else one_class,
        ),
        Statistic(
            names=("slide_brier",),
            of=lambda w: ranking.brier(w)[:, None],
            undefined="" if len(scores) else "no slides",
        ),
    ]
    return [replace(one, of=lambda w, of=one.of: of(w[:, known])) for one in found]


def scored(slides: Sequence[Judgement]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) float64 and truth (N,) bool of the slides that have a score; absent ones have
    none."""
    known = [j for j in slides if j.score is not None]
    return np.array([j.score for j in known], np.float64), np.array(
        [j.is_tumor for j in known], bool
    )


def _joined(columns: dict[str, Callable[[np.ndarray], np.ndarray]], undefined: str) -> Statistic:
    functions = list(columns.values())
    return Statistic(
        names=tuple(columns),
        of=lambda w: np.stack([of(w) for of in functions], axis=1),
        undefined=undefined,
    )


def _one_class(is_tumor: np.ndarray, noun: str) -> str:
    if not len(is_tumor):
        return f"no {noun}"
    if is_tumor.all() or not is_tumor.any():
        return f"only {'tumour' if is_tumor.all() else 'normal'} {noun}"
    return ""


def pooled_patches(slides: Sequence[Judgement]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), truth (N,) and slide index (N,) of every patch whose truth is known."""
    known = [(index, j.patches) for index, j in enumerate(slides) if j.patches is not None]
    scores = np.concatenate([np.zeros(0, np.float32), *(p.probability for _, p in known)])
    is_tumor = np.concatenate([np.zeros(0, bool), *(p.is_tumor for _, p in known)])
    return (
        scores,
        is_tumor,
        np.repeat([i for i, _ in known], [len(p.is_tumor) for _, p in known]).astype(np.int64),
    )


def _of_patches(slides: Sequence[Judgement], settings: EvaluateSettings) -> list[Statistic]:
    scores, is_tumor, slide = pooled_patches(slides)
    pairs = Pairs.of(scores, is_tumor, slide, slides=len(slides))
    one_class = _one_class(is_tumor, "patches")
    # Sums of each slide: what was drawn adds them up.
    sums = np.array(
        [_patch_sums(j.patches, settings.slide_threshold) for j in slides], np.float64
    ).reshape(-1, 6)

    def of(weights: np.ndarray) -> np.ndarray:
        count, error, tumor, called, normal, passed = (weights @ sums).T
        return np.stack(
            [_ratio(error, count), _ratio(called, tumor), _ratio(passed, normal)], axis=1
        )

    return [
        Statistic(names=("patch_auc",), of=lambda w: pairs.auc(w)[:, None], undefined=one_class),
        Statistic(
            names=("patch_brier", "patch_sensitivity", "patch_specificity"),
            of=of,
            undefined="" if len(scores) else "no patches",
        ),
    ]


def _patch_sums(patches: Patches | None, threshold: float) -> tuple[float, ...]:
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


def _ratio(of: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.divide(of, by, out=np.full(len(by), np.nan), where=by > 0)


def pooled_verdicts(slides: Sequence[Judgement], lesions: str) -> tuple[Verdicts, np.ndarray]:
    """Verdicts by those lesions ("gigaslide" or an official program), and the indices of the slides
    that have any."""
    of = [j.verdicts if lesions == "gigaslide" else j.official.get(lesions) for j in slides]
    known = [(index, verdicts) for index, verdicts in enumerate(of) if verdicts is not None]
    pooled = Verdicts.pooled(
        [v for _, v in known],
        is_normal=[not slides[index].is_tumor for index, _ in known],
        is_absent=[slides[index].is_absent for index, _ in known],
    )
    return pooled, np.array([index for index, _ in known], np.int64)


def _of_froc(
    slides: Sequence[Judgement], name: str, settings: EvaluateSettings, *, gap: str
) -> Statistic:
    definition, rates = DEFINITIONS[name], settings.false_positives_per_slide
    verdicts, known = pooled_verdicts(slides, definition.lesions)

    def of(weights: np.ndarray) -> np.ndarray:
        found = resampled_sensitivity(
            verdicts, definition, weights[:, known], rates=np.array(rates)
        )
        return np.concatenate([found.mean(axis=1, keepdims=True), found], axis=1)

    names = (f"froc_{name}", *(f"froc_{name}_at_{rate:g}" for rate in rates))
    is_official = definition.lesions != "gigaslide"
    return Statistic(
        names=names,
        of=of,
        undefined=(gap if is_official else "") or undefined(verdicts, definition),
    )


def stages_of(slides: Sequence[Judgement], cohort: Sequence[Judgement] = ()) -> Stages:
    """The stages of the patients of slides that are in the figures.

    cohort are all slides, these or not: a patient with one that is not among these has no stage,
    for what is on it may be the stage.
    """
    here = {(j.slide.patient, j.slide.id) for j in slides}
    elsewhere = [j.slide.patient for j in cohort if (j.slide.patient, j.slide.id) not in here]
    return Stages.of(
        [*(j.slide.patient for j in slides), *elsewhere],
        [*(j.true_class for j in slides), *[""] * len(elsewhere)],
        [*(j.predicted_class for j in slides), *[""] * len(elsewhere)],
    )


def _of_stages(slides: Sequence[Judgement], cohort: Sequence[Judgement]) -> Statistic:
    stages = stages_of(slides, cohort)
    return Statistic(
        names=("stage_kappa",), of=lambda w: stages.kappa(w)[:, None], undefined=stages.undefined
    )
