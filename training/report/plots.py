"""Plots of a training: curves over the examples seen, calibration of the validation patches."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from ...eval import Calibration
from .history import HistoryRow

__all__ = ["EpochCurve", "calibration_svg", "curves_svg", "draw_curve", "epoch_curves_svg"]

BLUE, ORANGE, GREY = "#0b4f9e", "#b35900", "#6b7280"
STYLE: list[Any] = [
    "default",  # nothing of the user's own matplotlibrc
    {
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "grid.color": "#e5e7eb",
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.borderaxespad": 0.2,
        "legend.fontsize": 8.5,
        "svg.hashsalt": "gigaslide",
    },
]


def curves_svg(rows: Sequence[HistoryRow], *, best: HistoryRow, examples: int) -> dict[str, str]:
    """Loss, AUC, learning rate and speed over examples, each as SVG text; examples is the number
    that the training will see."""
    plots = {
        "loss": _draw_loss,
        "AUC": _draw_auc,
        "learning rate": _draw_learning_rate,
        "speed": _draw_speed,
    }
    drawn = {}
    for name, draw in plots.items():
        with _figure(width=5.7, height=3.4) as figure:
            axes = figure.add_subplot()
            draw(axes, rows)
            axes.axvline(best.examples, color=GREY, linewidth=0.9, linestyle=(0, (2, 3)))
            axes.set(xlim=(0, examples), xlabel="examples seen")
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            drawn[name] = _to_svg(figure)
    return drawn


@dataclass(frozen=True)
class EpochCurve:
    """One plot of a training in epochs: two figures of its history, with their words."""

    training: tuple[str, str] | None
    """Name in the history, and words; None for none."""
    validation: tuple[str, str]
    highest: float | None = None
    """End of the axis of the figure; None: wherever the figures end."""


def epoch_curves_svg(
    rows: Sequence[Any], curves: Mapping[str, EpochCurve], *, best: Any, examples: int, unit: str
) -> dict[str, str]:
    """Draw curves by their title over the examples seen, each as SVG text.

    examples: number that the training will see; unit: what an example is, such as "crops".
    """
    drawn = {}
    for title, curve in curves.items():
        with _figure(width=5.7, height=3.4) as figure:
            axes = figure.add_subplot()
            if curve.training is not None:
                name, words = curve.training
                _line(axes, rows, name, ORANGE, words, dashes=True)
            name, words = curve.validation
            _line(axes, rows, name, BLUE, words)
            _name_lines(axes)
            axes.axvline(best.examples, color=GREY, linewidth=0.9, linestyle=(0, (2, 3)))
            axes.set(title=title, xlim=(0, examples), xlabel=f"{unit} seen")
            axes.set(ylim=(0, curve.highest))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            drawn[title] = _to_svg(figure)
    return drawn


def _draw_loss(axes: Axes, rows: Sequence[HistoryRow]) -> None:
    _line(axes, rows, "train_loss", ORANGE, "training (augmented)", dashes=True)
    _line(axes, rows, "validation_loss", BLUE, "validation")
    axes.set(title="Loss (cross-entropy)", ylim=(0, None))
    _name_lines(axes)


def _draw_auc(axes: Axes, rows: Sequence[HistoryRow]) -> None:
    _line(axes, rows, "train_auc", ORANGE, "training (augmented)", dashes=True)
    _line(axes, rows, "validation_auc", BLUE, "validation")
    _line(
        axes,
        rows,
        "validation_sensitivity_at_95",
        "#7b3294",
        "sensitivity at 95 % specificity (validation)",
        dashes=True,
    )
    if any(row.slide_auc is not None for row in rows):
        _line(axes, rows, "slide_auc", "#00756b", "slide AUC (validation)")
    axes.set(title="Patch AUC", ylim=(None, 1.01))
    _name_lines(axes)


def _draw_learning_rate(axes: Axes, rows: Sequence[HistoryRow]) -> None:
    _line(axes, rows, "learning_rate", ORANGE, "")
    axes.set(title="Learning rate", ylim=(0, None))


def _draw_speed(axes: Axes, rows: Sequence[HistoryRow]) -> None:
    _line(axes, rows, "patches_per_s", BLUE, "patches/s")
    axes.set(title="Speed, and share of time waiting for data", ylabel="patches/s", ylim=(0, None))
    share = axes.twinx()
    _line(share, rows, "waiting_share", ORANGE, "waiting", dashes=True)
    share.grid(visible=False)
    share.spines["right"].set_visible(True)
    share.set(ylim=(0, 1), ylabel="waiting")
    share.yaxis.set_major_formatter(PercentFormatter(1))
    _name_lines(axes, share)


def _name_lines(*several: Axes) -> None:
    """Write a legend of the lines of axes that share a place, below the plot."""
    lines = [line for axes in several for line in axes.get_lines()]
    words = [str(line.get_label()) for line in lines]
    several[0].legend(lines, words, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)


def _line(
    axes: Axes,
    rows: Sequence[HistoryRow],
    name: str,
    colour: str,
    label: str,
    *,
    dashes: bool = False,
) -> None:
    """Draw one figure of the history over examples; a gap where it was not measured."""
    values = [np.nan if (value := getattr(row, name)) is None else value for row in rows]
    style: Any = (0, (5, 2)) if dashes else "-"
    x = [row.examples for row in rows]
    axes.plot(x, values, color=colour, linestyle=style, marker=".", label=label, clip_on=False)


def calibration_svg(curve: Calibration) -> str:
    """Share of tumour over mean score by bin, and the number of patches in each bin: SVG text."""
    with _figure(width=4.6, height=5.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        filled = curve.count > 0
        x, y = curve.mean_score[filled], curve.tumor_share[filled]
        reach = np.maximum(0.0, np.stack([y - curve.low[filled], curve.high[filled] - y]))
        upper.errorbar(x, y, reach, color=BLUE, marker="o", markersize=4.5, capsize=2.5)
        upper.set(ylim=(-0.01, 1.01), title="Calibration", ylabel="share that is tumour")
        middle, width = (curve.edges[:-1] + curve.edges[1:]) / 2, np.diff(curve.edges)
        lower.bar(middle, curve.count, width * 0.92, color="#b9cbe4")
        lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        lower.set(xlim=(0, 1), xlabel="score", ylabel="patches")
        return _to_svg(figure)


def draw_curve(rows: Sequence[HistoryRow], path: Path) -> None:
    """Losses and AUC over examples, as PNG."""
    with _figure(width=9, height=3.4) as figure:
        loss, auc = figure.subplots(1, 2)
        _draw_loss(loss, rows)
        _draw_auc(auc, rows)
        for axes in (loss, auc):
            axes.set(xlabel="examples seen")
        figure.savefig(path, dpi=120)


@contextmanager
def _figure(*, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of that size (inches) in our style."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        # Margins of a fixed size, in inches: to fit them to the words takes as long as to draw.
        figure.subplots_adjust(
            left=0.75 / width,
            right=1 - 0.8 / width,
            bottom=0.95 / height,
            top=1 - 0.35 / height,
            wspace=0.25,
        )
        yield figure


def _to_svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
