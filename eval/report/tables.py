"""An evaluation as tables and JSON: every number that the report shows, and those it has no room
for."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ...wsi import CellStatus
from ..pn_stage import STAGES
from ..scoring.matching import SlideVerdicts, Verdict
from ..scoring.slide_result import Judgement
from ..scoring.threshold import reaches
from ..statistics.bootstrap import Estimate
from ..statistics.figures import Figures
from ..statistics.subgroups import Subgroup
from .metrics import subgroup_rows

__all__ = [
    "calibration_table",
    "counts_from",
    "detections_table",
    "figures_table",
    "froc_band_table",
    "froc_table",
    "lesions_table",
    "patients_table",
    "precision_recall_table",
    "roc_table",
    "slide_counts",
    "slide_rows",
    "slides_table",
    "subgroups_table",
]


def _cells_name(status: CellStatus) -> str:
    return f"cells_{status.name.lower()}"


_FROM_COUNTS = ("lesions_found_from_threshold", "false_positives_from_threshold")
_LESION_COUNTS = ("lesions", "itc", "lesions_found", "false_positives", "ignored")
_COUNTS = (
    *_LESION_COUNTS,
    *_FROM_COUNTS,
    *map(_cells_name, CellStatus),
    "tumor_cells_scored",
    "tumor_cells_not_scored",
)


def slides_table(judgements: Sequence[Judgement], *, threshold: float) -> pd.DataFrame:
    """One row a slide, left out or not. An empty field is unknown, never 0."""
    return pd.DataFrame(slide_rows(judgements, threshold=threshold)).astype(
        dict.fromkeys(_COUNTS, "Int64")
    )


def slide_rows(judgements: Sequence[Judgement], *, threshold: float) -> list[dict[str, Any]]:
    """The same as plain JSON."""
    return [_slide_row(j, threshold) for j in judgements]


def _slide_row(judgement: Judgement, threshold: float) -> dict[str, Any]:
    slide, cells, patches = judgement.slide, judgement.cells, judgement.patches
    return {
        "slide": slide.id,
        "label": slide.label,
        "patient": slide.patient,
        **dict(slide.further),
        "status": str(judgement.status),
        "score": judgement.score,
        "called_tumor": None
        if judgement.score is None
        else bool(reaches(judgement.score, threshold)),
        "true_class": judgement.true_class,
        "predicted_class": judgement.predicted_class,
        **slide_counts(judgement.verdicts),
        "detections_outside": len(judgement.outside),
        **counts_from(judgement.verdicts, threshold),
        **{_cells_name(s): None if cells is None else cells[s] for s in CellStatus},
        "tumor_cells_scored": None if patches is None else int(patches.is_tumor.sum()),
        "tumor_cells_not_scored": None if patches is None else patches.tumor_not_scored,
        "unreadable_share": _unreadable_share(judgement),
        "reason": judgement.reason,
        "notes": "; ".join(judgement.notes),
    }


def slide_counts(verdicts: SlideVerdicts | None) -> dict[str, int | None]:
    """Lesions and detections of one slide; None throughout where they cannot be judged."""
    if verdicts is None:
        return dict.fromkeys(_LESION_COUNTS)
    return {
        "lesions": verdicts.countable,
        "itc": int(verdicts.is_itc.sum()),
        "lesions_found": verdicts.hits,
        "false_positives": verdicts.count(Verdict.FALSE_POSITIVE),
        "ignored": verdicts.count(Verdict.IGNORED),
    }


def counts_from(verdicts: SlideVerdicts | None, threshold: float) -> dict[str, int | None]:
    """Lesions found, and false positives, by detections from the threshold on; None where they
    cannot be judged."""
    if verdicts is None:
        return dict.fromkeys(_FROM_COUNTS)
    found = int(reaches(verdicts.best[~verdicts.is_itc], threshold).sum())
    false = (verdicts.verdict == Verdict.FALSE_POSITIVE) & reaches(verdicts.probability, threshold)
    return dict(zip(_FROM_COUNTS, (found, int(false.sum())), strict=True))


def _unreadable_share(judgement: Judgement) -> float | None:
    """Of the cells that should have a score; None where no heatmap tells it, or nothing should have
    one."""
    cells = judgement.cells
    wanted = 0 if cells is None else cells[CellStatus.SCORED] + judgement.not_looked_at
    return judgement.not_looked_at / wanted if wanted else None


def lesions_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """One row a lesion. area_mm2 is as annotated; longest_axis_um includes the growth; x, y in
    level-0 px."""
    parts = [_EMPTY_LESIONS]
    for judgement in judgements:
        measures, verdicts = judgement.lesions, judgement.verdicts
        if measures is None or verdicts is None:
            continue
        columns = {
            "slide": judgement.slide.id,
            "lesion": np.arange(1, len(measures) + 1),
            "x": measures.centre_level0[:, 0],
            "y": measures.centre_level0[:, 1],
            "area_mm2": measures.drawn_mm2,
            "longest_axis_um": measures.major_axis_um,
            "size": measures.size,
            "kind": np.where(measures.is_itc, "itc", "countable"),
            "left_out": np.where(measures.is_itc, measures.itc_words, ""),
            "raster_um": measures.raster_um,
            "best_probability": verdicts.best,
            "found": ~np.isnan(verdicts.best),
        }
        parts.append(pd.DataFrame(columns))
    return _joined(parts)


def detections_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """One row a detection with its verdict; "not judged" on a slide whose tumour is not
    outlined."""
    parts = [_EMPTY_DETECTIONS]
    for judgement in judgements:
        detections, verdicts = judgement.detections, judgement.verdicts
        if detections is None:
            continue
        columns = {name: getattr(detections, name) for name in ("slide", "x", "y", "probability")}
        columns["verdict"] = "not judged" if verdicts is None else verdicts.verdict.astype(str)
        columns["lesion"] = 0 if verdicts is None else verdicts.lesion
        parts.append(pd.DataFrame(columns))
    return _joined(parts)


_EMPTY_LESIONS = pd.DataFrame(
    columns=[
        "slide",
        "lesion",
        "x",
        "y",
        "area_mm2",
        "longest_axis_um",
        "size",
        "kind",
        "left_out",
        "raster_um",
        "best_probability",
        "found",
    ]
)
_EMPTY_DETECTIONS = pd.DataFrame(columns=["slide", "x", "y", "probability", "verdict", "lesion"])


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts[1:] if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def froc_table(figures: Figures) -> pd.DataFrame:
    """Every operating point of every definition; threshold inf: nothing detected."""
    curves = [froc.curve for froc in figures.froc.values()]
    return pd.DataFrame(
        {
            "definition": np.repeat(
                [c.definition.name for c in curves], [len(c.threshold) for c in curves]
            ),
            "threshold": np.concatenate([c.threshold for c in curves]),
            "false_positives_per_slide": np.concatenate([c.false_positives for c in curves]),
            "sensitivity": np.concatenate([c.sensitivity for c in curves]),
        }
    )


def froc_band_table(figures: Figures) -> pd.DataFrame:
    """The pointwise interval of our FROC curve; empty fields where there is none."""
    band = figures.froc_band
    columns = {"false_positives_per_slide": band.rates, "low": band.low, "high": band.high}
    return pd.DataFrame(columns)


def roc_table(figures: Figures) -> pd.DataFrame:
    """The corners of both ROC curves."""
    curves = {"slide": figures.slide_roc, "patch": figures.patch_roc}
    return pd.DataFrame(
        {
            "of": np.repeat(list(curves), [len(c.threshold) for c in curves.values()]),
            "threshold": np.concatenate([c.threshold for c in curves.values()]),
            "false_positive_rate": np.concatenate([c.false_positive_rate for c in curves.values()]),
            "true_positive_rate": np.concatenate([c.true_positive_rate for c in curves.values()]),
        }
    )


def precision_recall_table(figures: Figures) -> pd.DataFrame:
    """The slide score's precision and recall at every threshold."""
    curve = figures.slide_precision_recall
    return pd.DataFrame(
        {name: getattr(curve, name) for name in ("threshold", "precision", "recall")}
    )


