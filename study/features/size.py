"""The study of size: figures over the number of training slides."""

from collections.abc import Iterator, Sequence

from ...storage import format_count
from ..cell import ALL
from ..data import StudyData
from ..design import Design, list_sizes, make_design
from ..findings import Findings, PointFindings
from ..kind import Study
from ..settings import SizeSettings
from ..splits import Split
from .study_parts import (
    SAMPLES,
    describe_bag_learners,
    describe_features,
    describe_losses,
    describe_reach,
    describe_two_learners,
    find_feature_slides,
    make_feature_work,
    show_full,
)

__all__ = ["SIZE"]


def _design(settings: SizeSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    sizes = list_sizes(settings.slides, min(len(split.train) for split in splits))
    points = [
        (("learner", learner), ("slides", size)) for learner in settings.learners for size in sizes
    ]
    pairs = [
        ((("learner", learner), ("slides", ALL)), (("learner", learner), ("slides", size)))
        for learner in settings.learners
        for size in sizes
        if size != ALL
    ]
    return make_design(points, settings, pairs)


def _answer(findings: Findings, settings: SizeSettings) -> Iterator[str]:
    yield from show_full(findings, settings.primary, _name)
    goal = f"{settings.target:.0%} of its own with all slides"
    for reach in findings.reaches:
        yield describe_reach(reach, settings.primary, goal=goal, unit="training slide")
    yield from describe_losses([one for one in findings.comparisons if one.is_primary])


def _name(learner: str, point: PointFindings) -> str:
    slides = format_count(round(point.counts["train_slides"]), "training slide")
    return f"{learner} learner, all {slides}"


SIZE = Study(
    name="size",
    settings=SizeSettings,
    question="How many training slides are enough?",
    help="Measure what more training slides bring: both learners on 6, 12, 24 … slides.",
    axis_words="training slides",
    find_slides=find_feature_slides,
    design=_design,
    make_work=make_feature_work,
    describe_learners=describe_bag_learners,
    answer=_answer,
    methods=lambda settings, data: describe_features(
        data, describe_two_learners(settings) + SAMPLES
    ),
)
