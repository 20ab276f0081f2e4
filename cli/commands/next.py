"""`gigaslide next`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...annotate import OrderSettings
from ...cohort import Cohort
from ..options.arguments import AnnotationsFolder, CohortFile, Heatmaps
from ..stages.annotations import next_stage

__all__ = ["next"]


def next(  # noqa: A001 - the name of the command
    cohort: CohortFile,
    directory: AnnotationsFolder,
    *,
    predictions: Heatmaps,
    settings: Annotated[OrderSettings, Parameter(name="*")] = OrderSettings(),
    out: Annotated[
        Path | None, Parameter(group="Order", help="CSV to write. Default: standard output.")
    ] = None,
) -> int:
    """List the regions that are worth looking at next, as CSV, each with its reason in words.

    By doubt: where the model is unsure and nobody has looked. By contradiction: where accepted
    outlines and the model differ.
    """
    return next_stage(Cohort.load(cohort), directory, predictions, settings, out)
