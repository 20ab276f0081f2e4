"""`gigaslide evaluate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...eval import EvaluateSettings
from ..options.arguments import Annotations, CohortFile, PredictionsFolder
from ..stages.annotations import load_cohort
from ..stages.evaluate import evaluate_stage

__all__ = ["evaluate"]


def evaluate(
    cohort: CohortFile,
    predictions: PredictionsFolder,
    report: Annotated[Path, Parameter(help="Folder to make: report.html, metrics.json, tables.")],
    *,
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),
    annotations: Annotations = None,
) -> int:
    """Score heatmaps or detections against annotations: AUC and FROC with intervals, a report."""
    return evaluate_stage(load_cohort(cohort, annotations), predictions, report, settings)
