"""The same figures for each value of a cohort column: scanner, centre, whatever the table tells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...cohort import CohortSlide
from ...storage import SettingsError
from ..scoring.slide_result import Judgement
from ..settings import EvaluateSettings
from .bootstrap import Estimate
from .figures import resampling_of
from .resampled import official_gap, pooled_verdicts, statistics_of

__all__ = ["Subgroup", "check_columns", "subgroups_of"]


OWN_COLUMNS = ("label", "patient", "split")


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """Slides with one value of a column; drawn among themselves for the intervals."""

    column: str
    value: str
    """Empty: the slides of which the table does not say it."""
    slides: int
    tumor_slides: int
    countable_lesions: int
    estimates: dict[str, Estimate]


def check_columns(cohort: Iterable[CohortSlide], settings: EvaluateSettings) -> None:
    """Refuse columns that the cohort has not.

    Raises:
        SettingsError: naming them, and those it has.
    """
    known = dict.fromkeys([*OWN_COLUMNS, *(name for slide in cohort for name, _ in slide.further)])
    missing = [name for name in settings.subgroups if name not in known]
    if missing:
        raise SettingsError(
            f"subgroups: the cohort has no column {', '.join(missing)}; there are "
            f"{', '.join(known)}"
        )


def subgroups_of(
    judgements: Sequence[Judgement], settings: EvaluateSettings
) -> tuple[Subgroup, ...]:
    """Subgroups by every column asked for, values in alphabetical order."""
    used = [j for j in judgements if j.in_figures]
    return tuple(
        _subgroup(column, value, judgements, settings)
        for column in settings.subgroups
        for value in sorted({_value(j, column) for j in used})
    )


def _value(judgement: Judgement, column: str) -> str:
    return (
        getattr(judgement.slide, column)
        if column in OWN_COLUMNS
        else judgement.slide.column(column)
    )


def _subgroup(
    column: str, value: str, cohort: Sequence[Judgement], settings: EvaluateSettings
) -> Subgroup:
    judgements = [j for j in cohort if _value(j, column) == value]
    slides, patients = (
        [j for j in judgements if j.in_figures],
        {j.slide.patient for j in judgements},
    )
    theirs = [j for j in cohort if j.slide.patient in patients]  # wherever their slides are
    resampling = resampling_of(slides, settings)
    estimates: dict[str, Estimate] = {}
    for statistic in statistics_of(slides, settings, cohort=theirs, gap=official_gap(judgements)):
        estimates |= resampling.estimates(statistic)
    return Subgroup(
        column=column,
        value=value,
        slides=len(slides),
        tumor_slides=sum(j.is_tumor for j in slides),
        countable_lesions=pooled_verdicts(slides, "gigaslide")[0].countable,
        estimates=estimates,
    )
