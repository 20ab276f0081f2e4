"""Results as tables on the terminal: numbers to the right, no lines and no colour in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...batch import BatchSummary, Pace
from ...models import ModelCheck
from ...storage import format_count
from .progress import STAGE_WIDTH, print_line, print_stage_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "print_check",
    "print_exclusions",
    "print_facts",
    "print_metrics",
    "print_rows",
    "print_summary",
    "print_table",
]

MOST_NAMED = 5  # slides in one line
UNBROKEN = 35  # letters; first columns up to this width stay on one line
NO_LIMIT = 100_000  # columns; what reads a pipe wants whole rows


def print_table(table: pd.DataFrame) -> None:
    """Print a pandas table with all rows and columns; missing values are empty."""
    numbers = [name for name in table if table[name].dtype.kind in "iuf"]
    rows = ([_cell(value) for value in row] for row in table.itertuples(index=False))
    print_rows(list(map(str, table.columns)), rows, right=list(map(str, numbers)))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print facts below each other: topic, text."""
    width = max(len(topic) for topic, _ in facts)
    for topic, text in facts:
        print_line(f"{topic:<{width}}  {text}")


def print_check(check: ModelCheck) -> None:
    """Print the probabilities of each picture of a model's check, then the warnings."""
    header = ["picture", "windows", "mean", "highest", "called", ""]
    rows = [
        [
            row.picture,
            str(row.windows),
            f"{row.mean:.3f}",
            f"{row.highest:.3f}",
            str(row.called),
            "looks like tumour" if row.looks_like_tumor else "ok",
        ]
        for row in check.rows
    ]
    print_rows(header, rows, right=header[1:5])
    print_line(f"called: windows with a tumour probability of {check.threshold:g} or more")
    for warning in check.warnings:
        print_line(f"warning: {warning}")


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_rows(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    indent: int = 0,
) -> None:
    """Print a table of texts; columns named in right stand to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    texts = [[*row] for row in rows]
    longest = max((len(row[0]) for row in texts if row), default=0)
    for number, name in enumerate(header):
        table.add_column(
            Text(name),
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=number == 0 and longest <= UNBROKEN,
        )
    for row in texts:
        table.add_row(*map(Text, row))
    width = None if sys.stdout.isatty() else NO_LIMIT
    console = Console(width=width, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(Padding(table, (0, 0, 0, indent), expand=False))
    for line in capture.get().splitlines():
        print(line.rstrip())
    sys.stdout.flush()


def print_time(pace: Pace) -> None:
    """Print where the time of a prediction or of features went, and what limits it."""
    parts, beside = pace.parts, pace.beside
    whole = sum(parts.values())
    if not whole:
        return
    words = {
        "network": "network",
        "pixels": "waiting for pixels",
        "loading": "loading the network",
        "preparing": "finding tissue",
        "writing": "writing",
        "other": "the rest",
    }
    shares = ", ".join(
        f"{word} {parts[name] / whole:.0%}" for name, word in words.items() if name in parts
    )
    advice = {
        "network": "the network limits it",
        "pixels": _advise_on_pixels(**beside),
        "preparing": "finding tissue limits it",
        "writing": "writing limits it: a local disk may be faster",
    }
    limit = max(advice, key=lambda name: parts.get(name, 0.0))
    rest = whole - sum(parts.get(name, 0.0) for name in advice)
    told = "" if rest > whole / 2 else f"; {advice[limit]}"
    print_stage_line("", f"time: {shares}{told}")
    if any(beside.values()):
        read, decode = (beside.get(name, 0.0) for name in ("read", "decode"))
        told = f"{read:.1f} s reading tiles, {decode:.1f} s decoding them"
        print_stage_line("", f"at the same time as the network: {told}")


def _advise_on_pixels(*, read: float = 0.0, decode: float = 0.0) -> str:
    if decode > read > 0:
        return "decoding limits it: give more cores"
    is_told = read or not decode  # OpenSlide counts both as decoding
    return (
        f"reading {'' if is_told else 'or decoding '}limits it: copy the slides to a local disk, "
        "or give more cores"
    )


def print_summary(stage: str, summary: BatchSummary) -> None:
    """Print the counts of a stage, a line for each reason of slides that failed or are partial,
    and a line that names the others that gave nothing."""
    print_stage_line(stage, summary.headline())
    for problem in summary.problems():
        count, names = len(problem.slides), _name_some(problem.slides)
        slides = names if count == 1 else f"{count} slides ({names})"
        print_stage_line("", f"{problem.status}: {slides}: {problem.reason}")
    empty = [
        outcome.slide
        for outcome in (*summary.of_status("done"), *summary.of_status("skipped"))
        if "no tissue" in outcome.reason and not any(outcome.counts.values())
    ]
    if empty:
        named = _name_some(empty)
        print_stage_line("", f"{format_count(len(empty), 'slide')} without tissue: {named}")


def _name_some(slides: Sequence[str]) -> str:
    return ", ".join(slides[:MOST_NAMED]) + (", …" if len(slides) > MOST_NAMED else "")


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print patch AUC, slide AUC and FROC with intervals, sensitivity at each rate of false
    positives, the official scores where they were asked for, and the calls at the operating
    point."""
    if len(metrics["models"]) > 1:
        names = ", ".join(metrics["models"])
        print_stage_line("", f"predictions of {len(metrics['models'])} different models: {names}")
    froc = metrics["froc"]["gigaslide"]
    figures = {
        "patch AUC": metrics["patch_auc"],
        "slide AUC": metrics["slide_auc"],
        "FROC score": froc["score"],
    }
    for rate, figure in froc["sensitivity_at_false_positives_per_slide"].items():
        figures[f"sensitivity at {rate} FP per slide"] = {**figure, "note": ""}
    official = metrics.get("official") or {"programs": {}, "notes": []}
    for name, program in official["programs"].items():
        figures[f"{name} FROC score"] = program["score"]
    interval = f"{metrics['settings']['confidence']:.0%} interval"
    rows = [[name, *_figure(figure)] for name, figure in figures.items()]
    print_rows(["figure", "value", interval], rows, right=["value"], indent=STAGE_WIDTH + 1)
    for note in official["notes"]:
        print_stage_line("", note)
    print_stage_line("", _describe_calls(metrics["operating_point"]))


