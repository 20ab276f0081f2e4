"""The page of a comparison: curves of several models, their differences, and the slides on which
they disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..statistics.auc import Roc
from ..statistics.froc import Froc
from .drawing import SlidePictures
from .page import format_result, render_page
from .plots import froc_overlay, roc_overlay

__all__ = ["ModelCurves", "comparison_html"]

FIRST = (
    "slide_auc",
    "slide_sensitivity",
    "slide_specificity",
    "slide_average_precision",
    "slide_brier",
    "froc_gigaslide",
    "patch_auc",
    "patch_brier",
)


@dataclass(frozen=True, kw_only=True)
class ModelCurves:
    """Curves of one model on the slides that all models have in their figures."""

    roc: Roc
    froc: Froc
    has_heatmaps: bool
    """False for detections alone."""


def comparison_html(
    metrics: Mapping[str, Any],
    curves: Mapping[str, ModelCurves],
    pictures: Mapping[str, Mapping[str, SlidePictures]],
    *,
    made_with: Mapping[str, str],
    command: str,
) -> str:
    """Render compare.html from the contents of comparison.json, the curves and the pictures."""
    rates = metrics["settings"]["false_positives_per_slide"]
    pairs = [metrics, *metrics["further"]]
    axis = np.geomspace(rates[0] / 2, rates[-1] * 1.25, 2)
    rocs = {name: one.roc for name, one in curves.items()}
    frocs = {name: one.froc for name, one in curves.items()}
    return render_page(
        "compare.html.j2",
        m=metrics,
        pairs=pairs,
        cautions=_group_cautions(pairs),
        models=list(curves),
        first_figures=[*FIRST, *(f"froc_gigaslide_at_{rate:g}" for rate in rates)],
        pictures={slide: views for slide, views in pictures.items() if views},
        pictured=len(pictures),
        heated={name for name, one in curves.items() if one.has_heatmaps},
        alt={
            "roc": ", ".join(f"{n} AUC {format_result(one.auc)}" for n, one in rocs.items()),
            "froc": ", ".join(f"{n} score {format_result(one.score)}" for n, one in frocs.items()),
        },
        plots={"roc": roc_overlay(rocs), "froc": froc_overlay(frocs, axis)},
        made_with=made_with,
        command=command,
    )


def _group_cautions(pairs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The comparisons that each caution is about."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if pair["caution"]:
            found.setdefault(pair["caution"], []).append(" against ".join(pair["names"]))
    return found
