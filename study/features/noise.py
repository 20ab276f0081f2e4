"""The study of noise: figures over the share of wrong labels."""

from collections.abc import Iterator, Sequence

from ..data import StudyData
from ..design import Design, make_design
from ..findings import Findings
from ..kind import Study
from ..settings import NoiseSettings
from ..splits import Split
from .study_parts import (
    describe_bag_learners,
    describe_features,
    describe_losses,
    describe_two_learners,
    find_feature_slides,
    make_feature_work,
    show_full,
)

__all__ = ["NOISE"]

WRONG = "Wrong labels were drawn at random among both classes. "


def _design(settings: NoiseSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    points = [
        (("learner", learner), ("flipped", share))
        for learner in settings.learners
        for share in (0.0, *settings.flipped)
    ]
    pairs = [
        ((("learner", learner), ("flipped", 0.0)), (("learner", learner), ("flipped", share)))
        for learner in settings.learners
        for share in settings.flipped
    ]
    return make_design(points, settings, pairs)


def _answer(findings: Findings, settings: NoiseSettings) -> Iterator[str]:
    yield from show_full(
        findings, settings.primary, lambda learner, _: f"{learner} learner without wrong labels"
    )
    yield from describe_losses([one for one in findings.comparisons if one.is_primary])


NOISE = Study(
    name="noise",
    settings=NoiseSettings,
    question="How many wrong labels can a training tolerate?",
    help="Measure what wrong labels cost: both learners with a share of training labels flipped.",
    axis_words="share of wrong labels",
    find_slides=find_feature_slides,
    design=_design,
    make_work=make_feature_work,
    describe_learners=describe_bag_learners,
    answer=_answer,
    methods=lambda settings, data: describe_features(data, describe_two_learners(settings) + WRONG),
)
