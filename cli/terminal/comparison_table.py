"""Comparison of two models in the terminal."""

from collections.abc import Iterator
from typing import Any

from ...eval import EvaluateSettings, describe_figure, list_main_figures
from ...storage import format_count
from .progress import STAGE_WIDTH, print_stage_line
from .tables import print_rows

__all__ = ["print_agreement", "print_comparison"]


def print_comparison(metrics: dict[str, Any], settings: EvaluateSettings) -> None:
    """Print the main figures of both models and their differences."""
    first, second = metrics["names"]
    excluded = dict.fromkeys(one["slide"] for one in metrics["exclusions"])
    reason = metrics["exclusions"][0]["reason"] if excluded else ""
    rest = f"; not compared: {', '.join(excluded)}; the first: {reason}" if excluded else ""
    slides = format_count(len(metrics["slides"]), "slide")
    print_stage_line("compare", f"{first} minus {second}, {slides}{rest}")
    differences = metrics["differences"]
    rows = [
        [describe_figure(name), *_difference(differences[name])]
        for name in list_main_figures(settings.false_positives_per_slide)
        if name in differences and differences[name]["difference"]["value"] is not None
    ]
    numbers = [first, second, "difference", "p"]
    header = ["figure", first, second, "difference", f"{settings.confidence:.0%} interval", "p"]
    print_rows(header, rows, right=numbers, indent=STAGE_WIDTH + 1)
    print_agreement(metrics)


def print_agreement(metrics: dict[str, Any]) -> None:
    """Print how far the heatmaps of two models agree, and the time that each took."""
    for line in _agreement(metrics):
        print_stage_line("", line)


def _agreement(metrics: dict[str, Any]) -> Iterator[str]:
    """Lines on the heatmaps and the seconds of two models."""
    found, seconds = metrics["heatmaps"], metrics["seconds"]
    if found and not found["cells"]:
        yield "heatmaps: not compared, because their cells differ (stride or slide size)"
    elif found:
        correlation = found["correlation"]
        shown = "not defined" if correlation is None else f"{correlation:.4f}"
        x, y = found["largest_at"]
        yield (
            f"heatmaps: correlation {shown} over {found['cells']} cells; differences: mean "
            f"{found['mean_difference']:.3g}, largest {found['largest_difference']:.3g}, on "
            f"{found['largest_on']} at x {x}, y {y} (level-0 px)"
        )
    if seconds and seconds["ratio"]:
        first, second = metrics["names"]
        slides = format_count(seconds["slides"], "slide")
        yield (
            f"time: {seconds['first']:.3g} s and {seconds['second']:.3g} s for {slides}: {first} "
            f"took {seconds['ratio']:.3g} times as long as {second}"
        )


def _difference(one: dict[str, Any]) -> list[str]:
    found = one["difference"]
    interval = (
        found["note"] or ""
        if found["low"] is None
        else f"{found['low']:+.3f} to {found['high']:+.3f}"
    )
    return [
        f"{one['first']['value']:.3f}",
        f"{one['second']['value']:.3f}",
        f"{found['value']:+.3f}",
        interval,
        "" if one["p_value"] is None else f"{one['p_value']:.3f}",
    ]