def _describe_calls(point: dict[str, Any]) -> str:
    origin = f" ({point['origin']})" if point.get("origin") else ""
    tumor = (
        f"{point['tumor_slides_called']} of {format_count(point['tumor_slides'], 'tumour slide')}"
    )
    normal = (
        f"{point['normal_slides_called']} of {format_count(point['normal_slides'], 'normal slide')}"
    )
    return f"called tumour at a threshold of {point['threshold']:g}{origin}: {tumor}, {normal}"


def _figure(figure: dict[str, Any]) -> tuple[str, str]:
    """Value and interval of a figure, or the reason why there is none."""
    if figure["value"] is None:
        return "–", f"not defined: {figure['undefined']}"
    if figure["low"] is None:
        return f"{figure['value']:.3f}", figure.get("note") or ""
    return f"{figure['value']:.3f}", f"{figure['low']:.3f} to {figure['high']:.3f}"


def print_exclusions(metrics: dict[str, Any]) -> None:
    """Print which slides and patients some figures lack, and how many detections lie outside."""
    excluded = metrics["exclusions"]
    slides = [one for one in excluded if one["kind"] == "slide"]
    for figures in dict.fromkeys(one["excluded_from"] for one in slides):
        some = [one for one in slides if one["excluded_from"] == figures]
        print_stage_line("", _excluded(figures, "slide", some[0]["slide"], some))
    patients = [one for one in excluded if one["kind"] == "patient"]
    if patients:
        print_stage_line("", _excluded("pN stages", "patient", patients[0]["name"], patients))
    outside = [one for one in excluded if one["kind"] == "detection"]
    if outside:
        count = sum(slide["detections_outside"] for slide in metrics["slides"])
        print_stage_line(
            "",
            f"{format_count(count, 'detection')} outside the slide, counted as false positives; "
            f"the first: {outside[0]['name']}",
        )


def _excluded(figures: str, noun: str, first: str, some: Sequence[dict[str, Any]]) -> str:
    count = format_count(len(some), noun)
    return f"not in {figures}: {count}; the first: {first}: {some[0]['reason']}"
