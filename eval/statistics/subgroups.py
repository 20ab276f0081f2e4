"""Figures for each value of a cohort column, such as scanner or centre."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...cohort import CohortSlide
from ...storage import SettingsError, fold_name
from ..scoring.slide_result import SlideResult
from ..settings import EvaluateSettings
from .bootstrap import Estimate
from .figures import estimate_all
from .resampled import draw_resamples, pool_matches

__all__ = ["Subgroup", "check_columns", "compute_subgroups"]

OWN_COLUMNS = ("label", "patient", "split")


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
        _compute(column, value, [r for r in used if _value(r, column) == value], settings)
        for column in settings.subgroups
        for value in sorted({_value(r, column) for r in used})
    )


def _value(result: SlideResult, column: str) -> str:
    slide, own = result.slide, fold_name(column)
    return getattr(slide, own) if own in OWN_COLUMNS else slide.column(column)


def _compute(
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
