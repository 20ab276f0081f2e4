"""Work of a cell of any study: train, score the test slides, and write what came out."""

import hashlib
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..batch import SlideOutcome
from ..eval import Pairs
from ..storage import Output, Recipe, SettingsError, StoreError
from .cell import Cell, make_seed
from .data import UNKNOWN, FoundSlides, StudyData, load_arrays, save_arrays
from .splits import Split, load_splits

__all__ = ["CellResult", "StudyWork", "Trained", "load_cell"]

logger = logging.getLogger(__name__)

STAGE = "study-cell"
SCORES = "scores.npz"
FURTHER = "further.npz"


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """Result of a finished cell."""

    cell: Cell
    figures: Mapping[str, float | None]
    """By name; None where the test set does not define it."""
    counts: Mapping[str, int]
    seconds: float
    slides: np.ndarray
    """(T,) indices of the test slides."""
    slide_scores: np.ndarray
    """(T,) float32."""
    window_scores: Mapping[str, np.ndarray]
    """By way of localisation, "score" first: scores (N,) of all windows of the test slides, one
    slide after another."""
    further: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further arrays of this kind of study, by name."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Result of the training of a cell, before it is written."""

    arrays: Mapping[str, np.ndarray]
    """"slides" (T,) and "slide_scores" (T,) of the test slides, and scores of their windows by
    way."""
    counts: Mapping[str, int]
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """Figures of the test set besides those of slides and windows."""
    further: Mapping[str, np.ndarray] = field(default_factory=dict)
    """See `CellResult`."""


@dataclass(frozen=True, kw_only=True)
class StudyWork(ABC):
    """Work of every cell of a study, for `run_slides`."""

    out: Path
    seed: int
    learner_settings: Mapping[str, Any]
    """Settings of each learner, which the recipe of its cells records, plain JSON."""

    @abstractmethod
    def train_cell(self, cell: Cell, split: Split) -> Trained:
        """Train a cell and score the test slides of its split."""

    def describe_cell(self, cell: Cell) -> dict[str, Any]:
        """Return further settings that a cell depends on, plain JSON, for its recipe."""
        return {}

    @property
    def further_files(self) -> tuple[str, ...]:
        """Files of a cell besides its scores."""
        return ()

    @cached_property
    def data(self) -> StudyData:
        return StudyData.load(self.out)

    @cached_property
    def splits(self) -> Mapping[tuple[int, int], Split]:
        return {(one.repeat, one.fold): one for one in load_splits(self.out)}

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def output(self, cell: Cell) -> Output:
        """Return the output of a cell with its recipe."""
        split = self.splits[cell.repeat, cell.fold]
        sides = json.dumps([split.train, split.test]).encode()
        return Output(
            location=self.out / "cells" / cell.id,
            recipe=Recipe(
                stage=STAGE,
                settings={
                    "axes": dict(cell.axes),
                    "repeat": cell.repeat,
                    "fold": cell.fold,
                    "seed": cell.seed,
                    "study_seed": self.seed,
                    "training": self.learner_settings.get(str(dict(cell.axes)["learner"]), {}),
                    **self.describe_cell(cell),
                },
                inputs={
                    "data": self.data.contents[cell.encoder],
                    "split": hashlib.sha256(sides).hexdigest(),
                },
            ),
            files=(SCORES, *self.further_files),
        )

    def knowing(self, slides: FoundSlides, splits: Sequence[Split]) -> Self:
        """Return this work with slides and splits given, for a folder that does not hold them."""
        found = replace(self)
        by_place = {(one.repeat, one.fold): one for one in splits}
        vars(found).update(data=slides.data, splits=by_place)
        return found

    def identity(self, cell: Cell) -> str:
        """Return what a failure of the cell depends on."""
        recipe = self.output(cell).recipe
        return json.dumps([recipe.settings, recipe.inputs], sort_keys=True)

    def __call__(self, cell: Cell) -> SlideOutcome:
        if load_cell(self, cell) is not None:
            return SlideOutcome(slide=cell.id, status="skipped")
        started = time.perf_counter()
        found = self.train_cell(cell, self.splits[cell.repeat, cell.fold])
        _refuse_unusable(found.arrays)
        seconds = time.perf_counter() - started
        attributes = {
            "figures": {**_compute_figures(found.arrays, self.data), **found.figures},
            "counts": dict(found.counts),
            "seconds": round(seconds, 3),
        }
        with self.output(cell).write(attributes) as folder:
            save_arrays(Path(folder) / SCORES, found.arrays)
            if found.further:
                save_arrays(Path(folder) / FURTHER, found.further)
        return SlideOutcome(slide=cell.id, status="done", seconds=seconds)

    def count_slides(self, train: Sequence[int], split: Split) -> dict[str, int]:
        """Count the slides and patients that a training reads, by their indices, and the slides
        that it is tested on."""
        data = self.data
        return {
            "train_slides": len(train),
            "train_tumor_slides": int(data.is_tumor[list(train)].sum()),
            "train_patients": len({data.patients[index] or data.ids[index] for index in train}),
            "test_slides": len(split.test),
        }

    def draw_seed(self, cell: Cell) -> int:
        """Return the seed of a cell's training."""
        return make_seed(self.seed, cell.repeat, cell.fold, cell.seed, "training")

    def find_tested(self, split: Split) -> np.ndarray:
        """Return the indices of the test slides, (T,) int64."""
        return np.array([self.data.places[name] for name in split.test], np.int64)


def _refuse_unusable(arrays: Mapping[str, np.ndarray]) -> None:
    wrong = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    if wrong:
        raise SettingsError(
            f"the training diverged: {', '.join(wrong)} are not finite; lower its learning rate"
        )


def _compute_figures(arrays: Mapping[str, np.ndarray], data: StudyData) -> dict[str, float | None]:
    """AUC of slides and of windows on one test set; None with one class."""
    test = arrays["slides"]
    figures = {"slide_auc": _auc(arrays["slide_scores"], data.is_tumor[test])}
    truth = np.concatenate([data.windows[index] for index in test])
    known = truth != UNKNOWN
    figures["window_auc"] = _auc(arrays["score"][known], truth[known] == 1)
    for name in ("attention", "attention_score"):
        if name in arrays:
            figures[f"window_auc_{name}"] = _auc(arrays[name][known], truth[known] == 1)
    return figures


def _auc(scores: np.ndarray, is_tumor: np.ndarray) -> float | None:
    one_slide = np.zeros(len(scores), np.int64)
    found = float(Pairs.count(scores, is_tumor, one_slide, slides=1).auc(np.ones((1, 1), int))[0])
    return None if np.isnan(found) else found


def load_cell(work: StudyWork, cell: Cell) -> CellResult | None:
    """Load the result of a cell; None if it is not finished, or damaged, which a warning tells."""
    output = work.output(cell)
    state = output.state()
    if not state.is_unchanged:
        return None
    try:
        arrays = load_arrays(Path(output.location) / SCORES)
        further = load_arrays(Path(output.location) / FURTHER) if work.further_files else {}
        slides, slide_scores = arrays.pop("slides"), arrays.pop("slide_scores")
    except (StoreError, KeyError) as error:
        logger.warning("the training %s counts as missing: %s", cell.id, error)
        return None
    attributes = state.attributes
    return CellResult(
        cell=cell,
        figures=attributes["figures"],
        counts=attributes["counts"],
        seconds=attributes["seconds"],
        slides=slides,
        slide_scores=slide_scores,
        window_scores=arrays,
        further=further,
    )
