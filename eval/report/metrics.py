"""Contents of metrics.json: every figure, null where it is not defined, with the reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ...wsi import CellStatus
from ..camelyon16 import OfficialResult
from ..predictions.given_detections import NO_ROW
from ..scoring.matching import Match, reaches
from ..scoring.slide_result import SlideResult
from ..statistics.bootstrap import Estimate
from ..statistics.figures import Figures, Subgroup
from ..statistics.froc import DEFINITIONS, Froc
from ..statistics.operating import OperatingPoint
from ..statistics.scores import Calibration
from ..truth.measures import CLASSES
from .references import REFERENCES

__all__ = [
    "collect_metrics",
    "collect_official",
    "count_calls",
    "count_cohort",
    "list_slides",
    "list_subgroups",
]

FIGURE_COUNTS = (
    "tumor_slides",
    "normal_slides",
    "lesion_slides",
    "slides_without_prediction",
    "countable_lesions",
    "itc",
    "tumor_patches",
    "normal_patches",
)


def collect_metrics(figures: Figures) -> dict[str, Any]:
    """Collect every figure as plain JSON."""
    resampling = figures.resampling
    return {
        "patch_auc": asdict(figures.patch_auc),
        "slide_auc": asdict(figures.slide_auc),
        "froc": {
            name: {
                **_froc(froc.curve, froc.score, froc.sensitivity),
                "slides": figures.lesion_slides_predicted,
                "countable_lesions": figures.countable_lesions,
                "itc": figures.itc,
                "definition": DEFINITIONS[name].description,
            }
            for name, froc in figures.froc.items()
        },
        "figures": {name: asdict(value) for name, value in figures.estimates.items()},
        "patch_average_precision": figures.patch_average_precision,
        "calibration": {
            "slide": _calibration(figures.slide_calibration),
            "patch": _calibration(figures.patch_calibration),
        },
        "sizes": _sizes(figures),
        "references": [asdict(one) for one in REFERENCES],
        "counts": {name: getattr(figures, name) for name in FIGURE_COUNTS},
        "bootstrap": {
            "resamples": len(resampling.weights),
            "unit": resampling.unit,
            "units_with_tumor": resampling.tumor_units,
            "units_without": resampling.normal_units,
        },
    }


def collect_official(result: OfficialResult) -> dict[str, Any]:
    """Collect the scores of the official programs as plain JSON."""
    programs = {
        name: {
            **_froc(one.curve, one.score, one.sensitivity),
            "slides": one.slides,
            "countable_lesions": one.countable_lesions,
            "itc": one.itc,
            "definition": one.program.description,
            "difference": one.difference,
        }
        for name, one in result.programs.items()
    }
    return {"programs": programs, "notes": list(result.notes)}


def _froc(curve: Froc, score: Estimate, sensitivity: Sequence[Estimate]) -> dict[str, Any]:
    return {
        "score": asdict(score),
        "sensitivity_at_false_positives_per_slide": {
            f"{rate:g}": asdict(value) for rate, value in zip(curve.rates, sensitivity, strict=True)
        },
    }


def _calibration(bins: Calibration) -> dict[str, Any]:
    arrays = {
        name: [None if np.isnan(value) else value for value in getattr(bins, name).tolist()]
        for name in ("edges", "count", "mean_score", "tumor_share", "low", "high")
    }
    return {"brier": bins.brier, "expected_error": bins.expected_error, "bins": arrays}


def _sizes(figures: Figures) -> dict[str, Any]:
    lesions = {
        size: {
            "lesions": count,
            "found": found,
            "found_from_threshold": called,
            "share_from_threshold": called / count if count else None,
        }
        for size, (count, found, called) in figures.sizes.lesions.items()
    }
    return {
        "lesions": lesions,
        "classes": list(CLASSES),
        "slides_by_class_and_call": figures.sizes.slides.tolist(),
    }


def list_subgroups(subgroups: Sequence[Subgroup]) -> list[dict[str, Any]]:
    """List the figures of every subgroup as plain JSON."""
    return [
        {
            "column": group.column,
            "value": group.value,
            "slides": group.slides,
            "tumor_slides": group.tumor_slides,
            "countable_lesions": group.countable_lesions,
            "figures": {name: asdict(value) for name, value in group.estimates.items()},
        }
        for group in subgroups
    ]


def count_cohort(results: Sequence[SlideResult], *, without_picture: int) -> dict[str, Any]:
    """Count the slides in the figures, those excluded, and the cells without a score, as plain
    JSON; patients is None where the cohort names none."""
    used = [result for result in results if result.in_figures]
    cells = Counter[CellStatus]()
    for result in used:
        cells.update(result.cells or {})
    lost = cells[CellStatus.UNREADABLE] + cells[CellStatus.FAILED]
    scored = cells[CellStatus.SCORED] + cells[CellStatus.FIRST_PASS]
    tissue = scored + lost
    return {
        "slides": len(results),
        "in_figures": len(used),
        "excluded": len(results) - len(used),
        "patients": len({r.slide.patient for r in used if r.slide.patient}) or None,
        "statuses": dict(Counter(str(result.status) for result in results)),
        "cells_scored": scored,
        "cells_first_pass": cells[CellStatus.FIRST_PASS],
        "cells_background": cells[CellStatus.BACKGROUND],
        "cells_unreadable": cells[CellStatus.UNREADABLE],
        "cells_failed": cells[CellStatus.FAILED],
        "lost_share": lost / tissue if tissue else 0.0,
        "tumor_cells_not_scored": sum(r.patches.tumor_not_scored for r in used if r.patches),
        "without_row": sum(NO_ROW in result.notes for result in used),
        "without_picture": without_picture,
    }


def count_calls(point: OperatingPoint, results: Sequence[SlideResult]) -> dict[str, int]:
    """Count lesions found, false positives and slides called tumour at the operating point, as
    plain JSON."""
    used = [result for result in results if result.in_figures and result.score is not None]
    called = [result for result in used if reaches(result.score, point.threshold)]
    return {
        "lesions_found": point.lesions - len(point.missed),
        "missed_count": len(point.missed),
        "false_positive_count": len(point.false_positives),
        "tumor_slides": sum(result.is_tumor for result in used),
        "tumor_slides_called": sum(result.is_tumor for result in called),
        "tumor_slides_without_prediction": sum(
            result.is_tumor for result in results if not result.is_predicted
        ),
        "normal_slides": sum(not result.is_tumor for result in used),
        "normal_slides_called": sum(not result.is_tumor for result in called),
    }


def list_slides(
    results: Sequence[SlideResult], notes: Mapping[str, str], *, threshold: float
) -> list[dict[str, Any]]:
    """List every slide as plain JSON; null is unknown, never 0. Further notes are by slide id."""
    return [_slide(result, notes.get(result.slide.id, ""), threshold) for result in results]


def _slide(result: SlideResult, note: str, threshold: float) -> dict[str, Any]:
    slide, cells, patches, matches = result.slide, result.cells, result.patches, result.matches
    scored = None if cells is None else cells[CellStatus.SCORED] + cells[CellStatus.FIRST_PASS]
    tissue = (scored or 0) + result.unscored_cells
    return {
        "slide": slide.id,
        "label": slide.label,
        "patient": slide.patient,
        **dict(slide.further),
        "status": str(result.status),
        "score": result.score,
        "called_tumor": None if result.score is None else bool(reaches(result.score, threshold)),
        "true_class": result.true_class,
        "lesions": matches and matches.countable,
        "itc": matches and int(matches.is_itc.sum()),
        "lesions_found": matches and matches.hits,
        "false_positives": matches and matches.count(Match.FALSE_POSITIVE),
        "ignored": matches and matches.count(Match.IGNORED),
        "detections_outside": len(result.outside),
        "lesions_found_from_threshold": matches and matches.hits_from(threshold),
        "false_positives_from_threshold": matches and int(matches.is_false_from(threshold).sum()),
        **{f"cells_{s.name.lower()}": None if cells is None else cells[s] for s in CellStatus},
        "cells_scored": scored,  # those of a first pass among them
        "tumor_cells_scored": None if patches is None else int(patches.is_tumor.sum()),
        "tumor_cells_not_scored": None if patches is None else patches.tumor_not_scored,
        "unreadable_share": result.unscored_cells / tissue if tissue else None,
        "reason": result.reason,
        "notes": "; ".join((*result.notes, note) if note else result.notes),
    }
