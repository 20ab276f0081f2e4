"""Minutes that outlines took, and how far they agree: by slide, and by mode.

A task is one annotator's work on one slide. Its time is the active time up to the last save, see
`active_seconds`; its result the annotator's newest accepted version, blind or not. On a slide dealt
from scratch it ends with the first accepted one: from then on the model is shown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..eval import Estimate, Resampling, Statistic
from ..wsi import DEFAULT_GROUPS, polygons_in
from .deal import Deal
from .folder import AnnotationFolder
from .journal import JournalEvent, active_seconds
from .outlines import DrawnOutline
from .version_info import Version
from .versions import SlideVersions

__all__ = [
    "BETWEEN",
    "MINUTES_FIGURES",
    "MODES",
    "AnnotationTask",
    "Minutes",
    "dice",
    "measure_minutes",
    "tumor_of",
]

MODES = {"scratch": "from scratch", "corrected": "corrected"}
MINUTES_FIGURES: Mapping[str, str] = {
    "minutes": "minutes per slide",
    "minutes_per_mm2": "minutes per mm² outlined",
    "dice_before_after": "Dice of proposal and result",
}
BETWEEN = "Dice between annotators"


@dataclass(frozen=True, kw_only=True)
class AnnotationTask:
    """One annotator's work on one slide."""

    slide: str
    annotator: str
    mode: str
    """scratch or corrected."""
    blind: bool
    minutes: float
    version: int
    outlines: int
    area_mm2: float
    """Outlined tumour."""
    dice_before_after: float | None
    """Agreement of the last proposal with the result, whether or not the annotator saw it; None
    where there is no proposal."""

    @property
    def way(self) -> str:
        """Words of its mode. Blind tasks are outside the comparison of modes."""
        return "blind" if self.blind else MODES.get(self.mode, self.mode)

    @property
    def minutes_per_mm2(self) -> float | None:
        return self.minutes / self.area_mm2 if self.area_mm2 else None


@dataclass(frozen=True, kw_only=True)
class Minutes:
    """Minutes and agreement of all tasks."""

    tasks: tuple[AnnotationTask, ...]
    medians: Mapping[tuple[str, str], Estimate]
    """By figure (see `MINUTES_FIGURES`) and mode."""
    saved: Estimate
    """Median minutes per slide from scratch less corrected."""
    between: Mapping[str, float]
    """Dice between two annotators, by slide."""
    between_median: Estimate
    deal: Deal
    not_finished: int
    """Slides and annotators with active time but without an accepted version."""

    def count(self, mode: str) -> int:
        """Count the tasks of a mode that are in its medians."""
        return sum(task.mode == mode and not task.blind for task in self.tasks)


