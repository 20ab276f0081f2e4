"""A run on one page: outcomes of the slides and their reasons, speed of the workers, slowest
slides."""

from collections import Counter
from importlib.resources import files

import jinja2

from ..storage import gigaslide_version
from .outcome import BatchSummary, SlideStatus

__all__ = ["run_html"]

TEMPLATE = files("gigaslide.batch").joinpath("templates", "run.html.j2")
STATUSES: tuple[SlideStatus, ...] = ("done", "skipped", "partial", "failed")
SLOWEST, NAMED = 10, 12
PARTS = {
    "network": "the network computes",
    "pixels": "waiting for pixels: reading, decoding, stain normalisation",
    "loading": "loading the network",
    "preparing": "opening slides, finding tissue",
    "writing": "writing results and pictures",
    "other": "everything else",
    "read": "reading tiles",
    "decode": "decoding tiles",
}
"""Parts of the work, in words."""
COUNTED = {
    "tumor": "tumour patches",
    "normal": "normal patches",
    "nan": "not a number",
    "first_pass": "cells of the first pass only",
}
"""Counts whose names in tables need more words."""


def run_html(summary: BatchSummary, *, name: str, failures: str = "failures.txt") -> str:
    """Return run.html, one file that needs no other. The template escapes all text from outside."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["duration"] = format_duration
    totals: Counter[str] = Counter()
    for outcome in summary.outcomes:
        totals.update(outcome.counts)
    worked_on = [outcome for outcome in summary.outcomes if outcome.status != "skipped"]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        summary=summary,
        name=name,
        failures=failures,
        statuses=STATUSES,
        totals=dict(totals),
        problems=summary.problems(),
        most=NAMED,
        parts=PARTS,
        counted=COUNTED,
        slowest=sorted(worked_on, key=lambda outcome: -outcome.seconds)[:SLOWEST],
        version=gigaslide_version(),
    )


def format_duration(seconds: float) -> str:
    """Format seconds: 3.2 s, 12 min, 1 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
