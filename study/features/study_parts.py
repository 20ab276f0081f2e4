"""Parts that studies of two learners on frozen features share: slides, work, words."""

from collections.abc import Iterator, Sequence
from typing import Any

from ...cohort import Cohort
from ...storage import format_count
from ..data import FoundSlides, StudyData
from ..findings import Comparison, Findings
from ..kind import WorkPlace
from ..reaches import Reach
from ..settings import FeatureStudySettings
from ..weak.labels import leave_out_weak
from ..words import FIGURE_WORDS, describe_range, describe_test, show
from .slides import read_slides
from .work import CellWork

__all__ = [
    "describe_bag_learners",
    "describe_features",
    "describe_losses",
    "describe_reach",
    "describe_two_learners",
    "find_feature_slides",
    "make_feature_work",
    "show_full",
]

SAMPLES = (
    "Samples of labels were drawn at random, with the share of positives of the training side "
    "and at least one label of each class; a larger sample of a seed contains smaller ones. "
)
"""Way in which samples are drawn, to quote."""


def find_feature_slides(cohort: Cohort, settings: FeatureStudySettings) -> FoundSlides:
    """Read the slides, without those of quality weak, see `read_slides`."""
    return read_slides(leave_out_weak(cohort), settings)


def make_feature_work(settings: FeatureStudySettings, place: WorkPlace) -> CellWork:
    """Make the work of the cells."""
    folders = {name: path.absolute() for name, path in settings.feature_folders.items()}
    return CellWork(
        **place.fields,
        features=folders,
        train=place.train,
        learners=settings.learners_of_bags,
    )


def describe_bag_learners(settings: FeatureStudySettings) -> dict[str, Any]:
    """Settings of both learners, plain JSON."""
    learners = settings.learners_of_bags
    return {name: one.model_dump(mode="json") for name, one in learners.items()}


def describe_two_learners(settings: FeatureStudySettings) -> str:
    """Tell how both learners learn; text to quote."""
    way = (
        "gated attention over a slide's windows"
        if settings.pooling in (None, "attention")
        else f"a classifier of windows, pooled over a slide by {settings.pooling},"
    )
    return (
        f"The weak learner is {way} and learns from one label "
        "per slide; the strong learner is the same classifier on single windows and learns from a "
        "label per window; its score of a slide is the highest of its windows. A training makes "
        f"{format_count(settings.epochs, 'pass', 'passes')} over its slides or windows. "
    )


def describe_features(data: StudyData, learners: str) -> tuple[str, str]:
    """Methods of a study on features, see `Study.methods`."""
    return f"as frozen features of the encoder {data.encoder}", learners


def show_full(findings: Findings, figure: str, name: Any) -> Iterator[str]:
    """Yield a figure of each point with all labels and slides; name: words for such a point."""
    for one in findings.points:
        if one.is_full:
            estimate = one.estimates.get(figure)
            text = "not known: no training finished" if estimate is None else show(estimate)
            learner = str(one.point[0][1])
            words = name(learner.capitalize(), one) if one.counts else learner.capitalize()
            yield f"{words}: {FIGURE_WORDS[figure]} {text}."


def describe_reach(reach: Reach, figure: str, *, goal: str, unit: str) -> str:
    """Tell with how many labels or slides a learner reaches a target; goal: words for it."""
    goal = f"{goal}, {reach.target:.3f}"
    number, words = reach.number, FIGURE_WORDS[figure]
    subject = f"The {reach.learner} learner's {words}"
    if number.value is None:
        return f"{subject} does not reach {goal}."
    count = format_count(round(number.value), unit)
    note = f", {number.note}" if number.note else ""
    return f"{subject} reaches {goal}, with {count}{describe_range(number, '.0f')}{note}."


def describe_losses(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Tell the loss of every point, and where its interval contains 0."""
    for one in comparisons:
        loss = one.difference.difference
        if loss.value is None:
            continue
        learner, value = (part for _, part in one.second)
        at = f"{value:.0%} wrong labels" if isinstance(value, float) else f"{value} slides"
        test = f"; {describe_test(one)}" if describe_test(one) else ""
        size = f"{loss.value:.3f}{describe_range(loss, '.3f')}".replace("-", "\N{MINUS SIGN}")
        holds = loss.low is not None and loss.low <= 0
        note = ". The interval contains 0: no loss was shown" if holds else ""
        figure = FIGURE_WORDS[one.figure]
        yield f"Loss of {figure} of the {learner} learner with {at}: {size}{test}{note}."
