"""The report of an evaluation: one HTML file for a screen, a phone and paper."""

from .evaluation import Evaluation
from .page import render_page
from .plots import calibration_plot, froc_plot, precision_recall_plot, roc_plot

__all__ = ["evaluation_html"]


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
        m=metrics,
        slides=slides,
        used_splits=any(result.slide.split for result in results),
        missed=metrics["operating_point"]["missed"][: settings.gallery],
        false_positives=metrics["operating_point"]["false_positives"][: settings.gallery],
        heated={result.slide.id for result in results if result.cells is not None},
        crops={"missed": evaluation.missed_crops, "false": evaluation.false_positive_crops},
        caution=figures.resampling.caution,
        plots={
            "froc": froc_plot(figures, confidence=settings.confidence, point=point),
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
