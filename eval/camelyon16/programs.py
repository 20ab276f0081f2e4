"""The two official programs: the choices by which they differ, their FROC curves, readings and
resamples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..scoring.matching import PooledMatches
from ..statistics.froc import OURS, Froc, describe_undefined
from ..truth.mask_lesions import Raster

__all__ = ["DOWNSAMPLE", "PROGRAMS", "Program", "official_curve", "resample_readings"]

DOWNSAMPLE = 32.0  # level 5


@dataclass(frozen=True, kw_only=True)
class Program:
    """One official program."""

    name: str
    mpp: float | None
    """µm per level-0 px; None: of the mask or the slide."""
    downsample: float | None
    """Level-0 px per px of level 5; None: of the mask."""
    rounds: bool
    """True: points are cut to whole px, divided and rounded half to even. False: truncated."""
    drops: Literal["smallest", "zero"]
    """Threshold that is not an operating point."""
    needs_every_slide: bool
    """True: a slide without a file of detections is an error. False: it is left out."""
    hits: type[np.floating]
    """Type that holds the probabilities of found lesions. As float32 a hit of 0.3 lies above a
    false positive of 0.3, one of 0.9 below; thresholds compare with hits in this type."""
    interpolates: bool
    """True: the curve is interpolated at f. False: read at its first point with at least f."""
    description: str

    def raster(self, *, downsample: float, mask_mpp: float) -> Raster:
        """Px of level 5 as the program takes them, for a mask's own downsample and µm/px."""
        pixel_level0 = self.downsample or downsample
        return Raster(pixel_level0=pixel_level0, pixel_um=pixel_level0 * (self.mpp or mask_mpp))

    def find_cells(self, xy: np.ndarray, raster: Raster) -> np.ndarray:
        """Px (N, 2) (row, column) of the mask at points (N, 2) level-0 (x, y), whole float64.

        Both programs cut towards zero, as Python's int() does: x = −5 is px 0.
        """
        points = np.asarray(xy, np.float64).reshape(-1, 2)[:, ::-1]
        if self.rounds:
            return np.rint(np.trunc(points) / raster.pixel_level0)
        return np.trunc(points / raster.pixel_level0)


E1 = Program(
    name="camelyon16-e1",
    mpp=0.243,
    downsample=DOWNSAMPLE,
    rounds=False,
    drops="smallest",
    needs_every_slide=False,
    hits=np.float32,
    interpolates=True,
    description="Evaluation_FROC.py (2016): level-5 mask, 0.243 µm/px for every slide, smallest "
    "threshold dropped, hits held as float32; interpolated, as in NCRF, and in MONAI under NumPy 1",
)
E2 = Program(
    name="camelyon16-e2",
    mpp=None,
    downsample=None,
    rounds=True,
    drops="zero",
    needs_every_slide=True,
    hits=np.float64,
    interpolates=False,
    description="script shipped with the public data: level-5 mask, its own µm/px; first point "
    "with at least f, else the last",
)
PROGRAMS = {program.name: program for program in (E1, E2)}


def official_curve(matches: PooledMatches, program: Program, *, rates: tuple[float, ...]) -> Froc:
    """Compute the curve and the readings of a program, from matches by its own lesions."""
    undefined = describe_undefined(matches, OURS)
    if undefined:
        return Froc.empty(rates, undefined)
    points = _prepare_points(matches, program)
    threshold, false_positives, sensitivity = points(np.ones(len(matches.is_normal), int))
    return Froc(
        threshold=threshold,
        false_positives=false_positives,
        sensitivity=sensitivity,
        rates=rates,
        at_rates=tuple(_read(false_positives, sensitivity, program, rates).tolist()),
    )


def resample_readings(
    matches: PooledMatches, program: Program, weights: np.ndarray, *, rates: Sequence[float]
) -> np.ndarray:
    """Readings (B, R) of draws (B, S), each as the program reads the drawn slides; NaN where no
    countable lesion or no slide was drawn."""
    points = _prepare_points(matches, program)
    found = np.full((len(weights), len(rates)), np.nan)
    countable = matches.lesion_slide[~matches.is_itc]
    for row, times in enumerate(weights):
        if times[countable].any() and times @ matches.predicted:
            _, false_positives, sensitivity = points(times)
            found[row] = _read(false_positives, sensitivity, program, rates)
    return found


Points = tuple[np.ndarray, np.ndarray, np.ndarray]


def _prepare_points(matches: PooledMatches, program: Program) -> Callable[[np.ndarray], Points]:
    """Return a function of how often each slide was drawn, (S,): threshold ascending, false
    positives per slide, and sensitivity, (T,) each.

    The program holds 0 for a missed lesion and for isolated cells. Each false positive is a
    threshold; each lesion reaches the thresholds up to its own, in the type of hits.
    """
    hits = np.where(matches.is_found, matches.best, 0.0).astype(program.hits).astype(np.float64)
    threshold = np.unique(np.concatenate([matches.false_positive, hits]))
    false_at = np.searchsorted(threshold, matches.false_positive)
    rounded = threshold.astype(program.hits).astype(np.float64)
    hit_at = np.searchsorted(rounded, hits, side="right") - 1

    def points(times: np.ndarray) -> Points:
        false, lesions = times[matches.false_positive_slide], times[matches.lesion_slide]
        found = np.where(matches.is_found, lesions, 0)
        false_above = np.bincount(false_at, false, len(threshold))[::-1].cumsum()[::-1]
        found_above = np.bincount(hit_at, found, len(threshold))[::-1].cumsum()[::-1]
        values = [matches.false_positive[false > 0], hits[lesions > 0], [np.inf]]
        floor = 0.0 if program.drops == "zero" else np.concatenate(values).min()
        kept = threshold > floor
        slides, countable = times @ matches.predicted, lesions[~matches.is_itc].sum()
        return (
            np.append(threshold[kept], np.inf),
            np.append(false_above[kept] / slides, 0.0),
            np.append(found_above[kept] / countable, 0.0),
        )

    return points


def _read(
    false_positives: np.ndarray, sensitivity: np.ndarray, program: Program, rates: Sequence[float]
) -> np.ndarray:
    """Sensitivity at each rate, from points with descending false positives."""
    rising, found = false_positives[::-1], sensitivity[::-1]
    if program.interpolates:
        return np.interp(rates, rising, found)
    return found[np.minimum(np.searchsorted(rising, rates), len(rising) - 1)]
