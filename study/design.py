"""Design of each study: its question, its points and cells, and the pairs that it compares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .cell import ALL, Axis, Cell
from .curriculum.settings import CurriculumSettings
from .data import StudyData
from .finetune.settings import RANDOM, FinetuneSettings
from .settings import (
    LabelsSettings,
    Learner,
    NoiseSettings,
    SampledSettings,
    SizeSettings,
    StudySettings,
    TransferSettings,
    WeakSettings,
)
from .splits import Split

__all__ = ["STUDIES", "Design", "Point", "Study", "design_study"]

FINE_TUNED, STRONG_ONLY, WEAK_ONLY = "fine-tuned", "strong-only", "weak-only"

SMALLEST = 6
Point = tuple[tuple[str, Axis], ...]
"""Axes of cells that differ in repeat, fold and seed only."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One kind of study, in words."""

    name: str
    settings: type[StudySettings]
    question: str
    axis_words: str
    """Quantity that the study varies besides the learner, in words."""
    material: str = "features of"
    """Words before the name of the encoder, or of what the learners see instead."""


STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Study(
            name="labels",
            settings=LabelsSettings,
            question="Must an expert outline the tumour, or is it enough to say which slides have "
            "tumour?",
            axis_words="labels",
        ),
        Study(
            name="size",
            settings=SizeSettings,
            question="How many training slides are enough?",
            axis_words="training slides",
        ),
        Study(
            name="noise",
            settings=NoiseSettings,
            question="How many wrong labels can a training tolerate?",
            axis_words="share of wrong labels",
        ),
        Study(
            name="transfer",
            settings=TransferSettings,
            question="Which encoder's frozen features suit these slides?",
            axis_words="encoder",
        ),
        Study(
            name="weak",
            settings=WeakSettings,
            question="Do weak labels, which cost no expert's time, spare strong outlines?",
            axis_words="slides with strong outlines",
        ),
        Study(
            name="curriculum",
            settings=CurriculumSettings,
            question="Does a training that begins with patches of tumour learn whole slides sooner "
            "or better?",
            axis_words="optimiser steps",
            material="pictures at",
        ),
        Study(
            name="finetune",
            settings=FinetuneSettings,
            question="Which weights should a network begin with on these slides?",
            axis_words="start",
            material="patches of",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a study will train and compare."""

    study: Study
    points: tuple[Point, ...]
    seeds: Mapping[Point, int]
    pairs: tuple[tuple[Point, Point], ...]
    """Points compared: the family of tests of the primary figure."""
    summaries: Mapping[Point, tuple[Point, ...]] = field(default_factory=dict)
    """Points whose figures are means over the trainings of several others, and these others."""

    def cells(self, splits: Sequence[Split]) -> list[Cell]:
        """List every cell, the first seed of every point first: a study that was stopped has whole
        seeds to show."""
        return [
            Cell(axes=point, repeat=split.repeat, fold=split.fold, seed=seed)
            for seed in range(max(self.seeds.values()))
            for point in self.points
            for split in splits
            if seed < self.seeds[point]
        ]


def design_study(settings: StudySettings, data: StudyData, splits: Sequence[Split]) -> Design:
    """Lay out the points, seeds and comparisons of a study, by the class of its settings."""
    if isinstance(settings, LabelsSettings):
        return _design_labels(settings, data, splits)
    if isinstance(settings, SizeSettings):
        return _design_size(settings, splits)
    if isinstance(settings, NoiseSettings):
        return _design_noise(settings)
    if isinstance(settings, WeakSettings):
        return _design_weak(settings, splits)
    if isinstance(settings, TransferSettings):
        return _design_transfer(settings)
    if isinstance(settings, CurriculumSettings):
        return _design_curriculum(settings)
    if isinstance(settings, FinetuneSettings):
        return _design_finetune(settings)
    raise TypeError(f"no study has settings {type(settings).__name__}")


def _design_labels(settings: LabelsSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    slides = min(len(split.train) for split in splits)
    windows = min(
        data.count_windows([data.places[name] for name in split.train]) for split in splits
    )
    sizes: dict[Learner, list[int | str]] = {
        "weak": _sizes(settings.weak_labels, slides),
        "strong": _sizes(settings.strong_labels, windows),
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
    return _make("labels", points, settings, pairs)


def _design_size(settings: SizeSettings, splits: Sequence[Split]) -> Design:
    sizes = _sizes(settings.slides, min(len(split.train) for split in splits))
    points = [
        (("learner", learner), ("slides", size)) for learner in settings.learners for size in sizes
    ]
    pairs = [
        ((("learner", learner), ("slides", ALL)), (("learner", learner), ("slides", size)))
        for learner in settings.learners
        for size in sizes
        if size != ALL
    ]
    return _make("size", points, settings, pairs)


def _design_noise(settings: NoiseSettings) -> Design:
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
    return _make("noise", points, settings, pairs)


def _design_weak(settings: WeakSettings, splits: Sequence[Split]) -> Design:
    sizes = _sizes(settings.slides, min(len(split.train) for split in splits))
    weak: Point = (("learner", WEAK_ONLY), ("slides", 0))
    by_size: list[tuple[Point, Point]] = [
        (
            (("learner", FINE_TUNED), ("slides", size)),
            (("learner", STRONG_ONLY), ("slides", size)),
        )
        for size in sizes
    ]
    tuned, scratch = zip(*by_size, strict=True)
    return _make("weak", [weak, *scratch, *tuned], settings, [*by_size, (tuned[-1], weak)])


def _design_transfer(settings: TransferSettings) -> Design:
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
    return _make("transfer", points, settings, pairs)


def _design_curriculum(settings: CurriculumSettings) -> Design:
    def at(learner: str, augmentation: str) -> Point:
        return ("learner", learner), ("augmentation", augmentation)

    first, *others = settings.augmentation
    learners = ("curriculum", "whole")
    points = [at(learner, one) for one in settings.augmentation for learner in learners]
    pairs = [(at(learners[0], one), at(learners[1], one)) for one in settings.augmentation]
    pairs += [(at(learner, one), at(learner, first)) for learner in learners for one in others]
    return _make("curriculum", points, settings, pairs)


def _design_finetune(settings: FinetuneSettings) -> Design:
    def at(start: str, freeze: str, rate: float | str) -> Point:
        return ("learner", start), ("freeze", freeze), ("rate", rate)

    scenarios = [(freeze, rate) for freeze in settings.freeze for rate in settings.learning_rates]
    starts = (*settings.starts, RANDOM)
    summaries = {at(one, ALL, ALL): tuple(at(one, *two) for two in scenarios) for one in starts}
    first, *others = summaries
    points = [point for members in summaries.values() for point in members]
    design = _make("finetune", points, settings, [(first, one) for one in others])
    return replace(design, summaries=summaries)


def _sizes(given: Sequence[int], most: int) -> list[int | str]:
    """Sizes below all, and all; a size close to all says nothing new."""
    if given:
        return [*(size for size in given if size < most), ALL]
    return [*_double(SMALLEST, most), ALL]


def _double(first: int, most: int) -> Iterator[int]:
    size = first
    while size < 0.75 * most:
        yield size
        size *= 2


def _make(
    name: str,
    points: Sequence[Point],
    settings: StudySettings,
    pairs: Sequence[tuple[Point, Point]],
) -> Design:
    def count(point: Point) -> int:
        if isinstance(settings, SampledSettings):
            size = point[1][1]
            return settings.count_seeds(size if isinstance(size, int) else ALL)
        return settings.seeds

    return Design(
        study=STUDIES[name],
        points=tuple(points),
        seeds={point: count(point) for point in points},
        pairs=tuple(pairs),
    )
