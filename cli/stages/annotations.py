"""Stages around annotations as the commands share them: proposals, regions to look at, minutes."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ...cohort import Cohort
from ...storage import SettingsError, atomic_file, format_count
from ..terminal.progress import print_line, print_stage_line, progress_bar
from ..terminal.tables import print_facts, print_rows

if TYPE_CHECKING:
    from ...annotate import (
        AnnotationTask,
        Deal,
        Minutes,
        NextRegion,
        OrderSettings,
        ProposeSettings,
    )
    from ...eval import Estimate

__all__ = ["load_cohort", "minutes_stage", "next_stage", "propose_stage"]

logger = logging.getLogger(__name__)

CONFIDENCE = 0.95
STATUSES = ("done", "unchanged", "skipped", "failed")


def load_cohort(path: Path, annotations: Path | None) -> Cohort:
    """Load a cohort, with the newest accepted versions of a folder of annotations if one is
    given."""
    cohort = Cohort.load(path)
    if annotations is None:
        return cohort
    from ...annotate import use_versions

    return use_versions(cohort, annotations)


def propose_stage(
    cohort: Cohort, directory: Path, predictions: Path, settings: ProposeSettings, deal: Deal
) -> int:
    from ...annotate import AnnotationFolder, Deal, propose_slide, slides_with_heatmap

    slides = slides_with_heatmap(cohort, predictions)
    folder = AnnotationFolder.create(directory, deal)
    if deal != Deal() and deal != folder.deal:
        logger.warning(
            "%s: --deal is ignored, because the folder was made with the deal %s; to deal anew, "
            "give another folder",
            directory,
            ", ".join(f"{name} {value}" for name, value in folder.deal.model_dump().items()),
        )
    done = []
    with progress_bar("propose", len(slides), " slides") as progress:
        for slide in slides:
            done.append(propose_slide(slide, folder, predictions, settings))
            progress.update()
    counts = {status: [one for one in done if one.status == status] for status in STATUSES}
    print_stage_line("propose", ", ".join(f"{len(counts[status])} {status}" for status in STATUSES))
    for one in [*counts["skipped"], *counts["failed"]]:
        print_stage_line("", f"{one.slide}: {one.reason}")
    outlines = format_count(sum(one.outlines for one in done), "outline")
    print_stage_line("", f"{outlines} in {directory}")
    if len(slides) < len(cohort):
        rest = format_count(len(cohort) - len(slides), "slide")
        print_stage_line("", f"{rest} of the cohort without a heatmap")
    if not counts["failed"]:
        return 0
    return 1 if len(counts["failed"]) == len(done) else 2


def next_stage(
    cohort: Cohort, directory: Path, predictions: Path, settings: OrderSettings, out: Path | None
) -> int:
    """out: CSV to write; None for standard output."""
    from ...annotate import next_regions

    regions = next_regions(cohort, directory, predictions, settings)
    if out is None:
        _write_regions(regions, sys.stdout)
        return 0
    with atomic_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        _write_regions(regions, file)
    print_stage_line("next", f"{format_count(len(regions), 'region')} in {out}")
    return 0


def _write_regions(regions: Sequence[NextRegion], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("rank", "slide", "x", "y", "width", "height", "order", "value_mm2", "reason"))
    for rank, one in enumerate(regions, 1):
        place = (one.slide, one.x, one.y, one.width, one.height)
        writer.writerow((rank, *place, one.order, f"{one.value:.4g}", one.reason))


def minutes_stage(directory: Path, report: Path | None, resamples: int) -> None:
    """Print the minutes and the agreement of the finished tasks.

    report: folder for a page; None for none.

    Raises:
        SettingsError: no task is finished.
    """
    from ...annotate import AnnotationFolder, measure_minutes, save_minutes

    found = measure_minutes(
        AnnotationFolder.open(directory), resamples=resamples, confidence=CONFIDENCE
    )
    if not found.tasks:
        raise SettingsError(
            f"{directory}: no task is finished: journal.jsonl tells of no work that ended in an "
            "accepted version; docs/annotate.md says what writes it"
        )
    _print_tasks(found.tasks)
    print_line()
    _print_medians(found)
    if found.not_finished:
        print_line(f"{format_count(found.not_finished, 'task')} begun, without an accepted version")
    if report is not None:
        page = save_minutes(found, report, name=str(directory), confidence=CONFIDENCE)
        print_line(str(page))


def _print_tasks(tasks: Sequence[AnnotationTask]) -> None:
    from ...annotate import MODES

    header = ("slide", "annotator", "mode", "minutes", "mm²", "min/mm²", "Dice before/after")
    rows = [
        (
            task.slide,
            task.annotator + (" (blind)" if task.blind else ""),
            MODES.get(task.mode, task.mode),
            f"{task.minutes:.1f}",
            f"{task.area_mm2:.2f}",
            "" if task.minutes_per_mm2 is None else f"{task.minutes_per_mm2:.2f}",
            "" if task.dice_before_after is None else f"{task.dice_before_after:.3f}",
        )
        for task in tasks
    ]
    print_rows(header, rows, right=header[3:])


def _print_medians(found: Minutes) -> None:
    from ...annotate import MINUTES_FIGURES, MODES

    for (figure, mode), estimate in found.medians.items():
        if estimate.value is not None:
            words = f"median {MINUTES_FIGURES[figure]}, {MODES[mode]}"
            print_facts([(words, _format_estimate(estimate))])
    print_facts(
        [
            ("median minutes saved by correcting", _format_estimate(found.saved)),
            ("median Dice between annotators", _format_estimate(found.between_median)),
        ]
    )


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return estimate.undefined
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} ({estimate.note or 'no interval'})"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
