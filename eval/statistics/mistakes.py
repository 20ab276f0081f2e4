"""What went wrong at the operating point, as a reader wants to see it: where on the glass, how hot,
how near tumour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely

from ...wsi import Heatmap
from ..predictions.prediction import Predictions
from ..scoring.slide_result import Judgement
from ..scoring.threshold import reaches
from ..truth.lesions import AnyLesions
from .operating import OperatingPoint

__all__ = ["Mistakes", "calls_at", "mistakes_of"]


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The tables of an operating point with more columns; both most probable first. x, y: level-0
    px, *_um: µm."""

    point: OperatingPoint
    missed: pd.DataFrame
    """probability is the highest of the heatmap's cells whose middle lies in the lesion, at peak_x
    and peak_y; without a heatmap that of its best detection. Empty: none."""
    false_positives: pd.DataFrame
    """from_tumor_um: to the nearest annotated tumour; empty on a slide without."""


def calls_at(point: OperatingPoint, judgements: Sequence[Judgement]) -> dict[str, int]:
    """How many lesions are found, how many detections are false, how many slides are called tumour:
    plain JSON."""
    used = [j for j in judgements if j.in_figures and j.score is not None]
    called = [j for j in used if reaches(j.score, point.threshold)]
    return {
        "lesions_found": point.lesions - len(point.missed),
        "missed_count": len(point.missed),
        "false_positive_count": len(point.false_positives),
        "tumor_slides": sum(j.is_tumor for j in used),
        "tumor_slides_called": sum(j.is_tumor for j in called),
        "absent_tumor_slides": sum(j.is_tumor for j in judgements if j.is_absent),
        "normal_slides": sum(not j.is_tumor for j in used),
        "normal_slides_called": sum(not j.is_tumor for j in called),
    }


def mistakes_of(
    judgements: Sequence[Judgement], predictions: Predictions, point: OperatingPoint
) -> Mistakes:
    """Reads the heatmaps of the slides where something went wrong again."""
    missed, false = point.missed_table(), point.false_positives_table()
    for table, names in (
        (missed, ("x_um", "y_um", "probability", "peak_x", "peak_y")),
        (false, ("x_um", "y_um", "from_tumor_um")),
    ):
        for name in names:
            table[name] = np.nan
    wrong = {*missed["slide"], *false["slide"]}
    for judgement in judgements:
        prediction = predictions.of(judgement.slide) if judgement.slide.id in wrong else None
        if prediction is None:
            continue
        _complete_missed(missed, judgement, prediction.heatmap)
        _complete_false(false, judgement, mpp=prediction.slide_mpp)
        for table in (missed, false):
            here = _of(table, judgement)
            table.loc[here, ["x_um", "y_um"]] = (
                table.loc[here, ["x", "y"]].to_numpy(np.float64) * prediction.slide_mpp
            )
    ascending = [False, True, True]
    missed = missed.sort_values(
        ["probability", "slide", "lesion"], ascending=ascending, ignore_index=True
    )
    return Mistakes(point=point, missed=missed, false_positives=false)


def _of(table: pd.DataFrame, judgement: Judgement) -> np.ndarray:
    """(rows,) bool: those of one slide."""
    return np.asarray(table["slide"], object) == judgement.slide.id


def _complete_missed(missed: pd.DataFrame, judgement: Judgement, heatmap: Heatmap | None) -> None:
    here = _of(missed, judgement)
    if (
        not here.any()
        or judgement.truth is None
        or judgement.truth.lesions is None
        or judgement.verdicts is None
    ):
        return
    lesions = judgement.truth.lesions
    peak, at = judgement.verdicts.best, lesions.measures.centre_level0
    if heatmap is not None:
        peak, at = _peaks(heatmap, lesions)
    index = missed.loc[here, "lesion"].to_numpy(np.int64) - 1
    missed.loc[here, "probability"] = peak[index]
    missed.loc[here, ["peak_x", "peak_y"]] = at[index]


def _peaks(heatmap: Heatmap, lesions: AnyLesions) -> tuple[np.ndarray, np.ndarray]:
    """The highest probability of scored cells whose middle lies in each lesion (L,), NaN if none;
    and where (L, 2)."""
    cells = np.argwhere(heatmap.scored)
    probability = heatmap.probability[heatmap.scored].astype(np.float64)
    centres = heatmap.cell_centres(cells)
    label = lesions.at(centres)
    highest = np.full(len(lesions.measures), np.nan)
    at = lesions.measures.centre_level0.copy()
    inside = np.flatnonzero(label)
    inside = inside[
        np.argsort(probability[inside], kind="stable")
    ]  # of one lesion the highest is written last
    highest[label[inside] - 1] = probability[inside]
    at[label[inside] - 1] = centres[inside]
    return highest, at


def _complete_false(false: pd.DataFrame, judgement: Judgement, *, mpp: float) -> None:
    here = _of(false, judgement)
    if here.any() and judgement.truth is not None:
        xy: Any = false.loc[here, ["x", "y"]].to_numpy(np.float64)
        false.loc[here, "from_tumor_um"] = _from_outlines(xy, judgement.truth.tumor) * mpp


def _from_outlines(xy: np.ndarray, tumor: shapely.MultiPolygon) -> np.ndarray:
    """Level-0 px from points (N, 2) to the nearest outline, NaN without any."""
    rings = [ring for part in tumor.geoms for ring in (part.exterior, *part.interiors)]
    if not rings:
        return np.full(len(xy), np.nan)
    # Of single edges a tree finds the nearest at once; of whole outlines it would measure every
    # vertex.
    ends = [shapely.get_coordinates(ring) for ring in rings]
    edges = np.concatenate([np.stack([one[:-1], one[1:]], axis=1) for one in ends])
    tree = shapely.STRtree(np.asarray(shapely.linestrings(edges)))
    _, distance = tree.query_nearest(shapely.points(xy), return_distance=True, all_matches=False)
    return distance
