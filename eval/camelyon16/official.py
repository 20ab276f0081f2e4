"""The entry to the official programs: when they run, and what they say of a cohort."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...cohort import CohortSlide
from ..scoring.exclusions import Exclusion
from ..scoring.matching import PooledMatches, SlideMatches
from ..scoring.slide_result import SlideResult, SlideStatus
from ..settings import EvaluateSettings
from ..statistics.bootstrap import Estimate
from ..statistics.figures import FrocFigures
from ..statistics.froc import OURS, Froc, froc_curve
from ..statistics.resampled import draw_resamples
from .lesions import ProgramMatches, find_level_5, match_slide
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
    """Slides without a level 5; those without a prediction, which a program leaves out."""
    notes: tuple[str, ...] = ()
    """Detections in their slides over which a program would end with an error."""


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
    matched: dict[str, dict[int, ProgramMatches]] = {name: {} for name in PROGRAMS}
    excluded = []
    for column, result in enumerate(used):
        if result.matches is None or result.truth is None or result.detections is None:
            continue
        level = None
        if result.truth.lesions is not None:
            level = find_level_5(result, result.truth, settings)
        if isinstance(level, str):
            excluded.append(_exclude(result, "official FROC", level))
            continue
        for one in match_slide(result, result.detections, level):
            if result.is_predicted or one.program.needs_every_slide:
                matched[one.program.name][column] = one
            else:
                figures = f"official FROC by {one.program.name}"
                excluded.append(_exclude(result, figures, f"{result.reason}; it is left out"))
    without_level_5 = [one.slide for one in excluded if one.excluded_from == "official FROC"]
    programs = {
        name: _evaluate(
            PROGRAMS[name],
            {column: one.matches for column, one in found.items()},
            used,
            settings,
            gap=_describe_gap(PROGRAMS[name], results, without_level_5, list(found.values())),
        )
        for name, found in matched.items()
    }
    notes = [one.note for found in matched.values() for one in found.values() if one.note]
    return OfficialResult(programs=programs, exclusions=tuple(excluded), notes=tuple(notes))


def _exclude(result: SlideResult, figures: str, reason: str) -> Exclusion:
    return Exclusion(slide=result.slide.id, kind="slide", excluded_from=figures, reason=reason)


def _is_asked(slides: Sequence[CohortSlide], settings: EvaluateSettings) -> bool:
    if settings.official is not None:
        return settings.official
    return bool(slides) and all(CAMELYON16.fullmatch(slide.id) for slide in slides)


def _describe_gap(
    program: Program,
    results: Sequence[SlideResult],
    without_level_5: Sequence[str],
    found: Sequence[ProgramMatches],
) -> str:
    """Describe input over which a program ends with an error; empty if there is none. Slides whose
    tumour is not all outlined are not expected by it."""
    asked = [result for result in results if result.is_outlined]
    unpredicted = (SlideStatus.NOT_EVALUABLE, SlideStatus.NO_PREDICTION)
    expected = [r.slide.id for r in asked if r.status in unpredicted]
    gaps = {
        "no predictions for": expected if program.needs_every_slide else [],
        "no use of": [r.slide.id for r in asked if r.status == SlideStatus.FAILED],
        "": [one.error for one in found if one.error],
        "no level-5 mask of": without_level_5,
    }
    parts = []
    for words, names in gaps.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts += [f"{words} {', '.join(names[:3])}{more}".lstrip()] if names else []
    return f"{', '.join(parts)}, an error in {program.name}" if parts else ""


def _evaluate(
    program: Program,
    by_column: Mapping[int, SlideMatches],
    used: Sequence[SlideResult],
    settings: EvaluateSettings,
    *,
    gap: str,
) -> OfficialFroc:
    """Evaluate slides by their column among the used ones; gap leaves the score undefined."""
    columns, rates = list(by_column), settings.false_positives_per_slide
    known = [used[column] for column in columns]
    matches, ours = (
        _pool(list(by_column.values()), known),
        _pool([r.matches for r in known if r.matches], known),
    )
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
