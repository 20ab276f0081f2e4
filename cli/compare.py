"""`gigaslide compare`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..cohort import Cohort
from ..eval import EvaluateSettings
from .stages import compare_stage

__all__ = ["compare"]


def compare(
    cohort: Annotated[Path, Parameter(help="Cohort CSV with the labels and annotations.")],
    first: Annotated[
        Path, Parameter(help="Predictions of one model, in any form that evaluate takes.")
    ],
    second: Annotated[Path, Parameter(help="Predictions of another model for the same slides.")],
    out: Annotated[Path, Parameter(help="Folder to make: compare.html, comparison.json, tables.")],
    *,
    further: Annotated[
        tuple[Path, ...],
        Parameter(help="Predictions of more models, the option repeated for each."),
    ] = (),
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),
) -> int:
    """Compare models with the first on the same slides: paired differences with intervals and
    p-values, and a page."""
    return compare_stage(Cohort.load(cohort), (first, second, *further), out, settings)
