"""`gigaslide evaluate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..eval import EvaluateSettings
from ..wsi import Cohort
from .stages import evaluate_stage

__all__ = ["evaluate"]


def evaluate(
    cohort: Annotated[Path, Parameter(help="Cohort CSV with the labels and annotations.")],
    predictions: Annotated[Path, Parameter(help="Folder made by gigaslide predict.")],
    report: Annotated[Path, Parameter(help="Folder to make: report.html, metrics.json, tables.")],
    /,
    *,
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),
) -> int:
    """Score heatmaps and detections against annotations: patch AUC, slide AUC, FROC, with intervals, in a report."""
    return evaluate_stage(Cohort.load(cohort), predictions, report, settings)
