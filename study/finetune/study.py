"""The study of starts: a network that is fine-tuned from several weights, each with several parts
frozen and several learning rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...training import FineTuneSettings
from ..cell import ALL, Cell
from ..data import FoundSlides, StudyData
from ..design import Design, Point, make_design
from ..kind import Study, WorkPlace
from ..splits import Split
from ..work import StudyWork, Trained
from .patches import PatchFolder, find_patches
from .settings import RANDOM, FinetuneSettings
from .words import answer_finetune, describe_fine_tuning

__all__ = ["FINETUNE", "FinetuneWork"]

SECONDS_TO_COMPILE = 10.0
SECONDS_A_MEGAPIXEL = 0.5
"""Time to learn from a megapixel with EfficientNet-Lite0, on two cores."""
COST_OF_SCORING = 1 / 3
"""Time to score a pixel, as a share of the time to learn from it."""


def _design(settings: FinetuneSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    def at(start: str, freeze: str, rate: float | str) -> Point:
        return ("learner", start), ("freeze", freeze), ("rate", rate)

    scenarios = [(freeze, rate) for freeze in settings.freeze for rate in settings.learning_rates]
    starts = (*settings.starts, RANDOM)
    summaries = {at(one, ALL, ALL): tuple(at(one, *two) for two in scenarios) for one in starts}
    first, *others = summaries
    points = [point for members in summaries.values() for point in members]
    design = make_design(points, settings, [(first, one) for one in others])
    return replace(design, summaries=summaries)


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
        from ...training import FineTuneStart, LabelledPatches, fine_tune  # imports Keras

        axes, test = dict(cell.axes), self.find_tested(split)
        train = [self.data.places[name] for name in split.train]
        labels = np.concatenate([self.data.windows[index] for index in train])
        examples = LabelledPatches(
            patches=self._read_patches(split.train), labels=labels, spec=self.patches.spec
        )
        start = FineTuneStart(
            weights=self.starts.get(str(axes["learner"])),
            freeze=str(axes["freeze"]),
            learning_rate=float(axes["rate"]),
        )
        scores = fine_tune(
            examples,
            self._read_patches(split.test),
            self.training,
            start=start,
            seed=self.draw_seed(cell),
        )
        ends = np.cumsum([len(self.data.windows[index]) for index in test])[:-1]
        highest = [part.max() for part in np.split(scores, ends)]
        arrays = {
            "slides": test,
            "slide_scores": np.array(highest, np.float32),
            "score": scores.astype(np.float32),
        }
        counts = {
            **self.count_slides(train, split),
            "labels": len(labels),
            "positive_labels": int((labels == 1).sum()),
            "flipped_labels": 0,
        }
        return Trained(arrays=arrays, counts=counts)

    def _read_patches(self, slides: Sequence[str]) -> np.ndarray:
        """Read the patches of slides, one slide after the other."""
        return np.concatenate([self.patches.read(name) for name in slides])


def _make_work(settings: FinetuneSettings, place: WorkPlace) -> FinetuneWork:
    assert settings.store is not None
    return FinetuneWork(
        **place.fields,
        store=settings.store.absolute(),
        per_slide=settings.patches_per_slide,
        starts={name: path.absolute() for name, path in settings.starts.items()},
        training=settings.training,
    )


def _describe_learners(settings: FinetuneSettings) -> dict[str, Any]:
    return dict.fromkeys((*settings.starts, RANDOM), settings.training.model_dump(mode="json"))


def _guess_seconds(point: Point, settings: FinetuneSettings, found: FoundSlides) -> float:
    """Guess by the pixels that a training learns from and scores; EfficientNet-Lite0's cost."""
    assert settings.store is not None
    patches = PatchFolder(path=settings.store, per_slide=settings.patches_per_slide)
    tested = sum(map(len, found.data.windows)) / max(2, settings.folds)
    pixels = (settings.steps * settings.batch_size + tested * COST_OF_SCORING) * (
        patches.spec.patch_px**2
    )
    return SECONDS_TO_COMPILE + pixels * SECONDS_A_MEGAPIXEL / 1e6


FINETUNE = Study(
    name="finetune",
    settings=FinetuneSettings,
    question="Which weights should a network begin with on these slides?",
    help="Compare the weights that a network begins with when it learns from patches: "
    "ImageNet's, those of another training, random ones; with several parts frozen and "
    "several learning rates.\n\n"
    "Trainings are short. What is compared is the mean over these scenarios, over patients.",
    axis_words="start",
    material="patches of",
    find_slides=find_patches,
    design=_design,
    make_work=_make_work,
    describe_learners=_describe_learners,
    answer=answer_finetune,
    methods=lambda settings, data: (
        f"as patches of {data.encoder}",
        f"{describe_fine_tuning(settings)} ",
    ),
    guess_seconds=_guess_seconds,
)
