"""Plots of a study: a figure over what the study varies, a line for each learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..eval import LINES, Estimate, line_style, styled_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "draw_curves"]

CHANCE = 0.5
"""AUC of a guess."""
CLOSEST = 0.09
"""Distance of two labels on an axis, as a share of it."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Estimates (K) of a figure over x (K), ascending."""

    x: Sequence[float]
    estimates: Sequence[Estimate]

    @property
    def known(self) -> np.ndarray:
        """(4, M) float64: x, value, low and high of the estimates that have a value; an end that is
        missing is NaN."""
        rows = [
            (x, one.value, one.low, one.high)
            for x, one in zip(self.x, self.estimates, strict=True)
            if one.value is not None
        ]
        return np.array(rows, np.float64).reshape(-1, 4).T


def draw_curves(
    curves: Mapping[str, Curve],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    is_log: bool,
    names: Sequence[str] = (),
) -> Figure:
    """Draw curves by name with their intervals as bands. With names the places on the x axis are
    kinds: points with bars, not joined."""
    with styled_plot(height=4.6) as (figure, axes):
        for (name, curve), line, mark in zip(curves.items(), LINES, "o^sdv", strict=False):
            x, y, low, high = curve.known
            style = {**line_style(line, name), "marker": mark, "markersize": 5.5, "clip_on": False}
            if names:
                style["linestyle"] = "none"
                reach = np.nan_to_num(np.stack([y - low, high - y])).clip(0)
                axes.errorbar(x, y, reach, **style, capsize=3, elinewidth=1.2)
                continue
            axes.fill_between(x, low, high, where=~np.isnan(low), color=line[0], alpha=0.13, lw=0)
            axes.plot(x, y, **style, linewidth=1.8)
        if axes.get_ylim()[0] < CHANCE - 0.02:
            _mark_chance(axes)
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(None, 1.005))
        if names:
            axes.set_xticks(range(len(names)), names)
            axes.set_xlim(-0.5, len(names) - 0.5)
        elif is_log:
            ticks = _thin([value for curve in curves.values() for value in curve.x])
            axes.set_xscale("log")
            axes.set_xticks(ticks, [_format_tick(value) for value in ticks])
            axes.minorticks_off()
    return figure


def _mark_chance(axes: Axes) -> None:
    axes.axhline(CHANCE, color="0.55", linewidth=1.0, linestyle=":", zorder=0)
    axes.annotate(
        "guessing",
        (1, CHANCE),
        (-2, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        color="0.4",
        fontsize=8,
    )


def _format_tick(value: float) -> str:
    """Whole numbers, and tenths of small ones, such as minutes."""
    return f"{value:.1f}" if value < 3 and value % 1 else f"{value:.0f}"


def _thin(values: Sequence[float]) -> list[float]:
    """Values that are far enough apart on a log axis to be written below it."""
    kept: list[float] = []
    least = CLOSEST * np.log(max(values, default=1.0) / min(values, default=1.0))
    for value in sorted(set(values)):
        if not kept or np.log(value / kept[-1]) > least:
            kept.append(value)
    return kept
