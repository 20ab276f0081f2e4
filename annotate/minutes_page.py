"""Page of minutes: one HTML file that loads nothing from outside."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from ..storage import atomic_file, format_count, gigaslide_version
from .journal import LONGEST_GAP_S
from .minutes import BETWEEN, MINUTES_FIGURES, MODES, Minutes

__all__ = ["save_minutes"]

PAGE = "minutes.html"
TEMPLATES = files("gigaslide.annotate").joinpath("templates")
COLOURS = {"scratch": "#d08700", "corrected": "#0b4f9e", "blind": "#8a93a1"}
LONGEST_BAR = 340
MOST_BARS = 60
LABEL = 30  # letters


def save_minutes(minutes: Minutes, out: Path, *, name: str, confidence: float) -> Path:
    """Write out/minutes.html, and return its path."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(
        TEMPLATES.joinpath("minutes.html.j2").read_text(encoding="utf-8")
    )
    html = template.render(
        minutes=minutes,
        name=name,
        modes=MODES,
        figures=MINUTES_FIGURES,
        between=BETWEEN,
        bars=_bars(minutes),
        number=_number,
        in_minutes=_in_minutes,
        count=format_count,
        gap=f"{LONGEST_GAP_S:g}",
        percent=f"{100 * confidence:g}",
        percent_scratch=f"{100 * minutes.deal.scratch:.0f} %",
        percent_blind=f"{100 * minutes.deal.blind:.0f} %",
        version=gigaslide_version(),
    )
    path = out / PAGE
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")
    return path


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _in_minutes(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2f}"


def _bars(minutes: Minutes) -> list[dict[str, Any]]:
    longest = max((task.minutes for task in minutes.tasks), default=0) or 1.0
    ordered = sorted(minutes.tasks, key=lambda task: -task.minutes)[:MOST_BARS]
    return [
        {
            "label": task.slide[:LABEL],
            "width": round(LONGEST_BAR * task.minutes / longest, 1),
            "value": f"{_in_minutes(task.minutes)} min",
            "colour": COLOURS.get("blind" if task.blind else task.mode, COLOURS["corrected"]),
        }
        for task in ordered
    ]