def calibration_table(figures: Figures) -> pd.DataFrame:
    """Bins of slides and of patches; an empty bin has no mean, and no share."""
    parts = []
    for of, bins in (("slide", figures.slide_calibration), ("patch", figures.patch_calibration)):
        columns = {"of": of, "from": bins.edges[:-1], "to": bins.edges[1:]}
        for name in ("count", "mean_score", "tumor_share", "low", "high"):
            columns[name] = getattr(bins, name)
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def figures_table(figures: Figures) -> pd.DataFrame:
    """Every figure, a row each; those that are not resampled come last."""
    return pd.DataFrame(
        [{"figure": name, **asdict(value)} for name, value in _every_figure(figures).items()]
    )


def _every_figure(figures: Figures) -> dict[str, Estimate]:
    one, recall = figures.slide_delong, figures.patch_average_precision
    few = Estimate(value=None, undefined="fewer than two slides of a kind")
    found = {**figures.estimates, "slide_auc_delong": few}
    if one is not None:
        note = "; ".join(filter(None, ("normal interval, takes slides as independent", one.note)))
        found["slide_auc_delong"] = Estimate(value=one.value, low=one.low, high=one.high, note=note)
    undefined = figures.patch_roc.undefined if recall is None else ""
    found["patch_average_precision"] = Estimate(value=recall, undefined=undefined)
    for of, noun, bins in (
        ("slide", "slides", figures.slide_calibration),
        ("patch", "patches", figures.patch_calibration),
    ):
        error = bins.expected_error
        undefined = f"no {noun}" if error is None else ""
        found[f"{of}_expected_calibration_error"] = Estimate(value=error, undefined=undefined)
    return found


def patients_table(figures: Figures) -> pd.DataFrame:
    """The pN stage of every patient whose slides all have a true and a predicted class."""
    stages = figures.stages
    columns = {
        "patient": list(stages.patient),
        "true_stage": [STAGES[index] for index in stages.true],
        "predicted_stage": [STAGES[index] for index in stages.predicted],
    }
    return pd.DataFrame(columns)


def subgroups_table(subgroups: Sequence[Subgroup]) -> pd.DataFrame:
    """A row for each figure of each subgroup."""
    rows = [
        {
            **{k: v for k, v in row.items() if k != "figures"},
            "figure": name,
            "estimate": figure["value"],
            **intervals,
        }
        for row in subgroup_rows(subgroups)
        for name, figure in row["figures"].items()
        for intervals in [{k: v for k, v in figure.items() if k != "value"}]
    ]
    return (
        pd.DataFrame(rows)
        if rows
        else pd.DataFrame(columns=["column", "value", "slides", "figure", "estimate"])
    )
