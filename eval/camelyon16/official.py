"""The entry to the official programs: when they run, and what they say of a cohort."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...cohort import CohortSlide
from ..scoring.matching import PooledMatches, SlideMatches
from ..scoring.slide_result import Exclusion, SlideResult, SlideStatus
from ..settings import EvaluateSettings
from ..statistics.bootstrap import Estimate
from ..statistics.figures import FrocFigures
from ..statistics.froc import OURS, Froc, froc_curve
from ..statistics.resampled import draw_resamples
from .lesions import find_level_5, match_slide
from .programs import PROGRAMS, Program, official_curve, resample_readings

__all__ = ["OfficialFroc", "OfficialResult", "evaluate_official"]

CAMELYON16 = re.compile(r"(normal|tumor|test)_\d{3}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class OfficialFroc(FrocFigures):
    """Curve and score of one program, with percentile bootstrap intervals."""

    program: Program
    slides: int
    countable_lesions: int
    itc: int
    difference: str
    """Explanation of the difference from our score."""


@dataclass(frozen=True, kw_only=True)
class OfficialResult:
    """Results of both programs, by name."""

    programs: Mapping[str, OfficialFroc]
    exclusions: tuple[Exclusion, ...] = ()
    """Slides without a level 5."""
    notes: tuple[str, ...] = ()
    """Detections over which a program would end with an error."""


def evaluate_official(
    results: Sequence[SlideResult], settings: EvaluateSettings
) -> OfficialResult | None:
    """Score all slides as the official programs do.

    None where the settings do not ask for it and the slides are not CAMELYON16's. What the
    programs take for an error leaves their scores undefined.
    """
    if not _is_asked([result.slide for result in results], settings):
        return None
    used = [result for result in results if result.in_figures]
    matched: dict[str, list[SlideMatches]] = {name: [] for name in PROGRAMS}
    columns, excluded, notes = [], [], []
    for column, result in enumerate(used):
        if result.matches is None or result.truth is None or result.detections is None:
            continue
        level = None
        if result.truth.lesions is not None:
            level = find_level_5(result, result.truth, settings)
        if isinstance(level, str):
            slide, figures = result.slide.id, "official FROC"
            excluded.append(
                Exclusion(slide=slide, kind="slide", excluded_from=figures, reason=level)
            )
            continue
        columns.append(column)
        for program, matches, note in match_slide(result, result.detections, level):
            matched[program.name].append(matches)
            notes += [note] if note else []
    gap = _describe_gap(results, [one.slide for one in excluded])
    programs = {
        name: _evaluate(PROGRAMS[name], matches, used, columns, settings, gap=gap)
        for name, matches in matched.items()
    }
    return OfficialResult(programs=programs, exclusions=tuple(excluded), notes=tuple(notes))


def _is_asked(slides: Sequence[CohortSlide], settings: EvaluateSettings) -> bool:
    if settings.official is not None:
        return settings.official
    return bool(slides) and all(CAMELYON16.fullmatch(slide.id) for slide in slides)


def _describe_gap(results: Sequence[SlideResult], without_level_5: Sequence[str]) -> str:
    """Describe input that the programs treat as an error; empty if there is none. Slides whose
    tumour is not all outlined are not expected by them."""
    asked = [result for result in results if result.is_outlined]
    unpredicted = (SlideStatus.NOT_EVALUABLE, SlideStatus.NO_PREDICTION)
    gaps = {
        "no predictions for": [r.slide.id for r in asked if r.status in unpredicted],
        "no use of": [r.slide.id for r in asked if r.status == SlideStatus.FAILED],
        "detections outside": [r.slide.id for r in asked if r.outside],
        "no level-5 mask of": without_level_5,
    }
    found = []
    for words, names in gaps.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        found += [f"{words} {', '.join(names[:3])}{more}"] if names else []
    return f"{', '.join(found)}, an error in the official programs" if found else ""


def _evaluate(
    program: Program,
    slides: Sequence[SlideMatches],
    used: Sequence[SlideResult],
    columns: Sequence[int],
    settings: EvaluateSettings,
    *,
    gap: str,
) -> OfficialFroc:
    """Evaluate slides with these columns among the used ones; gap leaves the score undefined."""
    rates, known = settings.false_positives_per_slide, [used[column] for column in columns]
    matches, ours = _pool(slides, known), _pool([r.matches for r in known if r.matches], known)
    curve = Froc.empty(rates, gap) if gap else official_curve(matches, program, rates=rates)
    estimates = [Estimate(value=None, undefined=curve.undefined)] * (1 + len(rates))
    if not curve.undefined:
        resampling = draw_resamples(used, settings)
        draws = resample_readings(matches, program, resampling.weights[:, columns], rates=rates)
        draws = np.concatenate([draws.mean(axis=1, keepdims=True), draws], axis=1)
        values = [np.mean(curve.at_rates), *curve.at_rates]
        estimates = [resampling.estimate(*one) for one in zip(values, draws.T, strict=True)]
    return OfficialFroc(
        program=program,
        curve=curve,
        score=estimates[0],
        sensitivity=tuple(estimates[1:]),
        slides=int(matches.predicted.sum()),
        countable_lesions=matches.countable,
        itc=len(matches.best) - matches.countable,
        difference=_describe_difference(curve, matches, ours),
    )


def _pool(slides: Sequence[SlideMatches], results: Sequence[SlideResult]) -> PooledMatches:
    return PooledMatches.pool(
        slides,
        is_normal=[not result.is_tumor for result in results],
        is_predicted=[result.is_predicted for result in results],
    )


def _describe_difference(curve: Froc, matches: PooledMatches, ours: PooledMatches) -> str:
    score = froc_curve(ours, OURS, rates=curve.rates).score
    if curve.score is None or score is None:
        return f"Not defined: {curve.undefined or 'our score is not'}."
    whole = curve.score - score
    by_lesions = (froc_curve(matches, OURS, rates=curve.rates).score or 0.0) - score
    return (
        f"{whole:+.3f} from ours: {by_lesions:+.3f} by its lesions ({matches.countable} countable, "
        f"ours {ours.countable}), {whole - by_lesions:+.3f} by its operating points and reading."
    )
