"""Course of the trainings: the slide AUC at every checkpoint, and the steps that a training takes
to be as good as its baseline ever is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...eval import Draws, Estimate, Resampling, SeedMatches, SeedScores, labels_to_reach
from ..lesions import RATES
from ..pool import OF_FINDING, Pool
from ..reaches import Reach, estimate_number
from .work import SCORES, TRUTHS, pool_matches

__all__ = ["CURRICULUM", "WHOLE", "Course", "CurriculumPool", "find_steps"]

CURRICULUM, WHOLE = "curriculum", "whole"
"""Learners: patches, then whole slides; whole slides alone."""


@dataclass(frozen=True, kw_only=True)
class CurriculumPool(Pool):
    """Finished cells of one point, with the detections of their maps and the scores of further
    findings."""

    findings: Sequence[str] = ()
    """Cohort columns of further findings."""

    def statistics(self) -> Iterator[tuple[str, SeedScores | SeedMatches]]:
        yield from super().statistics()
        if self.trainings:
            yield "cam_froc", self._pool_matches()
        for number, name in enumerate(self.findings):
            yield f"{OF_FINDING}{name}", self._pool_finding(number)

    def _pool_matches(self) -> SeedMatches:
        pooled, known = [], np.zeros(0, np.int64)
        for cells in self.trainings:
            own = [cell.slides for cell in cells]
            packed = [cell.further for cell in cells]
            matches, known = pool_matches(packed, own, self.data.is_tumor)
            pooled.append(matches)
        return SeedMatches(
            matches=pooled,
            slide=np.searchsorted(self.tested, known),
            slides=len(self.tested),
            rates=RATES,
        )

    def _pool_finding(self, number: int) -> SeedScores:
        truths = self._pool_further(lambda cell: cell.further[TRUTHS][number + 1])
        truth = truths[0] if len(truths) else np.zeros(len(self.tested))
        known = truth >= 0
        scores = self._pool_further(lambda cell: cell.further[SCORES][number + 1])
        return SeedScores(
            scores=scores[:, known],
            is_tumor=truth[known] == 1,
            slide=np.flatnonzero(known),
            slides=len(self.tested),
            noun="slides",
        )

    def courses(self) -> Iterator[tuple[int, SeedScores]]:
        """Yield each checkpoint's step, and the pooled scores of the slides at it."""
        steps = self.trainings[0][0].further["steps"].tolist() if self.trainings else []
        for place, step in enumerate(steps):
            yield (
                step,
                SeedScores(
                    scores=self._pool_further(lambda cell, at=place: cell.further["course"][at]),
                    is_tumor=self.data.is_tumor[self.tested],
                    slide=np.arange(len(self.tested)),
                    slides=len(self.tested),
                    noun="slides",
                ),
            )

    def _pool_further(self, find) -> np.ndarray:
        """Pool an array (T,) of each cell over the test sets: (trainings, tested)."""
        pooled = np.full((len(self.trainings), len(self.data.ids)), np.nan, np.float32)
        for row, cells in enumerate(self.trainings):
            for cell in cells:
                pooled[row, cell.slides] = find(cell)
        return pooled[:, self.tested]


@dataclass(frozen=True, kw_only=True)
class Course:
    """Slide AUC of one point over the steps of its trainings."""

    learner: str
    augmentation: str
    steps: np.ndarray
    """(K,) int64, ascending."""
    estimates: tuple[Estimate, ...]
    draws: np.ndarray
    """(1 + B, K): on all slides, then on each resample."""

    @classmethod
    def of_pool(cls, axes: Mapping[str, object], pool: CurriculumPool, resampling: Resampling):
        """Evaluate every checkpoint; None where the AUC is not defined."""
        steps, estimates, draws = [], [], []
        for step, scores in pool.courses():
            statistic = scores.statistic("course")
            if statistic.undefined:
                return None
            found: Draws = resampling.evaluate(statistic)
            steps.append(step)
            estimates.append(resampling.estimate_all(statistic, found)["course"])
            draws.append(np.append(found.value, found.resampled))
        if not steps:
            return None
        return cls(
            learner=str(axes["learner"]),
            augmentation=str(axes["augmentation"]),
            steps=np.array(steps, np.int64),
            estimates=tuple(estimates),
            draws=np.stack(draws, axis=1),
        )


def find_steps(courses: Sequence[Course], resampling: Resampling) -> tuple[Reach, ...]:
    """Find the steps with which each training reaches the best slide AUC of its baseline, whole
    slides from the start with the same augmentation, which is found anew in each resample."""
    found = []
    for course in courses:
        baseline = next(
            (
                one
                for one in courses
                if (one.learner, one.augmentation) == (WHOLE, course.augmentation)
            ),
            None,
        )
        if baseline is None:
            continue
        target = baseline.draws.max(axis=1)
        numbers = labels_to_reach(course.steps, course.draws, target)
        smallest = float(course.steps[0])
        number = estimate_number(numbers, smallest, resampling)
        name = f"{course.learner}, augmentation {course.augmentation}"
        found.append(Reach(learner=name, target=float(target[0]), number=number))
    return tuple(found)