def measure_minutes(
    folder: AnnotationFolder, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Minutes:
    """Measure the minutes and the agreement of a folder of annotations.

    Raises:
        StoreError: a version or the journal cannot be read.
    """
    events = folder.journal.events()
    tasks, between = [], {}
    for slide in folder.slides():
        versions = folder.versions(slide)
        results = _results(versions, folder.deal)
        proposal = _last_proposal(versions)
        own = [event for event in events if event.slide == slide]
        tasks += [
            _task(result, proposal, [e for e in events if e.annotator == name], folder.deal)
            for name, result in results.items()
            if any(event.annotator == name for event in own)
        ]
        agreement = _between(list(results.values()))
        if agreement is not None:
            between[slide] = agreement
    estimate = _Medians(resamples=resamples, confidence=confidence, seed=seed)
    medians = {
        (figure, mode): estimate.median(_values(tasks, figure, mode))
        for figure in MINUTES_FIGURES
        for mode in MODES
    }
    done = {(task.slide, task.annotator) for task in tasks}
    begun = {(event.slide, event.annotator) for event in events}
    return Minutes(
        tasks=tuple(tasks),
        medians=medians,
        saved=estimate.difference(
            _values(tasks, "minutes", "scratch"), _values(tasks, "minutes", "corrected")
        ),
        between=between,
        between_median=estimate.median(between),
        deal=folder.deal,
        not_finished=len(begun - done),
    )


def _results(versions: SlideVersions, deal: Deal) -> dict[str, Version]:
    """Accepted version that ends each annotator's task."""
    accepted = [info for info in versions.history() if info.facts.accepted]
    if deal.mode_of(versions.slide) == "scratch":
        accepted.reverse()
    last = {info.facts.annotator: info.number for info in accepted}
    return {name: versions.load(number) for name, number in last.items()}


def _last_proposal(versions: SlideVersions) -> Version | None:
    numbers = [info.number for info in versions.history() if info.facts.is_proposal]
    return versions.load(numbers[-1]) if numbers else None


def _task(
    result: Version, proposal: Version | None, events: Sequence[JournalEvent], deal: Deal
) -> AnnotationTask:
    info = result.info
    own = [event for event in events if event.slide == info.slide]
    saves = [event.time for event in own if event.kind == "save" and event.version]
    if deal.mode_of(info.slide) == "scratch":
        saves = [
            event.time for event in own if event.kind == "save" and event.version == info.number
        ]
    last = max(saves) if saves else max(event.time for event in own)
    seconds = active_seconds(event for event in events if event.time <= last)
    modes = [event.mode for event in own if event.mode and event.time <= last]
    dealt = deal.mode_of(info.slide) if deal.scratch else ""
    drawn = tumor_of(result.outlines)
    before = None if proposal is None else dice(tumor_of(proposal.outlines), drawn)
    return AnnotationTask(
        slide=info.slide,
        annotator=info.facts.annotator,
        mode=info.facts.mode or dealt or next(reversed(modes), "corrected"),
        blind=info.facts.blind,
        minutes=sum(s for (slide, _, _), s in seconds.items() if slide == info.slide) / 60,
        version=info.number,
        outlines=info.outlines,
        area_mm2=drawn.area * info.identity.mpp**2 / 1e6,
        dice_before_after=before,
    )


def tumor_of(outlines: Iterable[DrawnOutline]) -> MultiPolygon:
    """Return the tumour of outlines, less what is excluded, level-0 px."""
    areas: dict[str, list[shapely.Geometry]] = {"tumor": [], "exclusion": [], "other": []}
    for one in outlines:
        areas[DEFAULT_GROUPS.get(one.group.casefold(), "other")].append(one.shape)
    tumor = shapely.union_all(areas["tumor"])
    return polygons_in(tumor.difference(shapely.union_all(areas["exclusion"])))


def dice(first: MultiPolygon, second: MultiPolygon) -> float:
    """Return twice the shared area by the sum of both; 1 where both are empty."""
    total = first.area + second.area
    return 2 * first.intersection(second).area / total if total else 1.0


def _between(results: Sequence[Version]) -> float | None:
    """Mean Dice of all pairs of annotators of whom one drew blind; None without any."""
    drawn = [(tumor_of(one.outlines), one.info.facts.blind) for one in results]
    pairs = [
        dice(one, other)
        for number, (one, blind) in enumerate(drawn)
        for other, other_blind in drawn[:number]
        if blind or other_blind
    ]
    return float(np.mean(pairs)) if pairs else None


def _values(tasks: Iterable[AnnotationTask], figure: str, mode: str) -> dict[str, float]:
    """Figure by slide and annotator, of the tasks of a mode that have it.

    Blind tasks were not dealt between the modes, so they do not count.
    """
    found = {
        f"{task.slide} {task.annotator}": getattr(task, figure)
        for task in tasks
        if task.mode == mode and not task.blind
    }
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class _Medians:
    """Medians with percentile intervals by bootstrap."""

    resamples: int
    confidence: float
    seed: int

    def median(self, values: Mapping[str, float]) -> Estimate:
        if not values:
            return Estimate(value=None, undefined="no task of this kind")
        compute = _median_of(np.array(list(values.values())))
        return self._estimate(list(values), compute, [0] * len(values))

    def difference(self, first: Mapping[str, float], second: Mapping[str, float]) -> Estimate:
        """Median of the first less that of the second, whose tasks are drawn apart."""
        if not (first and second):
            return Estimate(value=None, undefined="needs tasks of both modes")
        middle = len(first)
        one = _median_of(np.array(list(first.values())))
        two = _median_of(np.array(list(second.values())))

        def compute(weights: np.ndarray) -> np.ndarray:
            return one(weights[:, :middle]) - two(weights[:, middle:])

        names = [*(f"1 {name}" for name in first), *(f"2 {name}" for name in second)]
        return self._estimate(names, compute, [1] * middle + [0] * len(second))

    def _estimate(
        self,
        names: Sequence[str],
        compute: Callable[[np.ndarray], np.ndarray],
        stratum: Sequence[int],
    ) -> Estimate:
        draw = Resampling.draw(
            names,
            [""] * len(names),
            np.array(stratum, bool),
            resamples=self.resamples,
            seed=self.seed,
            confidence=self.confidence,
        )
        statistic = Statistic(names=("median",), compute=compute)
        found = draw.estimate_all(statistic)["median"]
        if len(names) - sum(stratum) > 1 or sum(stratum) > 1:
            return found
        return replace(found, note="no interval: a median of one task")


def _median_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Weights (B, S) → medians (B, 1) of values (S,), each as often as it was drawn."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]

    def compute(weights: np.ndarray) -> np.ndarray:
        counted = np.cumsum(weights[:, order], axis=1)
        total = counted[:, -1:]
        low = (counted < (total + 1) // 2).sum(axis=1)
        high = (counted < total // 2 + 1).sum(axis=1)
        return ((ascending[low] + ascending[high]) / 2)[:, None]

    return compute
