"""`gigaslide compare`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..cohort import Cohort
from ..eval import EvaluateSettings
from .options import CohortFile, PredictionsFolder
from .stages import compare_stage

__all__ = ["compare"]


def compare(
    cohort: CohortFile,
    predictions_a: PredictionsFolder,
    predictions_b: Annotated[
        Path, Parameter(help="Predictions of another model for the same slides.")
    ],
    out: Annotated[Path, Parameter(help="Folder to make: compare.html, comparison.json, tables.")],
    *,
    further: Annotated[
        tuple[Path, ...],
        Parameter(group="Models", help="Predictions of one more model. Repeatable."),
    ] = (),
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),
) -> int:
    """Compare models with the first one on the same slides: paired differences with intervals and
    p-values, a report."""
    models = (predictions_a, predictions_b, *further)
    return compare_stage(Cohort.load(cohort), models, out, settings)
