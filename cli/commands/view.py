"""`gigaslide view`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...cohort import Cohort
from ...serve import ServerSettings
from ..options.arguments import CohortFile
from ..stages.view import view_stage

__all__ = ["view"]


def view(
    cohort: CohortFile,
    *,
    predictions: Annotated[
        Path | None,
        Parameter(
            group="Page", help="Folder made by gigaslide predict: heatmaps, detections, scores."
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        Parameter(
            group="Page",
            help="Folder of annotations to draw in; made if it is not there. Without it, the page "
            "only shows.",
        ),
    ] = None,
    annotator: Annotated[
        str, Parameter(group="Page", help="Name of who draws, for each version.")
    ] = "",
    settings: Annotated[ServerSettings, Parameter(name="*")] = ServerSettings(),
) -> int:
    """Look at the slides of a cohort in a browser, and outline them.

    Prints a link with a token. Whoever has the link can see the slides and save outlines. The page
    listens on this machine only, unless --host names another address; from another machine, use a
    tunnel of ssh. Ctrl+C ends it.
    """
    return view_stage(Cohort.load(cohort), predictions, annotations, annotator, settings)
