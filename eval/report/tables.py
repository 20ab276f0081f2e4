"""Tables of an evaluation, saved as CSV beside the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ...wsi import CellStatus
from ..scoring.slide_result import SlideResult
from ..statistics.bootstrap import Estimate
from ..statistics.figures import Figures, Subgroup
from .metrics import list_subgroups

__all__ = [
    "CALIBRATION",
    "FROC",
    "ROC",
    "curves_table",
    "detections_table",
    "figures_table",
    "lesions_table",
    "slides_table",
    "subgroups_table",
]

COUNTS = (
    "lesions",
    "itc",
    "lesions_found",
    "false_positives",
    "ignored",
    "lesions_found_from_threshold",
    "false_positives_from_threshold",
    *(f"cells_{status.name.lower()}" for status in CellStatus),
    "tumor_cells_scored",
    "tumor_cells_not_scored",
)
LESION_COLUMNS = (
    "slide",
    "lesion",
    "x",
    "y",
    "area_mm2",
    "longest_axis_um",
    "size",
    "kind",
    "excluded",
    "raster_um",
    "best_probability",
    "found",
)
ROC = {name: name for name in ("threshold", "false_positive_rate", "true_positive_rate")}
FROC = {
    "threshold": "threshold",
    "false_positives_per_slide": "false_positives",
    "sensitivity": "sensitivity",
}
CALIBRATION = {
    "from": "low_edge",
    "to": "high_edge",
    **{name: name for name in ("count", "mean_score", "tumor_share", "low", "high")},
}
"""Fields of a curve, by the names of their columns."""
DETECTION_COLUMNS = ("slide", "x", "y", "probability", "match", "lesion")


def slides_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `list_slides` with whole counts; an empty field is unknown, never 0."""
    return pd.DataFrame(rows).astype(dict.fromkeys(COUNTS, "Int64"))


def lesions_table(results: Sequence[SlideResult]) -> pd.DataFrame:
    """A row a lesion: area as annotated, longest axis with growth, x and y in level-0 px."""
    parts = []
    for result in results:
        measures, matches = result.lesions, result.matches
        if measures is None or matches is None:
            continue
        columns = {
            "slide": result.slide.id,
            "lesion": np.arange(1, len(measures) + 1),
            "x": measures.centre_level0[:, 0],
            "y": measures.centre_level0[:, 1],
            "area_mm2": measures.drawn_mm2,
            "longest_axis_um": measures.major_axis_um,
            "size": measures.size,
            "kind": np.where(measures.is_itc, "itc", "countable"),
            "excluded": np.where(measures.is_itc, measures.itc_reason, ""),
            "raster_um": measures.raster_um,
            "best_probability": matches.best,
            "found": ~np.isnan(matches.best),
        }
        parts.append(pd.DataFrame(columns))
    return _concatenate(parts, LESION_COLUMNS)


def detections_table(results: Sequence[SlideResult]) -> pd.DataFrame:
    """A row a detection with its match; "not judged" on a slide whose tumour is not outlined."""
    parts = []
    for result in results:
        detections, matches = result.detections, result.matches
        if detections is None:
            continue
        columns = {name: getattr(detections, name) for name in DETECTION_COLUMNS[:4]}
        columns["match"] = "not judged" if matches is None else matches.match.astype(str)
        columns["lesion"] = 0 if matches is None else matches.lesion
        parts.append(pd.DataFrame(columns))
    return _concatenate(parts, DETECTION_COLUMNS)


def _concatenate(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(filled, ignore_index=True)


def curves_table(
    curves: Mapping[str, Any], columns: Mapping[str, str], *, by: str = "of"
) -> pd.DataFrame:
    """A row a point of each curve; columns are the curves' fields by the names of their columns,
    and by names the column of the curves' names. Threshold inf: nothing detected."""
    parts = [
        pd.DataFrame({by: name, **{new: getattr(curve, old) for new, old in columns.items()}})
        for name, curve in curves.items()
    ]
    return _concatenate(parts, (by, *columns))


def figures_table(figures: Figures, further: Mapping[str, Estimate]) -> pd.DataFrame:
    """A row a figure; further figures and those without an interval come last."""
    average, roc = figures.patch_average_precision, figures.patch_roc
    found = {
        **figures.estimates,
        **further,
        "patch_average_precision": Estimate(value=average, undefined=roc.undefined),
    }
    for of, noun, bins in (
        ("slide", "slides", figures.slide_calibration),
        ("patch", "patches", figures.patch_calibration),
    ):
        error = bins.expected_error
        found[f"{of}_expected_calibration_error"] = Estimate(
            value=error, undefined=f"no {noun}" if error is None else ""
        )
    return pd.DataFrame([{"figure": name, **asdict(value)} for name, value in found.items()])


def subgroups_table(subgroups: Sequence[Subgroup]) -> pd.DataFrame:
    """A row for each figure of each subgroup."""
    rows = []
    for group in list_subgroups(subgroups):
        for name, figure in group.pop("figures").items():
            estimate = {"figure": name, "estimate": figure.pop("value"), **figure}
            rows.append({**group, **estimate})
    columns = ["column", "value", "slides", "figure", "estimate"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
