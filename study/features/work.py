"""Work of a cell on frozen features: draw its sample of labels, train a learner, score the test
slides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...storage import SettingsError
from ...training import BagSettings
from ..cell import Cell, Sample, draw_sample
from ..data import UNKNOWN
from ..settings import Learner
from ..splits import Split
from ..weak.labels import WeakSet, fit_weak
from ..work import StudyWork, Trained
from .slides import FeatureFolder

__all__ = ["BagScores", "CellWork", "Train", "TrainingSet", "train_bags"]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Bags of windows that a learner trains on, and their labels."""

    learner: Learner
    settings: BagSettings
    bags: tuple[np.ndarray, ...]
    """Features of each slide's windows, (N, D) float16. strong: of the labelled windows only."""
    labels: np.ndarray
    """0 or 1; weak: of each bag, strong: of each window, one bag after another. int8."""
    weak: WeakSet | None = None
    """Weak labels to learn from before these bags; without bags, from them alone."""


@dataclass(frozen=True, kw_only=True)
class BagScores:
    """Scores of one slide, in [0, 1]."""

    slide: float
    windows: np.ndarray
    """(N,) score of each window."""
    attention: np.ndarray | None = None
    """(N,) attention weight of each window, where the learner has one."""


Train = Callable[[TrainingSet, Sequence[np.ndarray], int], Sequence[BagScores]]
"""Trains on a set with a seed, and scores test bags (N, D). Picklable."""


@dataclass(frozen=True, kw_only=True)
class CellWork(StudyWork):
    """Work of the cells that train on frozen features."""

    features: Mapping[str, Path]
    """Folders of features by the name of the encoder."""
    train: Train
    learners: Mapping[Learner, BagSettings]
    """Settings of both learners; those of strong serve every learner of window labels."""

    @cached_property
    def bags(self) -> Mapping[str, FeatureFolder]:
        return {name: FeatureFolder(path=path) for name, path in self.features.items()}

    def train_cell(self, cell: Cell, split: Split) -> Trained:
        sample = draw_sample(cell, split, self.data, seed=self.seed)
        weak = self.draw_weak_set(cell, split)
        if weak is None or sample.slides:
            _refuse_one_class(sample)
        test = self.find_tested(split)
        bags = self._read(cell, test.tolist())
        training = replace(self._training_set(cell, sample), weak=weak)
        scores = self.train(training, bags, self.draw_seed(cell))
        return Trained(arrays=_gather(test, scores), counts=self._count(sample, split))

    def draw_weak_set(self, cell: Cell, split: Split) -> WeakSet | None:
        """Return the weak labels that a cell learns from first, in a study of them."""
        return None

    def _read(self, cell: Cell, slides: Sequence[int]) -> list[np.ndarray]:
        folder = self.bags[cell.encoder]
        return [folder.read(self.data.ids[index]) for index in slides]

    def _training_set(self, cell: Cell, sample: Sample) -> TrainingSet:
        bags = self._read(cell, sample.slides)
        if cell.learner == "weak" or not bags:
            return TrainingSet(
                learner=cell.learner,
                settings=self.learners["weak" if cell.learner == "weak" else "strong"],
                bags=tuple(bags),
                labels=sample.labels,
            )
        known = sample.labels != UNKNOWN
        parts = np.split(known, np.cumsum([len(bag) for bag in bags])[:-1])
        chosen = tuple(bag[part] for bag, part in zip(bags, parts, strict=True))
        return TrainingSet(
            learner="strong",
            settings=self.learners["strong"],
            bags=chosen,
            labels=sample.labels[known],
        )

    def _count(self, sample: Sample, split: Split) -> dict[str, int]:
        return {
            **self.count_slides(sample.slides, split),
            "labels": sample.count,
            "positive_labels": sample.positives,
            "flipped_labels": sample.flipped,
        }


def _refuse_one_class(sample: Sample) -> None:
    given = set(np.unique(sample.labels).tolist()) - {UNKNOWN}
    if given != {0, 1}:
        words = {0: "normal", 1: "tumour"}
        found = " and ".join(words[value] for value in sorted(given)) or "none"
        raise SettingsError(
            f"its {sample.count} labels are of one class ({found}); a training needs both"
        )


def _gather(test: np.ndarray, scores: Sequence[BagScores]) -> dict[str, np.ndarray]:
    """Arrays of the test slides' scores. Where a learner has attention, a window's score times its
    attention is kept beside the score."""
    arrays = {
        "slides": test,
        "slide_scores": np.array([one.slide for one in scores], np.float32),
        "score": np.concatenate([one.windows for one in scores]).astype(np.float32),
    }
    attention = [one.attention for one in scores if one.attention is not None]
    if len(attention) == len(scores):
        # A slide's weights sum to 1: times its windows, so that slides can be compared.
        scaled = [one * len(one) for one in attention]
        arrays["attention"] = np.concatenate(scaled).astype(np.float32)
        arrays["attention_score"] = arrays["attention"] * arrays["score"]
    return arrays


def train_bags(training: TrainingSet, test: Sequence[np.ndarray], seed: int) -> Sequence[BagScores]:
    """Train a pooled classifier on bags (weak) or the classifier on windows (strong); score bags.
    With weak labels the classifier begins with what it learns from them, and stays there without
    bags.

    Raises:
        GigaslideError: bags or labels that cannot be trained on.
    """
    from ...training import BagStart, fit_bags  # imports Keras

    is_weak = training.learner == "weak"
    labels: Any = training.labels
    if not is_weak:
        ends = np.cumsum([len(bag) for bag in training.bags])[:-1]
        labels = np.split(training.labels, ends)
    start, model = None, None
    if training.weak is not None:
        model = fit_weak(training.weak, seed)
        start = BagStart(
            model=model,
            frozen_share=training.weak.settings.frozen_share,
            unfrozen_rate=training.weak.settings.unfrozen_rate,
        )
    if training.bags or model is None:
        model = fit_bags(
            list(training.bags), labels, training.settings, seed=seed, start=start
        ).model
    found = [model.predict(bag) for bag in test]
    has_attention = training.settings.options.pooling == "attention"
    return [
        BagScores(
            slide=float(one.slide),
            windows=np.asarray(one.windows),
            attention=np.asarray(one.attention) if has_attention else None,
        )
        for one in found
    ]
