"""Evaluation of predictions, of one model or of several compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cohort import Cohort
from ...storage import format_count, require_writable
from ..terminal.comparison_table import print_comparison
from ..terminal.progress import print_line, print_stage_line, progress_bar
from ..terminal.tables import print_exclusions, print_metrics

if TYPE_CHECKING:
    from ...eval import EvaluateSettings

__all__ = ["compare_stage", "evaluate_stage"]


def evaluate_stage(cohort: Cohort, predictions: Path, out: Path, settings: EvaluateSettings) -> int:
    from ...eval import evaluate_cohort, find_evaluation, slides_to_evaluate

    print_line("evaluate: this process")
    metrics = find_evaluation(cohort, predictions, out, settings)
    state = "evaluated" if metrics is None else "unchanged"
    if metrics is None:
        require_writable(out)
        slides = len(slides_to_evaluate(cohort, settings))
        with progress_bar("evaluate", slides, " slides") as progress:
            metrics = evaluate_cohort(
                cohort, predictions, out, settings, on_slide=lambda _: progress.update()
            ).metrics
    counts = metrics["cohort"]
    slides = f"{counts['in_figures']} of {format_count(counts['slides'], 'slide')}"
    print_stage_line("evaluate", f"{state}; {slides} in the figures")
    print_exclusions(metrics)
    print_metrics(metrics)
    print_stage_line("", f"open in a browser: {out / 'report.html'}")
    return metrics["exit_status"]


def compare_stage(
    cohort: Cohort, predictions: tuple[Path, ...], out: Path, settings: EvaluateSettings
) -> int:
    """Return 2 where slides had to be left out."""
    from ...eval import compare_cohort, slides_to_evaluate

    slides = len(slides_to_evaluate(cohort, settings))
    require_writable(out)
    print_line("compare: this process")
    with progress_bar("compare", len(predictions) * slides, " slides") as progress:
        comparisons = compare_cohort(
            cohort, predictions, out, settings, on_slide=lambda _: progress.update()
        )
    for comparison in comparisons:
        print_comparison(comparison.metrics, settings)
    print_stage_line("", f"open in a browser: {out / 'compare.html'}")
    return 2 if any(comparison.exclusions for comparison in comparisons) else 0
