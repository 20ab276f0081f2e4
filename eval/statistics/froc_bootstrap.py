"""The readings of a FROC curve for thousands of draws of its slides at once, without drawing the
curves."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..scoring.matching import Verdicts
from .froc import SLACK, FrocDefinition

__all__ = ["resampled_sensitivity"]

CHUNK = 2**22  # entries of an array held at once
MOST_AT_ONCE = 4096  # thresholds looked at together


def resampled_sensitivity(
    verdicts: Verdicts, definition: FrocDefinition, weights: np.ndarray, *, rates: np.ndarray
) -> np.ndarray:
    """Sensitivity at rates (R,) for slides drawn weights (B, S) times each: (B, R), NaN where it is
    not defined.

    A reading at f depends on one place of the curve only: the false positive with which f is
    reached or exceeded. So a draw is a running sum over false positives sorted once. Two of them
    that only float32 cannot tell apart, with a hit between them, are the one case in which
    camelyon16-e1's curve itself is read a hit lower.
    """
    scan = _Scan(verdicts=verdicts, definition=definition, rates=np.asarray(rates, np.float64))
    step = max(1, CHUNK // (len(scan.hits) + MOST_AT_ONCE))
    rows = [scan.read(weights[start : start + step]) for start in range(0, len(weights), step)]
    return np.concatenate(rows) if rows else np.zeros((0, len(rates)))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where rates are reached or exceeded, by draw: (B, R) each."""

    level: np.ndarray
    """Index into the levels; their number where a rate is never reached."""
    before: np.ndarray
    """False positives above the level."""
    upto: np.ndarray
    """The level's own included."""


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """False positives by level (a probability that occurs, G of them, best first), and hits, best
    first."""

    verdicts: Verdicts
    definition: FrocDefinition
    rates: np.ndarray

    @cached_property
    def chosen(self) -> np.ndarray:
        return self.definition.counted(self.verdicts)

    @cached_property
    def false(self) -> np.ndarray:
        """Indices of the false positives that count, best first."""
        kept = np.flatnonzero(self.chosen[self.verdicts.false_positive_slide])
        return kept[np.argsort(-self.verdicts.false_positive[kept], kind="stable")]

    @cached_property
    def levels(self) -> np.ndarray:
        """(G,) descending."""
        return np.unique(self.verdicts.false_positive[self.false])[::-1]

    @cached_property
    def ends(self) -> np.ndarray:
        """(G + 1,) where each level begins among the false positives, and where the last ends."""
        descending = -self.verdicts.false_positive[self.false]
        return np.append(np.searchsorted(descending, -self.levels), len(descending))

    @cached_property
    def found(self) -> np.ndarray:
        """Indices of the lesions found, best first."""
        found = np.flatnonzero(self.verdicts.is_found)
        return found[np.argsort(-self.verdicts.best[found], kind="stable")]

    @cached_property
    def hits(self) -> np.ndarray:
        return self.definition.as_hits(self.verdicts.best[self.found])

    @cached_property
    def over(self) -> np.ndarray:
        """(G + 1,) hits above each level; past the last, all."""
        return np.append(np.searchsorted(-self.hits, -self.levels, side="left"), len(self.hits))

    @cached_property
    def reaching(self) -> np.ndarray:
        """(G + 1,) hits from each level on."""
        rounded = self.definition.as_hits(self.levels)
        return np.append(np.searchsorted(-self.hits, -rounded, side="right"), len(self.hits))

    @cached_property
    def smallest(self) -> np.ndarray:
        """(S,) the smallest value that a program holds of each slide; inf of none."""
        verdicts, smallest = self.verdicts, np.full(len(self.chosen), np.inf)
        np.minimum.at(
            smallest, verdicts.false_positive_slide[self.false], verdicts.false_positive[self.false]
        )
        np.minimum.at(smallest, verdicts.lesion_slide[self.found], self.hits)
        smallest[verdicts.lesion_slide[~verdicts.is_found]] = 0.0
        return smallest

    def floor(self, drawn: np.ndarray) -> np.ndarray:
        """(B,) values up to this one are no thresholds."""
        if self.definition.thresholds == "every":
            return np.full(len(drawn), -np.inf)
        if self.definition.thresholds == "positive":
            return np.zeros(len(drawn))
        return np.where(drawn > 0, self.smallest, np.inf).min(axis=1, initial=np.inf)

    def read(self, drawn: np.ndarray) -> np.ndarray:
        """The readings (B, R) of draws (B, S)."""
        slides = (drawn @ self.chosen).astype(np.float64)
        lesions = drawn[:, self.verdicts.lesion_slide[~self.verdicts.is_itc]].sum(
            axis=1, dtype=np.float64
        )
        lesions[(lesions == 0) | (slides == 0)] = np.nan
        slides[slides == 0] = np.nan
        floor = self.floor(drawn)
        above_floor = np.searchsorted(-self.hits, -floor, side="left")[:, None]
        running = np.pad(
            drawn[:, self.verdicts.lesion_slide[self.found]].cumsum(axis=1), ((0, 0), (1, 0))
        )

        def sensitivity(hits: np.ndarray) -> np.ndarray:
            return (
                np.take_along_axis(running, np.minimum(hits, above_floor), axis=1)
                / lesions[:, None]
            )

        place = self.places(drawn, slides[:, None])
        if self.definition.reading == "first at least":
            return sensitivity(self.reaching[place.level])
        low = sensitivity(self.over[place.level])
        if self.definition.reading == "reachable":
            return low
        goes_on = np.append(self.levels, -np.inf)[place.level] > floor[:, None]
        way = np.divide(
            self.rates * slides[:, None] - place.before,
            place.upto - place.before,
            out=np.zeros(low.shape),
            where=goes_on,
        )
        return low + way * (sensitivity(self.reaching[place.level]) - low)

    def places(self, drawn: np.ndarray, slides: np.ndarray) -> _Place:
        """Only levels below the last rate are looked at, a stretch after another."""
        shape = (len(drawn), len(self.rates))
        place = _Place(
            level=np.full(shape, len(self.levels)), before=np.zeros(shape), upto=np.zeros(shape)
        )
        total, open_, times = (
            np.zeros((len(drawn), 1)),
            np.ones(shape, bool),
            drawn.astype(np.float64),
        )
        side = "left" if self.definition.reading == "first at least" else "right"
        limits = self.rates + (SLACK if self.definition.reading == "reachable" else 0.0)
        step = max(1, min(MOST_AT_ONCE, CHUNK // max(1, len(self.chosen))))
        for start in range(0, len(self.levels), step):
            running = np.concatenate(
                [total, total + (times @ self._counts(start, start + step)).cumsum(axis=1)], axis=1
            )
            per_slide = running[:, 1:] / slides
            at = np.stack([np.searchsorted(row, limits, side=side) for row in per_slide])
            row, rate = np.nonzero(open_ & (at < per_slide.shape[1]))
            index = at[row, rate]
            place.level[row, rate] = start + index
            place.before[row, rate], place.upto[row, rate] = (
                running[row, index],
                running[row, index + 1],
            )
            open_[row, rate] = False
            total = running[:, -1:]
            if not open_.any():
                break
        return place

    def _counts(self, start: int, end: int) -> np.ndarray:
        """(S, stretch) float64: false positives of each slide at each level of the stretch."""
        ends = self.ends[start : end + 1]
        slide = self.verdicts.false_positive_slide[self.false[ends[0] : ends[-1]]]
        level = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        shape = (len(self.chosen), len(ends) - 1)
        return (
            np.bincount(slide * shape[1] + level, minlength=shape[0] * shape[1])
            .reshape(shape)
            .astype(np.float64)
        )
