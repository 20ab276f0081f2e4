"""`gigaslide minutes`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..options.arguments import AnnotationsFolder
from ..stages.annotations import minutes_stage

__all__ = ["minutes"]


def minutes(
    directory: AnnotationsFolder,
    *,
    report: Annotated[
        Path | None, Parameter(group="Report", help="Folder for a page, minutes.html.")
    ] = None,
    resamples: Annotated[int, Parameter(group="Report", help="Bootstrap resamples.")] = 2000,
) -> int:
    """Tell how long outlines took and how far annotators agree: medians with intervals, by mode
    (from scratch, corrected)."""
    minutes_stage(directory, report, resamples)
    return 0
