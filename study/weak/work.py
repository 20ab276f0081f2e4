"""Work of a cell in the study of weak labels: what it learns from before strong labels, if
anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from ..cell import Cell
from ..data import FoundSlides, StudyData
from ..design import FINE_TUNED, STRONG_ONLY
from ..feature_work import CellWork
from ..settings import WeakSettings
from ..splits import Split
from .labels import WEAK, WeakSet, WeakSlides, describe_weak_labels, draw_weak_set, hash_weak_set

__all__ = ["WeakWork"]


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
