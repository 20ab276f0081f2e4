"""The study of weak labels: weak ones alone, strong ones alone, weak ones and then strong ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from ..cell import Cell
from ..data import FoundSlides, StudyData
from ..design import Design, Point, list_sizes, make_design
from ..features.study_parts import SAMPLES, describe_features
from ..features.work import CellWork
from ..kind import Study, WorkPlace
from ..settings import FINE_TUNED, STRONG_ONLY, WEAK_ONLY, WeakSettings
from ..splits import Split
from .labels import (
    WEAK,
    WeakSet,
    WeakSlides,
    describe_weak_labels,
    draw_weak_set,
    hash_weak_set,
    read_weak_study,
)
from .words import answer_weak, describe_weak_learners

__all__ = ["WEAK_STUDY", "WeakWork"]


def _design(settings: WeakSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    sizes = list_sizes(settings.slides, min(len(split.train) for split in splits))
    weak: Point = (("learner", WEAK_ONLY), ("slides", 0))
    by_size: list[tuple[Point, Point]] = [
        (
            (("learner", FINE_TUNED), ("slides", size)),
            (("learner", STRONG_ONLY), ("slides", size)),
        )
        for size in sizes
    ]
    tuned, scratch = zip(*by_size, strict=True)
    against_all = [(one, scratch[-1]) for one in tuned[:-1]]
    pairs = [*by_size, *against_all, (tuned[-1], weak)]
    return make_design([weak, *scratch, *tuned], settings, pairs)


@dataclass(frozen=True, kw_only=True)
class WeakWork(CellWork):
    """Work of the cells of a study of weak labels."""

    weak: WeakSettings

    @cached_property
    def weak_data(self) -> StudyData | None:
        """Slides of quality weak, where the weak labels are theirs."""
        return StudyData.load(self.out, WEAK) if self.weak.source == "outlines" else None

    def knowing(self, slides: FoundSlides, splits: Sequence[Split]) -> Self:
        found = super().knowing(slides, splits)
        if isinstance(slides, WeakSlides):
            vars(found).update(weak_data=slides.weak)
        return found

    def describe_cell(self, cell: Cell) -> dict[str, Any]:
        if not _has_weak_labels(cell):
            return {}
        split = self.splits[cell.repeat, cell.fold]
        key = hash_weak_set(split, self.data, self.weak_data, self.weak)
        learner = {} if self.weak_data else self.learner_settings.get("weak", {})
        found = {**describe_weak_labels(self.weak), "key": key, "training": learner}
        if dict(cell.axes)["learner"] == FINE_TUNED:
            names = {"frozen_share", "unfrozen_rate"}
            found["tuning"] = self.weak.model_dump(mode="json", include=names)
        return {"weak": found}

    def draw_weak_set(self, cell: Cell, split: Split) -> WeakSet | None:
        if not _has_weak_labels(cell):
            return None
        folder = self.bags[cell.encoder]
        return draw_weak_set(split, self.data, self.weak_data, self.weak, folder.read)


def _has_weak_labels(cell: Cell) -> bool:
    return dict(cell.axes)["learner"] != STRONG_ONLY


def _make_work(settings: WeakSettings, place: WorkPlace) -> WeakWork:
    folders = {name: path.absolute() for name, path in settings.feature_folders.items()}
    return WeakWork(
        **place.fields,
        features=folders,
        train=place.train,
        learners=settings.learners_of_bags,
        weak=settings,
    )


def _describe_learners(settings: WeakSettings) -> dict[str, Any]:
    windows = settings.learners_of_bags["strong"].model_dump(mode="json")
    slides = settings.learners_of_bags["weak"].model_dump(mode="json")
    return {**dict.fromkeys((WEAK_ONLY, STRONG_ONLY, FINE_TUNED), windows), "weak": slides}


WEAK_STUDY = Study(
    name="weak",
    settings=WeakSettings,
    question="Can weak labels, which cost little of an expert's time, replace outlines?",
    help="Compare weak labels of windows, strong ones, and weak ones followed by strong ones, "
    "over the number of slides with strong outlines.\n\n"
    "Weak labels are the window scores of a learner of slide labels, or the outlines of "
    "slides with quality weak in the cohort.",
    axis_words="slides with strong outlines",
    find_slides=read_weak_study,
    design=_design,
    make_work=_make_work,
    describe_learners=_describe_learners,
    answer=answer_weak,
    methods=lambda settings, data: describe_features(
        data, describe_weak_learners(settings) + SAMPLES
    ),
)
