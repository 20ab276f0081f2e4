"""One kind of study: its question in words, and the functions that it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..cohort import Cohort
from .settings import StudySettings

if TYPE_CHECKING:
    from .data import FoundSlides, StudyData
    from .design import Design, Point
    from .features.work import Train
    from .findings import Findings
    from .splits import Split
    from .work import StudyWork

__all__ = ["Study", "WorkPlace"]

SettingsT = TypeVar("SettingsT", bound=StudySettings)

SECONDS_ON_FEATURES = 4.0


@dataclass(frozen=True, kw_only=True)
class WorkPlace:
    """Things that the cells of every study need."""

    out: Path
    """Folder of the study, absolute."""
    seed: int
    learner_settings: Mapping[str, Any]
    """Settings of each learner, which the recipe of its cells records, plain JSON."""
    train: Train
    """Learner on features."""

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of `StudyWork`."""
        return {"out": self.out, "seed": self.seed, "learner_settings": self.learner_settings}


@dataclass(frozen=True, kw_only=True)
class Study(Generic[SettingsT]):
    """One kind of study."""

    name: str
    settings: type[SettingsT]
    question: str
    help: str
    """Text of its command: what it compares."""
    axis_words: str
    """Quantity that the study varies besides the learner, in words."""
    material: str = "features of"
    """Words before the name of the encoder, or of what the learners see instead."""
    find_slides: Callable[[Cohort, SettingsT], FoundSlides]
    """Slides that the study uses, with the truth of their windows."""
    design: Callable[[SettingsT, StudyData, Sequence[Split]], Design]
    make_work: Callable[[SettingsT, WorkPlace], StudyWork]
    describe_learners: Callable[[SettingsT], dict[str, Any]]
    """Settings of each learner, plain JSON, for the recipe of a cell."""
    answer: Callable[[Findings, SettingsT], Iterator[str]]
    """Sentences of the answer, each figure with its interval."""
    methods: Callable[[SettingsT, StudyData], tuple[str, str]]
    """What the learners saw, after the words "N slides were used, …", and how they were trained;
    text to quote."""
    guess_seconds: Callable[[Point, SettingsT, FoundSlides], float] = (
        lambda point, settings, found: SECONDS_ON_FEATURES
    )
    """Time of a cell of a point (s), before any has run; it grows with what a cell computes."""
