"""The page of a comparison: what several models reach on the same slides, and where they
disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import Pictures
from .page import page_of, told
from .plots import froc_overlay, roc_overlay

if TYPE_CHECKING:
    from ..compare_models import ModelCurves

__all__ = ["comparison_html"]

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


def comparison_html(
    metrics: Mapping[str, Any],
    curves: Mapping[str, ModelCurves],
    pictures: Mapping[str, Mapping[str, Pictures]],
    *,
    made_with: Mapping[str, str],
    command: str,
) -> str:
    """The text of compare.html, filled from what comparison.json holds, the curves and the
    pictures."""
    rates = metrics["settings"]["false_positives_per_slide"]
    names = [*FIRST, *(f"froc_gigaslide_at_{rate:g}" for rate in rates)]
    pairs = [metrics, *metrics["further"]]
    axis = np.geomspace(rates[0] / 2, rates[-1] * 1.25, 2)
    return page_of(
        "compare.html.j2",
        m=metrics,
        pairs=pairs,
        cautions=_cautions(pairs),
        models=list(curves),
        first_figures=names,
        pictures={slide: views for slide, views in pictures.items() if views},
        pictured=len(pictures),
        heated={name for name, one in curves.items() if one.has_heatmaps},
        told={
            "roc": ", ".join(f"{name} AUC {told(one.roc.auc)}" for name, one in curves.items()),
            "froc": ", ".join(
                f"{name} score {told(one.froc.score)}" for name, one in curves.items()
            ),
        },
        plots={
            "roc": roc_overlay({name: one.roc for name, one in curves.items()}),
            "froc": froc_overlay({name: one.froc for name, one in curves.items()}, axis),
        },
        made_with=made_with,
        command=command,
    )


def _cautions(pairs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By its words, the comparisons that each is about."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if pair["caution"]:
            found.setdefault(pair["caution"], []).append(" against ".join(pair["names"]))
    return found
