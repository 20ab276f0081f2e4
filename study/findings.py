"""Findings of a study from its finished cells: figures of each point with intervals, comparisons,
and the number of labels that reaches a target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..eval import (
    CorrectedT,
    Difference,
    Draws,
    Estimate,
    Resampling,
    adjust_holm,
    bootstrap_p_value,
    corrected_t,
    labels_to_reach,
    subtract,
)
from .cell import ALL, Cell
from .curriculum.course import Course, CurriculumPool, find_steps
from .curriculum.settings import CurriculumSettings
from .data import StudyData
from .design import Design, Point
from .pool import OF_FINDING, Pool
from .reaches import Reach, estimate_number, estimate_ratio
from .settings import STRONG_ONLY, LabelsSettings, SampledSettings, StudySettings, WeakSettings
from .splits import Split
from .work import CellResult

__all__ = ["COMPARED", "FIGURES", "Comparison", "Findings", "PointFindings", "find"]

COMPARED = ("slide_auc", "window_auc")
LESION_FIGURES = ("froc", "cam_froc")
FIGURES = ("slide_auc", "window_auc", "window_auc_attention", "window_auc_attention_score")


@dataclass(frozen=True, kw_only=True)
class PointFindings:
    """Figures of the cells that differ in repeat, fold and seed only."""

    point: Point
    planned: int
    """Cells."""
    finished: int
    trainings: int
    """Seeds with all folds, whose predictions are pooled; one with a failed fold is left out."""
    counts: Mapping[str, float]
    """Mean counts of a training, by name, over the trainings; none without."""
    estimates: Mapping[str, Estimate]
    noise: Mapping[str, float | None]
    """Standard deviation over seeds."""

    @property
    def is_full(self) -> bool:
        """True for a point with all labels and slides, and without wrong labels."""
        name, value = self.point[1]
        return name in ("encoder", "augmentation") or value in (ALL, 0.0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two points compared in one figure."""

    figure: str
    is_primary: bool
    """The figure is the one declared in the settings; others are exploratory, without a test."""
    first: Point
    second: Point
    difference: Difference
    """Its p-value is that of the paired bootstrap, adjusted for all pairs of the study."""
    tests: int
    """Size of the family of tests that the p-value is adjusted for."""
    corrected: CorrectedT | None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a study found."""

    points: tuple[PointFindings, ...]
    comparisons: tuple[Comparison, ...]
    reaches: tuple[Reach, ...]
    """By learner; empty for a study without numbers of labels, slides or steps."""
    ratio: Estimate | None
    """Window labels per slide label at the target; of a study of labels only."""
    resampling: Resampling
    holes: tuple[Cell, ...]
    """Cells that are not finished."""
    seconds: float
    """Time of all finished cells."""
    courses: tuple[Course, ...] = ()
    """Course of the trainings of each point; of a study of a curriculum only."""


def find(
    design: Design,
    data: StudyData,
    splits: Sequence[Split],
    results: Mapping[str, CellResult],
    settings: StudySettings,
) -> Findings:
    """Compute the findings from finished cells, by the cell's id."""
    cells = design.cells(splits)
    tested = np.unique([data.places[name] for split in splits for name in split.test])
    resampling = Resampling.draw(
        [data.ids[index] for index in tested],
        [data.patients[index] for index in tested],
        data.is_tumor[tested],
        resamples=settings.resamples,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    found = [
        _find_point(
            point,
            _pool(
                settings,
                results=[results[c.id] for c in cells if c.axes in members and c.id in results],
                splits=splits,
                data=data,
                tested=tested,
            ),
            resampling,
            planned=sum(cell.axes in members for cell in cells),
        )
        for point, members in _list_points(design)
    ]
    by_point = {one.findings.point: one for one in found}
    courses = _find_courses(found, resampling)
    reaches, ratio = _find_reaches(found, resampling, settings)
    return Findings(
        points=tuple(one.findings for one in found),
        comparisons=_compare(design, by_point, resampling, settings),
        reaches=find_steps(courses, resampling) if courses else reaches,
        ratio=ratio,
        resampling=resampling,
        holes=tuple(cell for cell in cells if cell.id not in results),
        seconds=sum(result.seconds for result in results.values()),
        courses=courses,
    )


def _list_points(design: Design) -> list[tuple[Point, tuple[Point, ...]]]:
    """List the points, summaries first, each with the points whose cells it pools."""
    return [*design.summaries.items(), *((point, (point,)) for point in design.points)]


def _pool(settings: StudySettings, **fields: Any) -> Pool:
    if isinstance(settings, CurriculumSettings):
        return CurriculumPool(**fields, findings=settings.findings)
    return Pool(**fields)


def _find_courses(points: Sequence["_Evaluated"], resampling: Resampling) -> tuple[Course, ...]:
    found = (
        Course.of_pool(dict(one.findings.point), one.pool, resampling)
        for one in points
        if isinstance(one.pool, CurriculumPool)
    )
    return tuple(one for one in found if one is not None)


@dataclass(frozen=True, kw_only=True)
class _Evaluated:
    """One point with what its comparisons need."""

    findings: PointFindings
    draws: Mapping[str, Draws]
    """By figure; none where the figure is not defined."""
    pool: Pool


def _find_point(point: Point, pool: Pool, resampling: Resampling, *, planned: int) -> _Evaluated:
    estimates, noise, draws = {}, {}, {}
    for name, scores in pool.statistics():
        statistic = scores.statistic(name)
        if not statistic.undefined:
            draws[name] = resampling.evaluate(statistic)
        estimates |= resampling.estimate_all(statistic, draws.get(name))
        noise[name] = scores.noise()
    used = [cell for training in pool.trainings for cell in training]
    names = used[0].counts if used else ()
    counts = {name: float(np.mean([one.counts[name] for one in used])) for name in names}
    findings = PointFindings(
        point=point,
        planned=planned,
        finished=len(pool.results),
        trainings=len(pool.trainings),
        counts=counts,
        estimates=estimates,
        noise=noise,
    )
    return _Evaluated(findings=findings, draws=draws, pool=pool)


def _compare(
    design: Design,
    points: Mapping[Point, _Evaluated],
    resampling: Resampling,
    settings: StudySettings,
) -> tuple[Comparison, ...]:
    """Compare the pairs of a design in every figure that both points have, the primary first."""
    known = {name for one in points.values() for name in one.draws}
    of_findings = sorted(name for name in known if name.startswith(OF_FINDING))
    names = (*COMPARED, *(name for name in LESION_FIGURES if name in known), *of_findings)
    figures = sorted(names, key=lambda name: name != settings.primary)
    found = []
    for figure in figures:
        family = [
            _compare_pair(figure, points[one], points[two], resampling, settings)
            for one, two in design.pairs
        ]
        p_values = [one.difference.p_value for one in family]
        tests = sum(p is not None for p in p_values)
        found += [
            replace(one, difference=replace(one.difference, p_holm=p), tests=tests)
            for one, p in zip(family, adjust_holm(p_values), strict=True)
        ]
    return tuple(found)


def _compare_pair(
    figure: str, one: _Evaluated, two: _Evaluated, resampling: Resampling, settings: StudySettings
) -> Comparison:
    none = Estimate(value=None, undefined="no finished training")
    first, second = (point.findings.estimates.get(figure, none) for point in (one, two))
    difference, p_value, corrected = none, None, None
    is_primary = figure == settings.primary
    if figure in one.draws and figure in two.draws:
        difference, resampled = subtract(one.draws[figure], two.draws[figure], resampling)[0]
        by_split = one.pool.mean_of_splits(figure) - two.pool.mean_of_splits(figure)
        ratio = np.mean([len(s.test) / len(s.train) for s in one.pool.splits])
        if resampling.is_large_enough and is_primary:
            p_value = bootstrap_p_value(resampled)
            corrected = corrected_t(by_split, test_to_train=float(ratio))
    elif first.undefined or second.undefined:
        difference = Estimate(value=None, undefined=first.undefined or second.undefined)
    return Comparison(
        figure=figure,
        is_primary=is_primary,
        first=one.findings.point,
        second=two.findings.point,
        difference=Difference(first=first, second=second, difference=difference, p_value=p_value),
        tests=0,
        corrected=corrected,
    )


def _find_reaches(
    points: Sequence[_Evaluated], resampling: Resampling, settings: StudySettings
) -> tuple[tuple[Reach, ...], Estimate | None]:
    """Find the number of labels or slides with which each learner reaches the target, and the ratio
    of strong to weak labels.

    The target is a share of the figure with everything: in a study of labels of the strong
    learner, for both, and in one of weak labels that of strong ones only; else of the learner
    itself.
    """
    if not isinstance(settings, SampledSettings):
        return (), None
    figure, is_of_labels = settings.primary, isinstance(settings, LabelsSettings)
    count = "labels" if is_of_labels else "train_slides"
    shared = STRONG_ONLY if isinstance(settings, WeakSettings) else "strong" if is_of_labels else ""
    curves: dict[str, list[_Evaluated]] = {}
    for one in points:
        if figure in one.draws and one.findings.counts[count]:
            curves.setdefault(str(dict(one.findings.point)["learner"]), []).append(one)
    found, numbers, smallest = [], {}, {}
    for learner, curve in curves.items():
        whole = curves.get(shared, []) if shared else curve
        full = next((one for one in whole if one.findings.is_full), None)
        if full is None:
            continue
        target = settings.target * _all_draws(full, figure)
        numbers[learner] = labels_to_reach(
            np.array([one.findings.counts[count] for one in curve]),
            np.stack([_all_draws(one, figure) for one in curve], axis=1),
            target,
        )
        smallest[learner] = curve[0].findings.counts[count]
        number = estimate_number(numbers[learner], smallest[learner], resampling)
        found.append(Reach(learner=learner, target=float(target[0]), number=number))
    if not is_of_labels or len(numbers) < 2:
        return tuple(found), None
    return tuple(found), estimate_ratio(numbers, smallest, resampling)


def _all_draws(point: _Evaluated, figure: str) -> np.ndarray:
    """Value on all slides, then on each resample, (1 + B,)."""
    draws = point.draws[figure]
    return np.append(draws.value, draws.resampled)
