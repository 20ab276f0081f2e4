"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..statistics.caution import caution
from .page import page_of, records
from .plots import calibration_plot, froc_plot, precision_recall_plot, roc_plot

if TYPE_CHECKING:
    from ..evaluation import Evaluation

__all__ = ["report_html"]


def report_html(evaluation: Evaluation, *, made_with: dict[str, str], command: str) -> str:
    """The text of report.html, filled from what metrics.json and the tables hold, and from
    pictures."""
    figures, metrics = evaluation.figures, evaluation.metrics
    used = metrics["cohort"]["in_figures"]
    settings = evaluation.settings
    mistakes = evaluation.mistakes
    return page_of(
        "report.html.j2",
        m=metrics,
        slides=[
            {
                "row": row,
                "pictures": j.pictures,
                "further": dict(j.slide.further),
                "used": j.in_figures,
            }
            for row, j in zip(metrics["slides"], evaluation.judgements, strict=True)
        ],
        used_splits=any(j.slide.split for j in evaluation.judgements),
        missed=records(mistakes.missed.head(settings.gallery)),
        missed_count=len(mistakes.missed),
        false_positives=records(mistakes.false_positives.head(settings.gallery)),
        false_positive_count=len(mistakes.false_positives),
        heated={j.slide.id for j in evaluation.judgements if j.cells is not None},
        crops=evaluation.crops,
        caution=caution(figures.resampling),
        plots={
            "froc": froc_plot(figures, confidence=settings.confidence, point=mistakes.point),
            "roc": roc_plot(figures),
            "precision_recall": precision_recall_plot(
                figures.slide_precision_recall,
                tumor_share=figures.tumor_slides / used if used else None,
                average=figures.estimates["slide_average_precision"].value,
            ),
            "calibration": calibration_plot(
                {"slides": figures.slide_calibration, "patches": figures.patch_calibration}
            ),
        },
        made_with=made_with,
        command=command,
    )
