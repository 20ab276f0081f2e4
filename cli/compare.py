"""`gigaslide compare`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..eval import EvaluateSettings
from ..wsi import Cohort
from .stages import compare_stage

__all__ = ["compare"]


def compare(
    cohort: Annotated[Path, Parameter(help="Cohort CSV with the labels and annotations.")],
    first: Annotated[Path, Parameter(help="Predictions of one model, in any form that evaluate takes.")],
    second: Annotated[Path, Parameter(help="Predictions of another model for the same slides.")],
    out: Annotated[Path, Parameter(help="Folder to make: comparison.json, comparison.csv.")],
    *,
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),
) -> int:
    """Compare two models on the same slides: paired differences with intervals and p-values."""
    return compare_stage(Cohort.load(cohort), (first, second), out, settings)
