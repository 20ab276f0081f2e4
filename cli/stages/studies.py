"""A study as the command runs it: the plan, a bar of cells, the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import format_count
from ..terminal.progress import print_line, print_stage_line, slide_bar
from ..terminal.tables import print_table

if TYPE_CHECKING:
    from ...study import Plan, StudyReport, StudySettings

__all__ = ["show_stage", "study_stage"]

MOST_NAMED = 10  # failed cells


def study_stage(
    cohort: Cohort, out: Path, settings: StudySettings, batch: BatchSettings, *, is_plan: bool
) -> int:
    """Run a study, or print its plan."""
    from ...inference import with_default_workers
    from ...study import plan_study, run_study

    plan = plan_study(cohort, settings)
    _print_plan(plan, out)
    if is_plan:
        return 0
    batch = with_default_workers(batch)
    print_line(f"study: {describe_workers(batch, at_most=len(plan.cells))}")
    with slide_bar("study", len(plan.cells), noun="cells") as listener:
        report = run_study(plan, out, batch, listener=listener)
    _print_report(report)
    return report.exit_status


def show_stage(out: Path) -> int:
    """Print the answer of a study from its finished cells."""
    from ...study import show_study

    report = show_study(out)
    _print_report(report)
    return report.exit_status


def _print_plan(plan: Plan, out: Path) -> None:
    from ...study import describe_point, estimate_seconds

    data, cells = plan.data, plan.cells
    tumor = int(data.is_tumor.sum())
    print_line(f"study: {plan.study.question}")
    slides = format_count(len(data.ids), "slide")
    print_stage_line("", f"{slides}, {tumor} with tumour; {plan.study.material} {data.encoder}")
    sides = sorted({(len(split.train), len(split.test)) for split in plan.splits})
    (least, most), tests = (sides[0][0], sides[-1][0]), sorted(test for _, test in sides)
    train = f"{least}" if least == most else f"{least} to {most}"
    test = f"{tests[0]}" if tests[0] == tests[-1] else f"{tests[0]} to {tests[-1]}"
    print_stage_line(
        "",
        f"{format_count(len(plan.splits), 'test set')} by patient: {train} slides train, {test} "
        "are tested",
    )
    for point in plan.design.points:
        seeds = format_count(plan.design.seeds[point], "seed")
        print_stage_line("", f"{describe_point(point)}: {seeds}")
    seconds, is_measured = estimate_seconds(plan, out)
    source = "from finished cells" if is_measured else "a guess until cells have run"
    hours = f"{seconds / 3600:.2g} hours in one process ({source})"
    count = format_count(len(cells), "cell")
    print_stage_line("", f"{count}, each a training and its test; {hours}")


def _print_report(report: StudyReport) -> None:
    from ...study import points_frame

    if report.summary is not None:
        counts = ", ".join(
            f"{len(report.summary.of_status(status))} {status}"
            for status in ("done", "skipped", "failed")
        )
        print_stage_line("study", f"{format_count(len(report.summary.outcomes), 'cell')}: {counts}")
        failed = report.summary.of_status("failed")
        for outcome in failed[:MOST_NAMED]:
            print_stage_line("", f"failed: {outcome.slide}: {outcome.reason}")
        if len(failed) > MOST_NAMED:
            print_stage_line("", f"and {len(failed) - MOST_NAMED} more, see study.html")
    print_table(points_frame(report.findings))
    print_line(report.answer)
    if report.findings.resampling.caution:
        print_line(report.findings.resampling.caution)
    if report.findings.holes:
        print_line(
            f"{format_count(len(report.findings.holes), 'cell')} missing: holes in the table"
        )
    print_stage_line("", str(report.page))
