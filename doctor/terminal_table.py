"""The check-up on a terminal: slides worst first, findings, splits and estimates."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..storage import format_count
from .checkup import CohortCheckup, SlideCheckup
from .findings import BY_SEVERITY, Finding
from .formatting import (
    format_area,
    format_bytes,
    format_figure,
    format_hours,
    round_figure,
    strip_control,
)

__all__ = ["format_checkup"]

MOST_GOOD = 60  # rows for slides without findings; the page has all of them
MOST_NAMED = 4  # slides named in a finding; the table marks the others
WIDE = 110  # terminal width from which on more columns are shown
LEAST_WIDTH = 66
SEVERITY_WIDTH = 7
NARROW_COLUMNS: dict[str, Callable[[SlideCheckup], Any]] = {
    "tissue mm²": lambda slide: format_area(slide.tissue_mm2),
    "patches": lambda slide: format_figure(slide.tile and slide.tile.patches, ","),
    "windows": lambda slide: format_figure(slide.predict and slide.predict.windows, ","),
}
WIDE_COLUMNS: dict[str, Callable[[SlideCheckup], Any]] = {
    "µm/px": lambda slide: format_figure(slide.pixels and slide.pixels.mpp, ".4g"),
    "levels": lambda slide: format_figure(slide.pixels and len(slide.pixels.level_downsamples)),
    "Mpx/s": lambda slide: format_figure(slide.tiles and slide.tiles.mpx_per_s, ".0f"),
    "tissue mm²": NARROW_COLUMNS["tissue mm²"],
    "tumour mm²": lambda slide: format_area(slide.annotation and slide.annotation.tumor_mm2),
    "patches": NARROW_COLUMNS["patches"],
    "windows": NARROW_COLUMNS["windows"],
}


def format_checkup(checkup: CohortCheckup, *, width: int) -> list[str]:
    """Format as lines of at most width characters, or of 66 on a narrower terminal."""
    width = max(width, LEAST_WIDTH)
    console = Console(
        file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False
    )
    counts = ((checkup.count("error"), "with errors"), (checkup.count("warning"), "with warnings"))
    summary = ", ".join(f"{n} {name}" for n, name in (*counts, (checkup.count(None), "good")))
    parts = (
        _slides_table(checkup, width),
        "",
        f"{format_count(len(checkup.slides), 'slide')}: {summary}",
        _findings_table(checkup),
        "",
        _splits_table(checkup),
        "",
        f"Approximately, on this machine's {checkup.cores} cores, without a GPU:",
        _estimates_table(checkup),
    )
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


def _table(columns: Iterable[str], *, left: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(
            name, justify="left" if name in left else "right", no_wrap=True, overflow="ellipsis"
        )
    return table


def _slides_table(checkup: CohortCheckup, width: int) -> Table:
    columns = WIDE_COLUMNS if width >= WIDE else NARROW_COLUMNS
    table = _table(("", "slide", *columns, "findings"), left=("", "slide", "findings"))
    table.columns[1].max_width = 32 if width >= WIDE else 24 if width >= 80 else 14
    table.columns[-1].no_wrap = False
    good = 0
    for slide in checkup.worst_first:
        severity = "good" if slide.worst in (None, "note") else slide.worst
        good += severity == "good"
        if severity == "good" and good > MOST_GOOD:
            continue
        checks = dict.fromkeys(f.check for f in slide.by_severity if f.severity != "note")
        figures = (value(slide) for value in columns.values())
        table.add_row(severity, Text(strip_control(slide.id)), *figures, ", ".join(checks))
    if good > MOST_GOOD:
        table.add_row("", f"… {good - MOST_GOOD} more")
    return table


def _findings_table(checkup: CohortCheckup) -> Table:
    """Every finding except notes on slides, worst first."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=SEVERITY_WIDTH)
    table.add_column()
    for finding, ids, is_common in _merge_findings(checkup):
        if is_common:
            where = f" ({_name_slides(ids)})" if ids else ""
        else:
            where = f" ({ids[0]}); likewise {_name_slides(ids[1:])}"
        message = strip_control(f"{finding.check}: {finding.message}{where}")
        table.add_row(finding.severity, Text(message))
        if finding.advice:
            table.add_row("", Text(strip_control(f"→ {finding.advice}")))
    return table


def _merge_findings(checkup: CohortCheckup) -> Iterator[tuple[Finding, list[str], bool]]:
    """Merge findings of one check and advice: the first of them, all slides, equal messages."""
    groups: dict[tuple[str, ...], list[tuple[Finding, Sequence[str]]]] = {}
    for finding in checkup.findings:
        key = (finding.check, finding.advice, finding.message)
        groups.setdefault(key, []).append((finding, finding.slides))
    for slide in checkup.worst_first:
        for finding in slide.findings:
            if finding.severity != "note":
                key = (finding.check, finding.advice)
                groups.setdefault(key, []).append((finding, (slide.id,)))
    for group in sorted(groups.values(), key=lambda group: BY_SEVERITY.index(group[0][0].severity)):
        ids = [slide_id for _, slides in group for slide_id in slides]
        yield group[0][0], ids, len({finding.message for finding, _ in group}) == 1


def _name_slides(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return ", ".join(ids[:MOST_NAMED]) + more


def _splits_table(checkup: CohortCheckup) -> Table:
    names = ("slides", "tumour", "normal", "patients", "tumour patches", "normal patches")
    table = _table(("split", *names), left=("split",))
    for split in checkup.splits:
        patches = (split.tumor_patches, split.normal_patches)
        table.add_row(
            split.split or "(none)",
            *map(str, (split.slides, split.tumor, split.normal, split.patients or "–")),
            *(f"{count:,}" if count else "–" for count in patches),
        )
    return table


def _estimates_table(checkup: CohortCheckup) -> Table:
    table = _table(("stage", "slides", "count", "of", "disk", "time"), left=("stage", "of"))
    for one in checkup.estimates:
        table.add_row(
            one.stage,
            str(one.slides),
            round_figure(one.items),
            one.unit,
            format_bytes(one.bytes),
            format_hours(one.hours),
        )
    return table
