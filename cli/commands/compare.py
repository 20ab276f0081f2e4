"""`gigaslide compare`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...eval import EvaluateSettings
from ..options.arguments import Annotations, CohortFile, PredictionsFolder
from ..stages.annotations import load_cohort
from ..stages.evaluate import compare_stage

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
    annotations: Annotations = None,
) -> int:
    """Compare models with the first one on the same slides: paired differences with intervals and
    p-values, a report."""
    models = (predictions_a, predictions_b, *further)
    return compare_stage(load_cohort(cohort, annotations), models, out, settings)
