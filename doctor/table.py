"""The check-up as lines for a terminal: slides worst first, then what is between them, then the estimates."""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .checkup import CohortCheckup, SlideCheckup
from .findings import BY_SEVERITY, Finding
from .words import about, about_bytes, about_hours, area, counted, figure, printable

__all__ = ["checkup_lines"]

GOOD_LINES = 60  # of slides without findings; the page has them all
WIDE = 110  # columns from which on there is room for more columns
SLIDE_WIDTH = (12, 32)


def checkup_lines(checkup: CohortCheckup, *, width: int) -> Iterator[str]:
    """Lines of at most width characters; advice is wrapped, a slide's own line is cut."""
    yield from _slides(checkup, width)
    yield ""
    counts = ((checkup.count("error"), "with errors"), (checkup.count("warning"), "with warnings"))
    told = ", ".join(f"{count} {words}" for count, words in (*counts, (checkup.count(None), "good")))
    yield f"{counted(len(checkup.slides), 'slide')}: {told}"
    for finding in sorted([*checkup.findings, *_alike(checkup)], key=lambda f: BY_SEVERITY.index(f.severity)):
        yield from _finding(finding, width)
    yield ""
    yield from _sides(checkup)
    yield ""
    yield from _estimates(checkup, width)


def _slides(checkup: CohortCheckup, width: int) -> Iterator[str]:
    slides = list(checkup.worst_first)
    longest = max(len(slide.id) for slide in slides)
    room = min(max(longest, SLIDE_WIDTH[0]), SLIDE_WIDTH[1] if width >= WIDE else 22)
    columns = _columns(width)
    head = "  ".join(f"{name:>{size}}" for name, size, _ in columns)
    yield _cut(f"{'':<8}{'slide':<{room}}  {head}  first finding", width)
    good = 0
    for slide in slides:
        good += slide.worst in (None, "note")
        if good > GOOD_LINES:
            continue
        cells = "  ".join(f"{value(slide):>{size}}" for _, size, value in columns)
        state = "good" if slide.worst in (None, "note") else slide.worst
        yield _cut(f"{state:<8}{_cut(printable(slide.id), room):<{room}}  {cells}  {_says(slide)}", width)
    if good > GOOD_LINES:
        yield f"{'':<8}and {good - GOOD_LINES} more good ones"


def _columns(width: int) -> tuple[tuple[str, int, Callable[[SlideCheckup], Any]], ...]:
    """Name, width and what stands there."""
    narrow = (
        ("mm²", 6, lambda slide: area(slide.tissue_mm2)),
        ("patches", 7, lambda slide: figure(slide.tile and slide.tile.patches, ",")),
    )
    if width < WIDE:
        return narrow
    wider = (
        ("tumour mm²", 10, lambda slide: area(slide.annotation and slide.annotation.tumor_mm2)),
        ("windows", 9, lambda slide: figure(slide.predict and slide.predict.windows, ",")),
        ("µm/px", 6, lambda slide: figure(slide.pixels and slide.pixels.mpp, ".4g")),
        ("Mpx/s", 5, lambda slide: figure(slide.tiles and slide.tiles.mpx_per_s, ".0f")),
    )
    return (*narrow, *wider)


def _says(slide: SlideCheckup) -> str:
    if not slide.findings:
        return ""
    first = slide.by_severity[0]
    more = sum(finding.severity == first.severity for finding in slide.findings) - 1
    return printable(f"{f'(+{more}) ' if more else ''}{first.says}")


def _alike(checkup: CohortCheckup) -> Iterator[Finding]:
    """Errors and warnings of slides, those of one kind told once, in the words of the first."""
    kinds: dict[tuple[str, ...], list[tuple[str, Finding]]] = {}
    for slide in checkup.worst_first:
        for finding in slide.findings:
            if finding.severity != "note":
                kinds.setdefault((finding.severity, finding.check, finding.advice), []).append((slide.id, finding))
    for same in kinds.values():
        yield replace(same[0][1], slides=tuple(slide_id for slide_id, _ in same))


def _finding(finding: Finding, width: int) -> Iterator[str]:
    ids = ""
    if finding.slides:
        shown = ", ".join(finding.slides[:4])
        ids = f" ({shown}{f' and {len(finding.slides) - 4} more' if len(finding.slides) > 4 else ''})"
    text = printable(f"{finding.check}: {finding.says}{ids}" + (f"; {finding.advice}" if finding.advice else ""))
    lines = textwrap.wrap(text, width=max(20, width - 8), break_on_hyphens=False)
    for number, line in enumerate(lines):
        yield f"{finding.severity if number == 0 else '':<8}{line}"


def _sides(checkup: CohortCheckup) -> Iterator[str]:
    yield f"{'split':<12}{'slides':>8}{'tumour':>8}{'normal':>8}{'patients':>10}"
    for side in checkup.sides:
        patients = side.patients or "–"
        yield f"{side.split or '(none)':<12}{side.slides:>8}{side.tumor:>8}{side.normal:>8}{patients:>10}"


def _estimates(checkup: CohortCheckup, width: int) -> Iterator[str]:
    yield _cut(f"About, on this machine's {checkup.cores} cores, without a GPU:", width)
    yield f"{'stage':<12}{'slides':>8}{'count':>12}  {'of':<9}{'disk':>9}{'time':>12}"
    for one in checkup.estimates:
        yield (
            f"{one.stage:<12}{one.slides:>8}{about(one.items):>12}  {one.unit:<9}{about_bytes(one.bytes):>9}"
            f"{about_hours(one.hours):>12}"
        )


def _cut(text: str, width: int) -> str:
    return text.rstrip() if len(text) <= width else text[: width - 1] + "…"
