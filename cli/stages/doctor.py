"""Checks of a cohort before a long run, with a bar, and what they found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...storage import refuse_foreign_folder, require_writable
from ..terminal.progress import hide_warnings, print_line, slide_bar

if TYPE_CHECKING:
    from ...doctor import DoctorSettings

__all__ = ["doctor_stage"]


def doctor_stage(
    path: Path,
    out: Path,
    settings: DoctorSettings,
    batch: BatchSettings,
    annotations: Path | None = None,
) -> int:
    """annotations: folder whose newest accepted versions replace the cohort's annotations."""
    from ...annotate import use_versions
    from ...doctor import examine_cohort, format_checkup, load_cohort, save_checkup

    refuse_foreign_folder(out, known_by="checkup.json")
    require_writable(out)
    cohort, known = load_cohort(path)
    if annotations is not None:
        cohort = use_versions(cohort, annotations)
    print_line(f"doctor: {describe_workers(batch, at_most=len(cohort))}")
    with hide_warnings(), slide_bar("doctor", len(cohort)) as listener:
        checkup = examine_cohort(
            cohort, settings, batch, name=str(path), known=known, listener=listener
        )
    for line in format_checkup(checkup, width=shutil.get_terminal_size((100, 24)).columns):
        print_line(line)
    page = save_checkup(checkup, out)
    print_line(f"\nopen in a browser: {page}")
    return checkup.exit_status
