"""Methods of a study, as text to quote: slides and splits, trainings, statistics."""

from collections.abc import Sequence
from typing import Any

from ..storage import format_count
from .data import StudyData
from .findings import Findings
from .kind import Study
from .settings import StudySettings
from .splits import Split
from .words import FIGURE_WORDS

__all__ = ["describe_methods"]


def describe_methods(
    study: Study[Any],
    findings: Findings,
    settings: StudySettings,
    data: StudyData,
    splits: Sequence[Split],
) -> str:
    """Tell in plain words how the study was made; text to quote."""
    material, trainings = study.methods(settings, data)
    slides = _describe_slides(settings, data, splits, material)
    return f"{slides} {trainings}{_describe_statistics(findings, settings)}"


def _describe_slides(
    settings: StudySettings, data: StudyData, splits: Sequence[Split], material: str
) -> str:
    tested = sum(len(split.test) for split in splits if split.repeat == 0)
    patients = format_count(
        len({p or i for p, i in zip(data.patients, data.ids, strict=True)}), "patient"
    )
    how = (
        "The slides of split test were tested and all others trained"
        if settings.folds == 1
        else f"{settings.folds}-fold cross-validation by patient"
        f"{f', repeated {settings.repeats} times,' if settings.repeats > 1 else ''} tested each "
        "slide once per repetition; the folds were made before any training, with the classes "
        "spread over them"
    )
    return (
        f"{format_count(len(data.ids), 'slide')} of {patients} were used, {tested} of them as test "
        f"slides, {material}. {how}. No patient was on both sides."
    )


def _describe_statistics(findings: Findings, settings: StudySettings) -> str:
    resampling = findings.resampling
    return (
        "Each figure is the mean over seeds of the figure on the pooled predictions for "
        f"the test slides. Its {settings.confidence:.0%} interval is a bootstrap over "
        f"{resampling.unit} ({settings.resamples} resamples, those with and without tumour drawn "
        "separately), with the seeds averaged inside each resample. The standard deviation over "
        "seeds is training noise (trained again, below all labels on another sample): it says "
        "nothing about other patients. Differences are paired: "
        "every resample draws the same patients for both. The primary figure, declared before the "
        f"study, is the {FIGURE_WORDS[settings.primary]}; its p-values are two-sided, from the "
        "paired bootstrap, adjusted by Holm's method for all comparisons of the study, with the "
        "corrected resampled t-test of Nadeau and Bengio beside them. All other figures are "
        "exploratory and have intervals only. With fewer than ten patients of a class no p-value "
        "is given."
    )
