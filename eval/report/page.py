"""Pages of an evaluation and of a comparison, for a screen, a phone and paper: one HTML file each,
which loads nothing from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..statistics.froc import DEFINITIONS, Froc
from ..statistics.scores import Roc
from .drawing import SlidePictures
from .evaluation import Evaluation
from .plots import draw_calibration, draw_froc, draw_frocs, draw_precision_recall, draw_rocs
from .rendering import format_result, render_page

__all__ = [
    "ModelCurves",
    "comparison_html",
    "describe_figure",
    "evaluation_html",
    "list_main_figures",
]

FIGURES = {
    "slide_auc": "Slide AUC",
    "slide_average_precision": "Slide average precision",
    "slide_sensitivity": "Slide sensitivity at the operating point",
    "slide_specificity": "Slide specificity at the operating point",
    "slide_brier": "Slide Brier score",
    "patch_auc": "Patch AUC",
    "patch_brier": "Patch Brier score",
    "patch_sensitivity": "Patch sensitivity at the operating point",
    "patch_specificity": "Patch specificity at the operating point",
}
PREFIXES = {
    "slide_sensitivity_at_specificity_": "Slide sensitivity at specificity {}",
    "slide_specificity_at_sensitivity_": "Slide specificity at sensitivity {}",
    **{
        f"froc_{name}_at_": f"Lesions found at {{}} false positives per slide, {name}"
        for name in DEFINITIONS
    },
    **{f"froc_{name}": f"FROC score, {name}" for name in DEFINITIONS},
}
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
    more = 0.2 * len(curves)  # for the legend
    return render_page(
        "compare.html.j2",
        filters={"figure": describe_figure},
        m=metrics,
        pairs=pairs,
        cautions=_group_cautions(pairs),
        models=list(curves),
        first_figures=list_main_figures(rates),
        pictures={slide: views for slide, views in pictures.items() if views},
        pictured=len(pictures),
        heated={name for name, one in curves.items() if one.has_heatmaps},
        alt={
            "roc": ", ".join(f"{n} AUC {format_result(one.auc)}" for n, one in rocs.items()),
            "froc": ", ".join(f"{n} score {format_result(one.score)}" for n, one in frocs.items()),
        },
        plots={
            "roc": draw_rocs(rocs, height=5.0 + more),
            "froc": draw_frocs(frocs, axis, height=4.8 + more),
        },
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


def evaluation_html(evaluation: Evaluation, *, made_with: dict[str, str], command: str) -> str:
    """Render report.html from the contents of metrics.json and the pictures."""
    figures, metrics, settings = evaluation.figures, evaluation.metrics, evaluation.settings
    used, results, point = metrics["cohort"]["in_figures"], evaluation.results, evaluation.point
    pictures = {
        name: found for name, found in evaluation.pictures.items() if not isinstance(found, str)
    }
    slides = [
        {
            "row": row,
            "pictures": pictures.get(result.slide.id),
            "further": dict(result.slide.further),
            "used": result.in_figures,
        }
        for row, result in zip(metrics["slides"], results, strict=True)
    ]
    return render_page(
        "report.html.j2",
        filters={"figure": describe_figure},
        m=metrics,
        slides=slides,
        used_splits=any(result.slide.split for result in results),
        missed=metrics["operating_point"]["missed"][: settings.gallery],
        false_positives=metrics["operating_point"]["false_positives"][: settings.gallery],
        heated={result.slide.id for result in results if result.cells is not None},
        scored_whole=any(result.is_scored_whole for result in results),
        crops={"missed": evaluation.missed_crops, "false": evaluation.false_positive_crops},
        caution=figures.resampling.caution,
        plots={
            "froc": draw_froc(figures, confidence=settings.confidence, point=point),
            "roc": draw_rocs({"slides": figures.slide_roc, "patches": figures.patch_roc}),
            "precision_recall": draw_precision_recall(
                figures.slide_precision_recall,
                tumor_share=figures.tumor_slides / used if used else None,
                average=figures.estimates["slide_average_precision"].value,
            ),
            "calibration": draw_calibration(
                {"slides": figures.slide_calibration, "patches": figures.patch_calibration}
            ),
        },
        made_with=made_with,
        command=command,
    )


def list_main_figures(rates: Sequence[float]) -> list[str]:
    """List the figures of a comparison that are shown first, by their names in comparison.json;
    rates are the false positives per slide of the FROC score."""
    return [*FIRST, *(f"froc_gigaslide_at_{rate:g}" for rate in rates)]


def describe_figure(name: str) -> str:
    """Return a figure's name in words."""
    if name in FIGURES:
        return FIGURES[name]
    for prefix, words in PREFIXES.items():
        if name.startswith(prefix):
            return words.format(name.removeprefix(prefix))
    return name.replace("_", " ")
