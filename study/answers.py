"""The answer of a study, and its methods, in plain sentences."""

from collections.abc import Iterator, Sequence

from ..storage import format_count
from .curriculum.settings import CurriculumSettings
from .curriculum.words import answer_curriculum, describe_pictures, describe_trainings
from .data import StudyData
from .design import Design
from .findings import Comparison, Findings, PointFindings
from .finetune.settings import FinetuneSettings
from .finetune.words import answer_finetune, describe_fine_tuning
from .reaches import Reach
from .settings import (
    LabelsSettings,
    NoiseSettings,
    SampledSettings,
    StudySettings,
    WeakSettings,
)
from .splits import Split
from .weak.words import answer_weak, describe_weak_learners
from .words import FIGURE_WORDS, describe_differences, describe_range, describe_test, show

__all__ = ["answer", "expert_minutes", "methods"]

UNIT_WORDS = {"weak": "slide label", "strong": "window label"}


def answer(design: Design, findings: Findings, settings: StudySettings) -> tuple[str, ...]:
    """Answer a study's question in a few sentences, each figure with its interval."""
    if isinstance(settings, CurriculumSettings):
        return tuple(answer_curriculum(findings, settings))
    if isinstance(settings, FinetuneSettings):
        return tuple(answer_finetune(findings, settings))
    if isinstance(settings, WeakSettings):
        return tuple(answer_weak(findings, settings))
    return tuple(_sentences(design, findings, settings))


def _sentences(design: Design, findings: Findings, settings: StudySettings) -> Iterator[str]:
    figure = FIGURE_WORDS[settings.primary]
    full = [one for one in findings.points if one.is_full]
    for one in full:
        estimate = one.estimates.get(settings.primary)
        text = "not known: no training finished" if estimate is None else show(estimate)
        yield f"{_name_full(design, one)}: {figure} {text}."
    tested = [one for one in findings.comparisons if one.is_primary]
    if design.study.name == "labels":
        yield from describe_differences(tested[:1], "strong less weak")
    if design.study.name == "transfer":
        for one in tested:
            words = f"{one.first[0][1]} learner, {one.first[1][1]} less {one.second[1][1]}"
            yield from describe_differences([one], words)
    for reach in findings.reaches:
        yield _reach_sentence(reach, design, settings)
    if findings.ratio is not None:
        ratio = findings.ratio
        text = f"not defined, {ratio.undefined}"
        if ratio.value is not None:
            note = f", {ratio.note}" if ratio.note else ""
            text = f"{ratio.value:.1f}{describe_range(ratio, '.1f')}{note}"
        yield f"Window labels needed for each slide label: {text}."
    if design.study.name in ("size", "noise"):
        yield from _losses(tested)


def _name_full(design: Design, point: PointFindings) -> str:
    learner = str(point.point[0][1])
    if not point.counts:
        return learner.capitalize()
    if design.study.name == "transfer":
        return f"{learner.capitalize()} learner on features of {point.point[1][1]}"
    if design.study.name == "noise":
        return f"{learner.capitalize()} learner without wrong labels"
    if design.study.name == "size":
        slides = format_count(round(point.counts["train_slides"]), "training slide")
        return f"{learner.capitalize()} learner, all {slides}"
    labels = format_count(round(point.counts["labels"]), UNIT_WORDS[learner])
    return f"{learner.capitalize()} learner, all {labels}"


def _reach_sentence(reach: Reach, design: Design, settings: StudySettings) -> str:
    is_of_labels = design.study.name == "labels"
    unit = UNIT_WORDS[reach.learner] if is_of_labels else "training slide"
    share = settings.target if isinstance(settings, SampledSettings) else 1.0
    whose = "the strong learner's with all labels" if is_of_labels else "its own with all slides"
    goal = f"{share:.0%} of {whose}, {reach.target:.3f}"
    number, words = reach.number, FIGURE_WORDS[settings.primary]
    subject = f"The {reach.learner} learner's {words}"
    if number.value is None:
        return f"{subject} does not reach {goal}: {number.undefined}."
    count = format_count(round(number.value), unit)
    note = f", {number.note}" if number.note else ""
    return f"{subject} reaches {goal}, with {count}{describe_range(number, '.0f')}{note}."


def _losses(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Name the loss of every point whose interval is off 0, and say where none is."""
    worse = [
        one
        for one in comparisons
        if one.difference.difference.low is not None and one.difference.difference.low > 0
    ]
    if not worse and comparisons:
        yield "No loss has an interval that excludes 0."
    for one in worse:
        loss = one.difference.difference
        learner, value = (part for _, part in one.second)
        at = f"{value:.0%} wrong labels" if isinstance(value, float) else f"{value} slides"
        test = f"; {describe_test(one)}" if describe_test(one) else ""
        size = f"{loss.value:.3f}{describe_range(loss, '.3f')}"
        yield f"Loss of the {learner} learner with {at}: {size}{test}."


def expert_minutes(point: PointFindings, settings: LabelsSettings) -> float:
    """Time (min) that an expert needs for the labels of one training.

    Window labels are bought in the cheaper way: window by window, or by outlining the tumour of the
    slides that they come from.
    """
    counts = point.counts
    if point.point[0][1] == "weak":
        return counts["labels"] * settings.minutes_per_slide_label
    tumor = counts["train_tumor_slides"]
    normal = counts["train_slides"] - tumor
    outlines = tumor * settings.minutes_per_outline + normal * settings.minutes_per_slide_label
    return min(counts["labels"] * settings.minutes_per_window, outlines)


def methods(
    findings: Findings, settings: StudySettings, data: StudyData, splits: Sequence[Split]
) -> str:
    """Tell in plain words how the study was made; text to quote."""
    if isinstance(settings, CurriculumSettings):
        return (
            f"{_describe_slides(settings, data, splits, describe_pictures(settings, data))} "
            f"{describe_trainings(settings)} {_describe_statistics(findings, settings)}"
        )
    if isinstance(settings, FinetuneSettings):
        return (
            f"{_describe_slides(settings, data, splits, f'as patches of {data.encoder}')} "
            f"{describe_fine_tuning(settings)} {_describe_statistics(findings, settings)}"
        )
    samples = (
        "Samples of labels were drawn at random, with the share of positives of the training side "
        "and at least one label of each class; a larger sample of a seed contains smaller ones. "
        if isinstance(settings, SampledSettings)
        else "Wrong labels were drawn at random among both classes. "
        if isinstance(settings, NoiseSettings)
        else "All encoders saw the same windows. "
    )
    learners = (
        describe_weak_learners(settings)
        if isinstance(settings, WeakSettings)
        else "The weak learner is gated attention over a slide's windows and learns from one label "
        "per slide; the strong learner is the same classifier on single windows and learns from a "
        "label per window; its score of a slide is the highest of its windows. "
    )
    features = f"as frozen features of the encoder {data.encoder}"
    return (
        f"{_describe_slides(settings, data, splits, features)} {learners}"
        f"{samples}{_describe_statistics(findings, settings)}"
    )


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
