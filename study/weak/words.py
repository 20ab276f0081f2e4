"""Answer and methods of a study of weak labels, in plain sentences."""

from collections.abc import Iterator, Sequence

from ...storage import format_count
from ..cell import ALL
from ..findings import Comparison, Findings, PointFindings
from ..reaches import Reach
from ..settings import FINE_TUNED, STRONG_ONLY, WEAK_ONLY, WeakSettings
from ..words import FIGURE_WORDS, describe_differences, describe_range, show

__all__ = ["answer_weak", "describe_weak_learners"]

NAMES = {
    WEAK_ONLY: "Weak labels only (weak-only)",
    STRONG_ONLY: "Strong labels only (strong-only)",
    FINE_TUNED: "Weak labels, then strong ones (fine-tuned)",
}


def answer_weak(findings: Findings, settings: WeakSettings) -> Iterator[str]:
    """Yield the sentences of the answer: all labels, differences at each number, targets."""
    figure = FIGURE_WORDS[settings.primary]
    for one in findings.points:
        if one.is_full:
            estimate = one.estimates.get(settings.primary)
            text = "not known: no training finished" if estimate is None else show(estimate)
            yield f"{_name(one)}: {figure} {text}."
    yield from _differences([one for one in findings.comparisons if one.is_primary])
    for reach in findings.reaches:
        yield _reach(reach, settings)


def _name(point: PointFindings) -> str:
    learner = str(dict(point.point)["learner"])
    if learner == WEAK_ONLY or not point.counts:
        return NAMES[learner]
    return f"{NAMES[learner]}, of all {format_count(round(point.counts['train_slides']), 'slide')}"


def _differences(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Tell what weak labels add to strong ones of so many slides, how these do against strong ones
    of all slides, and what strong ones add to weak ones."""
    for one in comparisons:
        first, second = dict(one.first), dict(one.second)
        tuned, other = "fine-tuned", str(second["learner"])
        slides = _slides(first["slides"])
        if second["slides"] not in (first["slides"], 0):
            tuned, other = f"{tuned} on {slides}", f"{other} on {_slides(second['slides'])}"
            slides = ""
        yield from describe_differences([one], tuned, other, at=slides)


def _slides(size: object) -> str:
    return "all slides" if size == ALL else f"{size} slides"


def _reach(reach: Reach, settings: WeakSettings) -> str:
    subject = f"{NAMES[reach.learner]}: the {FIGURE_WORDS[settings.primary]}"
    goal = f"{settings.target:.0%} of that of strong-only with all slides, {reach.target:.3f}"
    number = reach.number
    if number.value is None:
        return f"{subject} does not reach {goal}."
    count = format_count(round(number.value), "slide")
    note = f", {number.note}" if number.note else ""
    return f"{subject} reaches {goal}, with {count}{describe_range(number, '.0f')}{note}."


def describe_weak_learners(settings: WeakSettings) -> str:
    """Tell how the trainings were made; text to quote."""
    pooling = (
        "gated attention"
        if settings.pooling in (None, "attention")
        else f"a classifier pooled by {settings.pooling}"
    )
    source = (
        f"the scores that {pooling}, trained on the labels of all training slides, gives "
        f"their windows: those above {settings.score_above:g} on slides with tumour are tumour, "
        "and the highest one is in any case"
        if settings.source == "scores"
        else "the outlines of slides of quality weak, which are never tested; those of patients "
        "that are tested in a fold are left out there"
    )
    return (
        "All learners are one classifier of single windows, which learns from a label per window; "
        "its score of a slide is the highest of its windows. A training makes "
        f"{format_count(settings.epochs, 'pass', 'passes')} over its slides or windows. "
        "Weak-only learns from weak labels, "
        f"strong-only from outlines, starting from random weights. The weak labels are {source}. "
        "Fine-tuned starts from the weights of weak-only of the same fold and seed, and trains on "
        "the same slides and for as many steps as strong-only: for "
        f"{settings.frozen_share:.0%} of the steps its last layer only, then all layers at "
        f"{settings.unfrozen_rate:g} times the learning rate. "
    )
