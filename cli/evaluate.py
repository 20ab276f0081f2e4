"""`gigaslide evaluate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..cohort import Cohort
from ..eval import EvaluateSettings
from .stages import evaluate_stage

__all__ = ["evaluate"]


def evaluate(
    cohort: Annotated[Path, Parameter(help="Cohort CSV with the labels and annotations.")],
    predictions: Annotated[
        Path,
        Parameter(
            help="Folder made by gigaslide predict; or anybody's detections: a folder of CSV files "
            "of a slide each "
            "(p,x,y), or one CSV (slide,x,y,probability), level-0 px."
        ),
    ],
    report: Annotated[Path, Parameter(help="Folder to make: report.html, metrics.json, tables.")],
    *,
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),
) -> int:
    """Score heatmaps or detections against annotations: AUC, FROC and more, with intervals, in a
    report."""
    return evaluate_stage(Cohort.load(cohort), predictions, report, settings)
