"""The check-up as lines for a terminal: slides worst first, what was found in words, the split, the
estimates."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .checkup import CohortCheckup, SlideCheckup
from .findings import BY_SEVERITY, Finding, Severity
from .formatting import about, about_bytes, about_hours, area, figure, format_count, printable

__all__ = ["checkup_lines"]

GOOD_LINES = 60  # of slides without findings; the page has them all
NAMED = 4  # slides that a finding names; the others are marked in the table
WIDE = 110  # columns from which on there is room for more columns
MARGIN = 8
LEAST_WIDTH = 66


def checkup_lines(checkup: CohortCheckup, *, width: int) -> Iterator[str]:
    """Lines of at most width characters, or of 66 on a narrower terminal."""
    width = max(width, LEAST_WIDTH)
    yield from _slides(checkup, width)
    yield ""
    counts = ((checkup.count("error"), "with errors"), (checkup.count("warning"), "with warnings"))
    told = ", ".join(
        f"{count} {words}" for count, words in (*counts, (checkup.count(None), "good"))
    )
    yield f"{format_count(len(checkup.slides), 'slide')}: {told}"
    yield from _findings(checkup, width)
    yield ""
    yield from _sides(checkup, width)
    yield ""
    yield from _estimates(checkup)


def _slides(checkup: CohortCheckup, width: int) -> Iterator[str]:
    slides = checkup.worst_first
    columns = _columns(width)
    room = min(max(len(slide.id) for slide in slides), 32 if width >= WIDE else 22)
    head = "  ".join(f"{name:>{size}}" for name, size, _ in columns)
    yield _cut(f"{'':<{MARGIN}}{'slide':<{room}}  {head}  findings", width)
    good = 0
    for slide in slides:
        good += slide.worst in (None, "note")
        if good > GOOD_LINES:
            continue
        cells = "  ".join(f"{value(slide):>{size}}" for _, size, value in columns)
        state = "good" if slide.worst in (None, "note") else slide.worst
        checks = dict.fromkeys(f.check for f in slide.by_severity if f.severity != "note")
        yield _cut(
            f"{state:<{MARGIN}}{_cut(printable(slide.id), room):<{room}}  {cells}  "
            f"{', '.join(checks)}",
            width,
        )
    if good > GOOD_LINES:
        yield f"{'':<{MARGIN}}and {good - GOOD_LINES} more good ones"


def _columns(width: int) -> tuple[tuple[str, int, Callable[[SlideCheckup], Any]], ...]:
    """Name, width and what stands there."""
    narrow = (
        ("tissue mm²", 10, lambda slide: area(slide.tissue_mm2)),
        ("patches", 7, lambda slide: figure(slide.tile and slide.tile.patches, ",")),
        ("windows", 9, lambda slide: figure(slide.predict and slide.predict.windows, ",")),
    )
    if width < WIDE:
        return narrow
    return (
        ("µm/px", 6, lambda slide: figure(slide.pixels and slide.pixels.mpp, ".4g")),
        ("levels", 6, lambda slide: figure(slide.pixels and len(slide.pixels.level_downsamples))),
        ("Mpx/s", 5, lambda slide: figure(slide.tiles and slide.tiles.mpx_per_s, ".0f")),
        narrow[0],
        ("tumour mm²", 10, lambda slide: area(slide.annotation and slide.annotation.tumor_mm2)),
        *narrow[1:],
    )


def _findings(checkup: CohortCheckup, width: int) -> Iterator[str]:
    """All but the notes of slides, worst first; those of one kind are told once, in the words of
    the first."""
    kinds: dict[tuple[str, ...], list[tuple[Finding, Sequence[str]]]] = {}
    for finding in checkup.findings:
        kinds.setdefault((finding.check, finding.advice, finding.says), []).append(
            (finding, finding.slides)
        )
    for slide in checkup.worst_first:
        for finding in slide.findings:
            if finding.severity != "note":
                kinds.setdefault((finding.check, finding.advice), []).append((finding, (slide.id,)))
    for alike in sorted(kinds.values(), key=lambda alike: BY_SEVERITY.index(alike[0][0].severity)):
        first, ids = alike[0][0], [slide_id for _, slides in alike for slide_id in slides]
        if len({finding.says for finding, _ in alike}) == 1:
            where = f" ({_named(ids)})" if ids else ""
        else:
            where = f" ({ids[0]}); likewise {_named(ids[1:])}"
        yield from _wrapped(f"{first.check}: {first.says}{where}", width, first.severity)
        if first.advice:
            yield from _wrapped(f"→ {first.advice}", width)


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more


def _wrapped(text: str, width: int, severity: Severity | None = None) -> Iterator[str]:
    lines = textwrap.wrap(printable(text), width=width - MARGIN, break_on_hyphens=False)
    for number, line in enumerate(lines):
        yield f"{severity or '' if number == 0 else '':<{MARGIN}}{line}"


def _sides(checkup: CohortCheckup, width: int) -> Iterator[str]:
    names = ("slides", "tumour", "normal", "patients", "tumour patches", "normal patches")
    yield _cut(f"{'split':<12}" + "".join(f"{name:>{len(name) + 2}}" for name in names), width)
    for side in checkup.sides:
        patches = (
            f"{count:,}" if count else "–" for count in (side.tumor_patches, side.normal_patches)
        )
        figures = (side.slides, side.tumor, side.normal, side.patients or "–", *patches)
        cells = (f"{value:>{len(name) + 2}}" for name, value in zip(names, figures, strict=True))
        yield _cut(f"{side.split or '(none)':<12}" + "".join(cells), width)


def _estimates(checkup: CohortCheckup) -> Iterator[str]:
    yield f"About, on this machine's {checkup.cores} cores, without a GPU:"
    yield f"{'stage':<12}{'slides':>8}{'count':>12}  {'of':<9}{'disk':>9}{'time':>12}"
    for one in checkup.estimates:
        yield (
            f"{one.stage:<12}{one.slides:>8}{about(one.items):>12}  "
            f"{one.unit:<9}{about_bytes(one.bytes):>9}{about_hours(one.hours):>12}"
        )


def _cut(text: str, width: int) -> str:
    return text.rstrip() if len(text) <= width else text[: width - 1] + "…"
