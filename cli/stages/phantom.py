"""Drawing of phantoms, with a bar of slides."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, BatchSummary, SlideOutcome, describe_workers, run_slides
from ..terminal.progress import print_line, slide_bar
from ..terminal.tables import print_summary

if TYPE_CHECKING:
    from ...phantom import PhantomSettings, PhantomSlide

__all__ = ["phantom_stage"]


def phantom_stage(
    out: Path, settings: PhantomSettings, batch: BatchSettings
) -> tuple[Path, BatchSummary]:
    """Return the path of the phantoms' cohort.csv, and the outcome of each."""
    from ...phantom import plan_cohort, write_cohort

    plans = plan_cohort(settings)
    print_line(f"phantom: {describe_workers(batch, at_most=len(plans))}")
    with slide_bar("phantom", len(plans)) as listener:
        summary = run_slides(partial(_make_phantom, out=out), plans, batch, listener=listener)
    print_summary("phantom", summary)
    return write_cohort(plans, out), summary


def _make_phantom(plan: PhantomSlide, *, out: Path) -> SlideOutcome:
    from ...phantom import make_slide

    return SlideOutcome(slide=plan.id, status="done" if make_slide(plan, out) else "skipped")
