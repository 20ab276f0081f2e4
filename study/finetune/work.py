"""Work of a cell of a study of starts: fine-tune on the patches of the training slides, and score
those of the test slides."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...training import FineTuneSettings
from ..cell import Cell
from ..splits import Split
from ..work import StudyWork, Trained
from .patches import PatchFolder

__all__ = ["FinetuneWork"]


@dataclass(frozen=True, kw_only=True)
class FinetuneWork(StudyWork):
    """Work of the cells of a study of starts."""

    store: Path
    per_slide: int
    starts: Mapping[str, Path]
    training: FineTuneSettings

    @cached_property
    def patches(self) -> PatchFolder:
        return PatchFolder(path=self.store, per_slide=self.per_slide)

    def train_cell(self, cell: Cell, split: Split) -> Trained:
        from ...training import fine_tune  # imports Keras

        axes, test = dict(cell.axes), self.find_tested(split)
        train = [self.data.places[name] for name in split.train]
        labels = np.concatenate([self.data.windows[index] for index in train])
        scores = fine_tune(
            np.concatenate([self.patches.read(name) for name in split.train]),
            labels,
            np.concatenate([self.patches.read(name) for name in split.test]),
            self.training,
            spec=self.patches.spec,
            start=self.starts.get(str(axes["learner"])),
            freeze=str(axes["freeze"]),
            learning_rate=float(axes["rate"]),
            seed=self.draw_seed(cell),
        )
        ends = np.cumsum([len(self.data.windows[index]) for index in test])[:-1]
        highest = [part.max() for part in np.split(scores, ends)]
        arrays = {
            "slides": test,
            "slide_scores": np.array(highest, np.float32),
            "score": scores.astype(np.float32),
        }
        units = {self.data.patients[index] or self.data.ids[index] for index in train}
        counts = {
            "train_slides": len(train),
            "train_tumor_slides": int(self.data.is_tumor[train].sum()),
            "train_patients": len(units),
            "test_slides": len(split.test),
            "labels": len(labels),
            "positive_labels": int((labels == 1).sum()),
            "flipped_labels": 0,
        }
        return Trained(arrays=arrays, counts=counts)
