"""Export of predictions, with a bar of slides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import format_count
from ..terminal.progress import print_line, print_stage_line, slide_bar
from ..terminal.tables import print_summary

if TYPE_CHECKING:
    from ...inference import ExportSettings

__all__ = ["export_stage"]


def export_stage(
    predictions: Path,
    out: Path,
    settings: ExportSettings,
    batch: BatchSettings,
    *,
    slides: Cohort | None = None,
) -> int:
    from ...inference import check_export, export_predictions, find_predicted

    check_export(settings, slides)
    found = find_predicted(predictions, slides)
    if batch.workers is None and not (batch.cluster or batch.scheduler):
        batch = batch.model_copy(update={"workers": 0})  # seconds of work do not pay for processes
    print_line(f"export: {describe_workers(batch, at_most=len(found))}")
    with slide_bar("export", len(found)) as listener:
        summary = export_predictions(
            predictions, out, settings, batch, slides=slides, listener=listener
        )
    print_summary("export", summary)
    made = format_count(summary.total("exports"), "export")
    print_stage_line("", f"{made} made, {summary.total('unchanged')} unchanged in {out}")
    if slides is not None and len(found) < len(slides):
        rest = format_count(len(slides) - len(found), "slide")
        print_stage_line("", f"{rest} of the cohort without a heatmap")
    return summary.exit_status
