"""The study of transfer: frozen features of several encoders."""

from collections.abc import Iterator, Sequence

from ..data import StudyData
from ..design import Design, make_design
from ..findings import Findings
from ..kind import Study
from ..settings import TransferSettings
from ..splits import Split
from ..words import describe_differences
from .study_parts import (
    describe_bag_learners,
    describe_features,
    describe_two_learners,
    find_feature_slides,
    make_feature_work,
    show_full,
)

__all__ = ["TRANSFER"]

SAME = "All encoders saw the same windows. "


def _design(settings: TransferSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    first, *others = settings.feature_folders
    points = [
        (("learner", learner), ("encoder", name))
        for learner in settings.learners
        for name in (first, *others)
    ]
    pairs = [
        ((("learner", learner), ("encoder", first)), (("learner", learner), ("encoder", name)))
        for learner in settings.learners
        for name in others
    ]
    return make_design(points, settings, pairs)


def _answer(findings: Findings, settings: TransferSettings) -> Iterator[str]:
    yield from show_full(
        findings,
        settings.primary,
        lambda learner, one: f"{learner} learner on features of {one.point[1][1]}",
    )
    for one in (one for one in findings.comparisons if one.is_primary):
        first, second = str(one.first[1][1]), str(one.second[1][1])
        at = f"{one.first[0][1]} learner" if len(settings.learners) > 1 else ""
        yield from describe_differences([one], first, second, at=at)


TRANSFER = Study(
    name="transfer",
    settings=TransferSettings,
    question="Which encoder's frozen features suit these slides?",
    help="Compare encoders by their frozen features of the same windows: pretrained or random, "
    "of this domain or another.\n\n"
    "Only the classifier on the features is trained, never the encoder.",
    axis_words="encoder",
    find_slides=find_feature_slides,
    design=_design,
    make_work=make_feature_work,
    describe_learners=describe_bag_learners,
    answer=_answer,
    methods=lambda settings, data: describe_features(data, describe_two_learners(settings) + SAME),
)
