"""An evaluation as tables and JSON: every number that the report shows, and those it has no room for."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ..wsi import CellStatus
from .bootstrap import Estimate
from .figures import Figures
from .judgement import Judgement
from .verdicts import SlideVerdicts, Verdict

__all__ = [
    "detections_table",
    "froc_table",
    "lesions_table",
    "metrics",
    "roc_table",
    "slide_counts",
    "slide_rows",
    "slides_table",
]


def _cells_name(status: CellStatus) -> str:
    return f"cells_{status.name.lower()}"


_LESION_COUNTS = ("lesions", "itc", "lesions_found", "false_positives", "ignored")
_COUNTS = (*_LESION_COUNTS, *map(_cells_name, CellStatus), "tumor_cells_scored", "tumor_cells_not_scored")


def slides_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """One row a slide, left out or not. An empty field is unknown, never 0."""
    return pd.DataFrame(slide_rows(judgements)).astype(dict.fromkeys(_COUNTS, "Int64"))


def slide_rows(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """The same as plain JSON."""
    return [_slide_row(j) for j in judgements]


def _slide_row(judgement: Judgement) -> dict[str, Any]:
    slide, cells, patches = judgement.slide, judgement.cells, judgement.patches
    return {
        "slide": slide.id,
        "label": slide.label,
        "patient": slide.patient,
        "status": str(judgement.status),
        "score": judgement.score,
        **slide_counts(judgement.verdicts),
        **{_cells_name(s): None if cells is None else cells[s] for s in CellStatus},
        "tumor_cells_scored": None if patches is None else int(patches.is_tumor.sum()),
        "tumor_cells_not_scored": None if patches is None else patches.tumor_not_scored,
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


def lesions_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """One row a lesion. area_mm2 is as annotated; longest_axis_um includes the growth; x, y in level-0 px."""
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
            "kind": np.where(measures.is_itc, "itc", "countable"),
            "best_probability": verdicts.best,
            "found": ~np.isnan(verdicts.best),
        }
        parts.append(pd.DataFrame(columns))
    return _joined(parts)


def detections_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """One row a detection with its verdict; "not judged" on a slide whose tumour is not outlined."""
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
    columns=["slide", "lesion", "x", "y", "area_mm2", "longest_axis_um", "kind", "best_probability", "found"]
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
            "definition": np.repeat([c.definition.name for c in curves], [len(c.threshold) for c in curves]),
            "threshold": np.concatenate([c.threshold for c in curves]),
            "false_positives_per_slide": np.concatenate([c.false_positives for c in curves]),
            "sensitivity": np.concatenate([c.sensitivity for c in curves]),
        }
    )


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


def metrics(figures: Figures) -> dict[str, Any]:
    """Every figure, plain JSON; null where it is not defined, with the reason beside it."""
    resampling = figures.resampling
    counts = (
        "tumor_slides",
        "normal_slides",
        "lesion_slides",
        "countable_lesions",
        "itc",
        "tumor_patches",
        "normal_patches",
    )
    return {
        "patch_auc": _plain(figures.patch_auc),
        "slide_auc": _plain(figures.slide_auc),
        "froc": {
            name: {
                "score": _plain(froc.score),
                "sensitivity_at_false_positives_per_slide": {
                    f"{rate:g}": _plain(value) for rate, value in zip(froc.curve.rates, froc.sensitivity, strict=True)
                },
                "definition": froc.curve.definition.words,
            }
            for name, froc in figures.froc.items()
        },
        "counts": {name: getattr(figures, name) for name in counts},
        "bootstrap": {
            "resamples": len(resampling.weights),
            "unit": resampling.unit,
            "units_with_tumor": resampling.tumor_units,
            "units_without": resampling.normal_units,
        },
    }


def _plain(value: Estimate) -> dict[str, Any]:
    return asdict(value)
