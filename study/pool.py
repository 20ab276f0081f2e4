"""Predictions of the cells of one point, pooled over the test sets, seed by seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..eval import SeedMatches, SeedScores
from .data import UNKNOWN, StudyData
from .lesions import RATES, StudyLesions
from .splits import Split
from .work import CellResult

__all__ = ["OF_FINDING", "Pool"]

OF_FINDING = "slide_auc_"
"""Beginning of the name of a further finding's slide AUC."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Finished cells of one point."""

    results: Sequence[CellResult]
    splits: Sequence[Split]
    data: StudyData
    tested: np.ndarray
    """(T,) indices of the slides that are tested, ascending."""

    @cached_property
    def trainings(self) -> list[list[CellResult]]:
        """Cells of each repeat, kind of training and seed that has all folds."""
        folds: dict[int, int] = {}
        for split in self.splits:
            folds[split.repeat] = folds.get(split.repeat, 0) + 1
        groups: dict[tuple[Any, ...], list[CellResult]] = {}
        for result in self.results:
            key = result.cell.repeat, result.cell.axes, result.cell.seed
            groups.setdefault(key, []).append(result)
        return [found for (repeat, *_), found in groups.items() if len(found) == folds[repeat]]

    def statistics(self) -> Iterator[tuple[str, SeedScores | SeedMatches]]:
        """Yield each figure's name and pooled scores."""
        data, tested = self.data, self.tested
        yield (
            "slide_auc",
            SeedScores(
                scores=self._pool_slides()[:, tested],
                is_tumor=data.is_tumor[tested],
                slide=np.arange(len(tested)),
                slides=len(tested),
                noun="slides",
            ),
        )
        truth = np.concatenate(data.windows)
        owner = np.repeat(np.arange(len(data.ids)), [len(one) for one in data.windows])
        known = (truth != UNKNOWN) & np.isin(owner, tested)
        first = self.trainings[0][0].window_scores if self.trainings else {}
        for name in first:
            yield (
                "window_auc" if name == "score" else f"window_auc_{name}",
                SeedScores(
                    scores=self._pool_windows(name)[:, known],
                    is_tumor=truth[known] == 1,
                    slide=np.searchsorted(tested, owner[known]),
                    slides=len(tested),
                    noun="windows",
                ),
            )

        if data.lesions is not None and self.trainings:
            yield "froc", self._pool_lesions(data.lesions)

    def _pool_lesions(self, lesions: StudyLesions) -> SeedMatches:
        judged = self.tested[lesions.is_judged[self.tested]]
        ends = np.cumsum([len(one) for one in self.data.windows])[:-1]
        by_slide = np.split(self._pool_windows("score"), ends, axis=1)
        matches = [
            lesions.pool_matches(
                {index: by_slide[index][row] for index in judged.tolist()}, self.data.is_tumor
            )
            for row in range(len(self.trainings))
        ]
        return SeedMatches(
            matches=matches,
            slide=np.searchsorted(self.tested, judged),
            slides=len(self.tested),
            rates=RATES,
        )

    def _pool_slides(self) -> np.ndarray:
        pooled = np.full((len(self.trainings), len(self.data.ids)), np.nan, np.float32)
        for row, cells in enumerate(self.trainings):
            for cell in cells:
                pooled[row, cell.slides] = cell.slide_scores
        return pooled

    def _pool_windows(self, name: str) -> np.ndarray:
        ends = np.cumsum([0, *(len(one) for one in self.data.windows)]).tolist()
        pooled = np.full((len(self.trainings), ends[-1]), np.nan, np.float32)
        for row, cells in enumerate(self.trainings):
            for cell in cells:
                places = [np.arange(ends[index], ends[index + 1]) for index in cell.slides.tolist()]
                pooled[row, np.concatenate(places)] = cell.window_scores[name]
        return pooled

    def mean_of_splits(self, figure: str) -> np.ndarray:
        """Mean over trainings of a figure in each test set, (splits,); NaN where undefined."""
        found = []
        for split in self.splits:
            values = [
                result.figures.get(figure)
                for training in self.trainings
                for result in training
                if (result.cell.repeat, result.cell.fold) == (split.repeat, split.fold)
            ]
            known = [value for value in values if value is not None]
            found.append(np.mean(known) if known else np.nan)
        return np.array(found, np.float64)
