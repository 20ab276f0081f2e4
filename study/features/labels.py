"""The study of labels: slide labels against outlines."""

from collections.abc import Iterator, Sequence

from ...storage import format_count
from ..cell import ALL
from ..data import StudyData
from ..design import Design, list_sizes, make_design
from ..findings import Findings, PointFindings
from ..kind import Study
from ..settings import LabelsSettings, Learner
from ..splits import Split
from ..words import describe_differences, describe_range
from .study_parts import (
    SAMPLES,
    describe_bag_learners,
    describe_features,
    describe_reach,
    describe_two_learners,
    find_feature_slides,
    make_feature_work,
    show_full,
)

__all__ = ["LABELS", "expert_minutes"]

UNIT_WORDS = {"weak": "slide label", "strong": "window label"}


def _design(settings: LabelsSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    slides = min(len(split.train) for split in splits)
    windows = min(
        data.count_windows([data.places[name] for name in split.train]) for split in splits
    )
    sizes: dict[Learner, list[int | str]] = {
        "weak": list_sizes(settings.weak_labels, slides),
        "strong": list_sizes(settings.strong_labels, windows),
    }
    points = [
        (("learner", learner), ("labels", size))
        for learner, found in sizes.items()
        for size in found
    ]
    shared = [size for size in sizes["weak"] if size in sizes["strong"]]
    # All labels first: the comparison that answers the question.
    order = [ALL, *(size for size in shared if size != ALL)]
    pairs = [
        ((("learner", "strong"), ("labels", size)), (("learner", "weak"), ("labels", size)))
        for size in order
    ]
    return make_design(points, settings, pairs)


def _answer(findings: Findings, settings: LabelsSettings) -> Iterator[str]:
    yield from show_full(findings, settings.primary, _name)
    tested = [one for one in findings.comparisons if one.is_primary]
    yield from describe_differences(tested[:1], "strong", "weak")
    goal = f"{settings.target:.0%} of the strong learner's with all labels"
    for reach in findings.reaches:
        unit = UNIT_WORDS[reach.learner]
        yield describe_reach(reach, settings.primary, goal=goal, unit=unit)
    if findings.ratio is not None:
        ratio = findings.ratio
        text = f"not defined, {ratio.undefined}"
        if ratio.value is not None:
            note = f", {ratio.note}" if ratio.note else ""
            text = f"{ratio.value:.1f}{describe_range(ratio, '.1f')}{note}"
        yield f"Window labels needed for each slide label: {text}."


def _name(learner: str, point: PointFindings) -> str:
    labels = format_count(round(point.counts["labels"]), UNIT_WORDS[learner.lower()])
    return f"{learner} learner, all {labels}"


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


LABELS = Study(
    name="labels",
    settings=LabelsSettings,
    question="Must an expert outline the tumour, or is it enough to say which slides have tumour?",
    help="Compare slide labels with outlines: a weak learner from m slide labels against a "
    "strong one from m window labels, on the same test slides.\n\n"
    "Both get the same frozen features. The figures are drawn over the number of labels and "
    "over the expert's time.",
    axis_words="labels",
    find_slides=find_feature_slides,
    design=_design,
    make_work=make_feature_work,
    describe_learners=describe_bag_learners,
    answer=_answer,
    methods=lambda settings, data: describe_features(
        data, describe_two_learners(settings) + SAMPLES
    ),
)
