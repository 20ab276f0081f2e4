"""An evaluation as plain JSON: every figure, null where it is not defined, with the reason beside
it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..pn_stage import CLASSES, STAGES
from ..statistics.bootstrap import Estimate
from ..statistics.figures import Figures, FrocFigures, SizeCounts
from ..statistics.slide_level import Calibration
from ..statistics.subgroups import Subgroup
from .references import reference_rows

__all__ = ["metrics_of", "plain", "subgroup_rows"]


def metrics_of(figures: Figures) -> dict[str, Any]:
    """Every figure, plain JSON; null where it is not defined, with the reason beside it."""
    resampling, counts = (
        figures.resampling,
        {name: getattr(figures, name) for name in _FIGURE_COUNTS},
    )
    return {
        "patch_auc": plain(figures.patch_auc),
        "slide_auc": plain(figures.slide_auc),
        "froc": {name: _froc(froc) for name, froc in figures.froc.items()},
        "figures": {name: plain(value) for name, value in figures.estimates.items()},
        "slide_auc_delong": None if figures.slide_delong is None else asdict(figures.slide_delong),
        "patch_average_precision": figures.patch_average_precision,
        "calibration": {
            "slide": _calibration(figures.slide_calibration),
            "patch": _calibration(figures.patch_calibration),
        },
        "sizes": _sizes(figures.sizes),
        "stages": {
            "names": list(STAGES),
            "patients": len(figures.stages.patient),
            "patients_left_out": figures.stages.left_out,
            "true_by_predicted": figures.stages.table()[0].astype(int).tolist(),
            "kappa": plain(figures.estimates["stage_kappa"]),
        },
        "references": reference_rows(),
        "counts": counts,
        "bootstrap": {
            "resamples": len(resampling.weights),
            "unit": resampling.unit,
            "units_with_tumor": resampling.tumor_units,
            "units_without": resampling.normal_units,
        },
    }


_FIGURE_COUNTS = (
    "tumor_slides",
    "normal_slides",
    "lesion_slides",
    "absent_slides",
    "countable_lesions",
    "itc",
    "tumor_patches",
    "normal_patches",
)


def _froc(froc: FrocFigures) -> dict[str, Any]:
    return {
        "score": plain(froc.score),
        "sensitivity_at_false_positives_per_slide": {
            f"{rate:g}": plain(value)
            for rate, value in zip(froc.curve.rates, froc.sensitivity, strict=True)
        },
        "slides": froc.slides,
        "countable_lesions": froc.countable_lesions,
        "itc": froc.itc,
        "definition": froc.curve.definition.words,
        "difference": froc.difference,
    }


def _calibration(bins: Calibration) -> dict[str, Any]:
    arrays = {
        name: [None if np.isnan(value) else value for value in getattr(bins, name).tolist()]
        for name in ("edges", "count", "mean_score", "tumor_share", "low", "high")
    }
    return {"brier": bins.brier, "expected_error": bins.expected_error, "bins": arrays}


def _sizes(sizes: SizeCounts) -> dict[str, Any]:
    names = ("lesions", "found", "found_from_threshold")
    return {
        "lesions": {
            size: {
                **dict(zip(names, counts, strict=True)),
                "share_from_threshold": counts[2] / counts[0] if counts[0] else None,
            }
            for size, counts in sizes.lesions.items()
        },
        "classes": list(CLASSES),
        "slides_by_class_and_call": sizes.slides.tolist(),
        "slides_by_true_and_predicted_class": sizes.classes.tolist(),
    }


def plain(value: Estimate) -> dict[str, Any]:
    """An estimate as plain JSON."""
    return asdict(value)


def subgroup_rows(subgroups: Sequence[Subgroup]) -> list[dict[str, Any]]:
    """Figures of every subgroup as plain JSON."""
    return [
        {
            "column": group.column,
            "value": group.value,
            "slides": group.slides,
            "tumor_slides": group.tumor_slides,
            "countable_lesions": group.countable_lesions,
            "figures": {name: plain(value) for name, value in group.estimates.items()},
        }
        for group in subgroups
    ]
