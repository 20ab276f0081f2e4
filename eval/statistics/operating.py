"""Operating point: every missed lesion and every false positive."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely

from ...wsi import Heatmap
from ..scoring.matching import reaches
from ..scoring.slide_result import SlideResult
from ..truth.lesions import AnyLesions

__all__ = [
    "FalsePositive",
    "MissedLesion",
    "OperatingPoint",
    "Peaks",
    "find_operating_point",
    "find_peaks",
    "list_false_positives",
    "list_missed",
]


@dataclass(frozen=True, kw_only=True)
class MissedLesion:
    """A countable lesion without a detection of at least the threshold. x, y: level-0 px."""

    slide: str
    lesion: int
    """Its number on the slide, as in lesions.csv."""
    x: float
    """Centre of mass."""
    y: float
    longest_axis_um: float
    """Growth included."""
    area_mm2: float
    """As annotated."""
    size: str
    """"micro" or "macro"."""
    best_probability: float | None
    """Probability of its best detection; None without a detection."""
    x_um: float
    y_um: float
    probability: float | None
    """Highest probability of the heatmap's cells whose centre lies in the lesion; without a
    heatmap `best_probability`."""
    peak_x: float
    """Place of that cell, or the centre of the lesion."""
    peak_y: float


@dataclass(frozen=True, kw_only=True)
class FalsePositive:
    """A detection of at least the threshold outside every lesion. x, y: level-0 px."""

    slide: str
    x: float
    y: float
    probability: float
    x_um: float
    y_um: float
    from_tumor_um: float | None
    """Distance to the nearest outline of tumour; None on a slide without."""


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Highest heatmap probability in each of L lesions."""

    probability: np.ndarray
    """(L,) float64, NaN where no cell was scored."""
    at: np.ndarray
    """(L, 2) level-0 (x, y) of the cell; the centre of the lesion where no cell was scored."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Missed lesions and false positives at one threshold, on the slides with known lesions."""

    threshold: float
    slides: int
    """Slides with a prediction, by which false positives are divided."""
    lesions: int
    """Countable lesions, also of slides without a prediction."""
    missed: tuple[MissedLesion, ...]
    """The most probable first."""
    false_positives: tuple[FalsePositive, ...]
    """The most probable first."""

    @property
    def sensitivity(self) -> float | None:
        return 1 - len(self.missed) / self.lesions if self.lesions else None

    @property
    def false_positives_per_slide(self) -> float | None:
        return len(self.false_positives) / self.slides if self.slides else None

    @property
    def metrics(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("threshold", "slides", "lesions", "sensitivity", "false_positives_per_slide")
        return {
            **{name: getattr(self, name) for name in names},
            "missed": [asdict(one) for one in self.missed],
            "false_positives": [asdict(one) for one in self.false_positives],
        }

    def missed_table(self) -> pd.DataFrame:
        return _table(self.missed, MissedLesion)

    def false_positives_table(self) -> pd.DataFrame:
        return _table(self.false_positives, FalsePositive)


def _table(rows: Sequence[Any], kind: type) -> pd.DataFrame:
    return pd.DataFrame([asdict(one) for one in rows], columns=list(kind.__annotations__))


def find_operating_point(
    results: Sequence[SlideResult],
    *,
    threshold: float,
    peaks: Mapping[str, Peaks] | None = None,
) -> OperatingPoint:
    """Collect mistakes of the slides in the figures whose lesions are known; peaks are by slide
    id."""
    slides = [r for r in results if r.in_figures and r.matches is not None]
    found = peaks or {}
    missed = [one for r in slides for one in list_missed(r, threshold, found.get(r.slide.id))]
    false = [one for r in slides for one in list_false_positives(r, threshold)]
    return OperatingPoint(
        threshold=threshold,
        slides=sum(r.is_predicted for r in slides),
        lesions=sum(r.matches.countable for r in slides if r.matches is not None),
        missed=tuple(sorted(missed, key=missed_order)),
        false_positives=tuple(sorted(false, key=lambda one: -one.probability)),
    )


def missed_order(lesion: MissedLesion) -> tuple[float, str, int]:
    """Sort key of missed lesions: the most probable first, those without a probability last."""
    probability = lesion.probability
    return 1.0 if probability is None else -probability, lesion.slide, lesion.lesion


def find_peaks(heatmap: Heatmap, lesions: AnyLesions) -> Peaks:
    """Find the highest probability of scored cells whose centre lies in each lesion."""
    probability = heatmap.probability[heatmap.scored].astype(np.float64)
    centres = heatmap.cell_centres(np.argwhere(heatmap.scored))
    label = lesions.at(centres)
    highest, at = np.full(len(lesions.measures), np.nan), lesions.measures.centre_level0.copy()
    inside = np.flatnonzero(label)
    inside = inside[np.argsort(probability[inside], kind="stable")]  # the highest is written last
    highest[label[inside] - 1] = probability[inside]
    at[label[inside] - 1] = centres[inside]
    return Peaks(probability=highest, at=at)


def list_missed(
    result: SlideResult, threshold: float, peaks: Peaks | None = None
) -> list[MissedLesion]:
    """List the countable lesions of a slide without a detection of at least the threshold."""
    measures, matches = result.lesions, result.matches
    if measures is None or matches is None:
        return []
    if peaks is None:
        peaks = Peaks(probability=matches.best, at=measures.centre_level0)
    is_missed = ~measures.is_itc & ~reaches(matches.best, threshold)
    found = []
    for index in np.flatnonzero(is_missed).tolist():
        x, y = measures.centre_level0[index].tolist()
        peak_x, peak_y = peaks.at[index].tolist()
        found.append(
            MissedLesion(
                slide=result.slide.id,
                lesion=index + 1,
                x=x,
                y=y,
                longest_axis_um=float(measures.major_axis_um[index]),
                area_mm2=float(measures.drawn_mm2[index]),
                size=str(measures.size[index]),
                best_probability=_number(matches.best[index]),
                x_um=x * result.slide_mpp,
                y_um=y * result.slide_mpp,
                probability=_number(peaks.probability[index]),
                peak_x=peak_x,
                peak_y=peak_y,
            )
        )
    return found


def list_false_positives(result: SlideResult, threshold: float) -> list[FalsePositive]:
    """List the detections of a slide outside every lesion with at least the threshold."""
    detections, matches, mpp = result.detections, result.matches, result.slide_mpp
    if detections is None or matches is None or result.truth is None:
        return []
    chosen = matches.is_false_from(threshold)
    xy = np.stack([detections.x, detections.y], axis=1)[chosen]
    distance = _distance_to_outlines(xy, result.truth.tumor) * mpp
    return [
        FalsePositive(
            slide=result.slide.id,
            x=x,
            y=y,
            probability=p,
            x_um=x * mpp,
            y_um=y * mpp,
            from_tumor_um=_number(um),
        )
        for (x, y), p, um in zip(
            xy.tolist(), detections.probability[chosen].tolist(), distance, strict=True
        )
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _distance_to_outlines(xy: np.ndarray, tumor: shapely.MultiPolygon) -> np.ndarray:
    """Level-0 px from points (N, 2) to the nearest outline, NaN without any."""
    rings = [ring for part in tumor.geoms for ring in (part.exterior, *part.interiors)]
    if not rings or not len(xy):
        return np.full(len(xy), np.nan)
    # A tree of single edges is far faster than one of whole outlines.
    ends = [shapely.get_coordinates(ring) for ring in rings]
    edges = np.concatenate([np.stack([one[:-1], one[1:]], axis=1) for one in ends])
    tree = shapely.STRtree(np.asarray(shapely.linestrings(edges)))
    _, distance = tree.query_nearest(shapely.points(xy), return_distance=True, all_matches=False)
    return distance
