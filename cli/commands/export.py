"""`gigaslide export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort
from ...inference import ExportSettings
from ..options.arguments import Batch
from ..stages.export import export_stage

__all__ = ["export"]


def export(
    predictions: Annotated[Path, Parameter(help="Folder made by gigaslide predict.")],
    *,
    slides: Annotated[
        Path | None,
        Parameter(
            group="Export",
            help="Cohort CSV: its slides only, with their files (needed by png) and patients.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(group="Export", help="Folder for the exports. Default: beside each heatmap."),
    ] = None,
    settings: Annotated[ExportSettings, Parameter(name="*")] = ExportSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Export heatmaps and detections to the formats of viewers and tables.

    Files lie in a folder for each slide and begin with its id; tables and the script for QuPath lie
    above them. What is there already and unchanged is skipped.
    """
    cohort = None if slides is None else Cohort.load(slides)
    return export_stage(predictions, out or predictions, settings, batch, slides=cohort)
