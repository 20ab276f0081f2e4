"""Plots of curves, also as SVG text without external references; lines differ in dashes and marks
as well as in colour."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from ..statistics.figures import Band, Figures, PrecisionRecall
from ..statistics.froc import Froc
from ..statistics.operating import OperatingPoint
from ..statistics.scores import Calibration, Roc
from .references import REFERENCES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "LINES",
    "draw_calibration",
    "draw_froc",
    "draw_frocs",
    "draw_precision_recall",
    "draw_rocs",
    "line_style",
    "styled_plot",
    "to_svg",
]

BLUE, ORANGE, GREY, INK = "#0b4f9e", "#b35900", "#6b7280", "#1a2230"
LINES = (
    (BLUE, "-"),
    (ORANGE, (0, (5, 2))),
    ("#7b3294", (0, (1, 1))),
    ("#00756b", (0, (7, 2, 1, 2))),
    (INK, (0, (2, 2))),
)
CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (2, 3))}
MARKS = "^v"  # of the published figures
POINTS = 2000  # of a curve; paper shows no more
OURS: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "gigaslide",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a model's name may hold a "$"
}
STYLE: list[Any] = ["default", OURS]
"""Nothing of the user's own matplotlibrc, such as text.usetex, changes a plot."""


def draw_rocs(curves: Mapping[str, Roc], *, height: float = 5.0) -> Figure:
    """Draw ROC curves in one square; height is the figure's, in inches."""
    with styled_plot(height=height) as (figure, axes):
        axes.plot([0, 1], [0, 1], **CHANCE, label="chance")
        for (name, curve), line in zip(curves.items(), cycle(LINES), strict=False):
            if curve.auc is None:
                _draw_undefined(axes, name, curve.undefined, line)
                continue
            keep = np.unique(np.linspace(0, len(curve.threshold) - 1, POINTS).astype(np.int64))
            x, y = curve.false_positive_rate[keep], curve.true_positive_rate[keep]
            style = line_style(line, f"{name}: AUC {curve.auc:.3f}")
            axes.plot(x, y, **style, linewidth=1.8, clip_on=False)
        axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal", title="ROC")
        axes.set(xlabel="1 − specificity", ylabel="sensitivity")
    return figure


def draw_frocs(curves: Mapping[str, Froc], rates: np.ndarray, *, height: float = 4.8) -> Figure:
    """Draw FROC curves of several models over (R,) false positives per slide, on a log axis; height
    is the figure's, in inches."""
    with styled_plot(height=height) as (figure, axes):
        for (name, froc), line in zip(curves.items(), cycle(LINES), strict=False):
            _draw_curve(axes, froc, rates, words=name, line=line)
        _finish_froc(axes, next(iter(curves.values())), rates)
    return figure


def draw_froc(
    figures: Figures, *, confidence: float, point: OperatingPoint | None = None
) -> Figure:
    """Draw lesion sensitivity over false positives per slide, on a log axis, with the points of the
    score."""
    froc, band = figures.froc["gigaslide"].curve, figures.froc_band
    with styled_plot(height=5.4) as (figure, axes):
        if froc.undefined:
            _write(axes, f"not defined: {froc.undefined}")
        else:
            _draw_band(axes, band, words=f"{confidence:.0%} interval, pointwise")
            _draw_curve(axes, froc, band.rates, words="this model", line=LINES[0])
            words = f"the {len(froc.rates)} points whose mean is the score"
            style = {"color": BLUE, "markersize": 5.5, "clip_on": False, "label": words}
            axes.plot(froc.rates, froc.at_rates, "o", **style)
            _draw_point(axes, point, band.rates)
        _draw_references(axes, band.rates)
        _finish_froc(axes, froc, band.rates)
    return figure


def _draw_band(axes: Axes, band: Band, *, words: str) -> None:
    if np.isnan(band.low).all():
        return
    # Steps with their own corners, and a gap where there is no interval.
    x, low, high = (
        np.repeat(band.rates, 2)[1:],
        np.repeat(band.low, 2)[:-1],
        np.repeat(band.high, 2)[:-1],
    )
    axes.fill_between(x, low, high, where=~np.isnan(low), color=BLUE, alpha=0.15, lw=0, label=words)


def _draw_curve(
    axes: Axes, froc: Froc, rates: np.ndarray, *, words: str, line: tuple[str, Any]
) -> None:
    if froc.undefined:
        _draw_undefined(axes, words, froc.undefined, line)
        return
    reached = np.append(froc.false_positives[::-1], np.inf)
    best = np.append(froc.sensitivity[::-1], froc.sensitivity.max())
    at = np.searchsorted(reached, rates[[0, -1]], side="right") - 1
    x = np.concatenate([rates[:1], reached[at[0] + 1 : at[1] + 1], rates[-1:]])
    y = np.concatenate([best[at[:1]], best[at[0] + 1 : at[1] + 1], best[at[1:]]])
    style = line_style(line, f"{words}: score {froc.score:.3f}")
    axes.step(x, y, where="post", **style, linewidth=1.8, clip_on=False)


def _draw_point(axes: Axes, point: OperatingPoint | None, rates: np.ndarray) -> None:
    if point is None or point.sensitivity is None or point.false_positives_per_slide is None:
        return
    rate = point.false_positives_per_slide
    x = float(np.clip(rate, rates[0], rates[-1]))
    words = f"operating point: {point.sensitivity:.3f} at {rate:.3g} (from {point.threshold:g} on)"
    if x != rate:
        words += ", beyond this axis"
    style: dict[str, Any] = {
        "markersize": 11,
        "markeredgecolor": INK,
        "markerfacecolor": "none",
        "markeredgewidth": 1.6,
        "clip_on": False,
    }
    axes.plot([x], [point.sensitivity], "s", linestyle="none", label=words, **style)


def _draw_references(axes: Axes, rates: np.ndarray) -> None:
    """Published points, of another cohort."""
    axes.plot([], [], " ", label="published for CAMELYON16, not for these slides:")
    style: dict[str, Any] = {"color": INK, "markersize": 7, "clip_on": False, "zorder": 5}
    for one, mark in zip(REFERENCES, MARKS, strict=True):
        rate = one.false_positives_per_slide
        x = float(np.clip(rate, rates[0], rates[-1]))
        words = f"{one.name}, {one.sensitivity:.3f} at {rate:g}"
        axes.plot([x], [one.sensitivity], mark, **style, label=words)


def _finish_froc(axes: Axes, froc: Froc, rates: np.ndarray) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(froc.rates, [f"{rate:g}" for rate in froc.rates])
    axes.minorticks_off()
    axes.set(xlim=(rates[0], rates[-1]), ylim=(0, 1.01), title="FROC")
    axes.set(xlabel="false positives per slide (log scale)", ylabel="share of lesions found")


def draw_precision_recall(
    curve: PrecisionRecall, *, tumor_share: float | None, average: float | None
) -> Figure:
    """Draw precision over recall of the slide score, as steps, and the share of tumour slides."""
    with styled_plot() as (figure, axes):
        if not len(curve.threshold) or average is None:
            _write(axes, "not defined with slides of one class")
        else:
            # Of thresholds with one recall, the highest has the best precision.
            recall, first = np.unique(curve.recall[::-1], return_index=True)
            precision = curve.precision[::-1][np.append(first[0], first)]
            style = line_style(LINES[0], f"slides: average precision {average:.3f}")
            x = np.append(0.0, recall)
            axes.step(x, precision, where="pre", **style, linewidth=1.8, clip_on=False)
        if tumor_share is not None:
            words = f"chance: the share of tumour slides, {tumor_share:.3f}"
            axes.axhline(tumor_share, **CHANCE, label=words)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", title="Precision and recall")
        axes.set(
            xlabel="recall (sensitivity)", ylabel="precision (share of called slides with tumour)"
        )
    return figure


def draw_calibration(curves: Mapping[str, Calibration]) -> Figure:
    """Draw the share of tumour over the mean score by bin, with Wilson's intervals."""
    with styled_plot() as (figure, axes):
        axes.plot([0, 1], [0, 1], **CHANCE, label="perfect calibration")
        for (name, bins), line, mark in zip(curves.items(), LINES, "o^", strict=False):
            filled = bins.count > 0
            if not filled.any() or bins.brier is None:
                continue
            x, y = bins.mean_score[filled], bins.tumor_share[filled]
            reach = np.maximum(0.0, np.stack([y - bins.low[filled], bins.high[filled] - y]))
            style = {
                "marker": mark,
                "markersize": 5.5,
                "linewidth": 1.2,
                "capsize": 2.5,
                "elinewidth": 0.9,
                "clip_on": False,
                **line_style(line, f"{name}: Brier score {bins.brier:.3f}"),
            }
            axes.errorbar(x, y, reach, **style)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", title="Calibration")
        axes.set(xlabel="mean score of the bin", ylabel="share that is tumour")
    return figure


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG text, the same bytes each time.

    A letter that matplotlib's font lacks is drawn as a box; the page names it in text.
    """
    import matplotlib.style

    text = io.StringIO()
    with matplotlib.style.context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


@contextmanager
def styled_plot(*, height: float = 5.0) -> Iterator[tuple[Figure, Axes]]:
    """An empty plot in our style; it gets its legend at the end."""
    import matplotlib.style
    from matplotlib.figure import Figure  # takes half a second, and --help must not wait

    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(4.8, height), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(True, color="#e5e7eb", linewidth=0.7)
        axes.set_axisbelow(True)
        yield figure, axes
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower left", frameon=False, fontsize=8.5)


def line_style(line: tuple[str, Any], words: str) -> dict[str, Any]:
    """Colour, dashes and a label that matplotlib shows: it skips labels that begin with "_"."""
    label = f" {words}" if words.startswith("_") else words
    return {"color": line[0], "linestyle": line[1], "label": label}


def _draw_undefined(axes: Axes, name: str, reason: str, line: tuple[str, Any]) -> None:
    axes.plot([], [], **line_style(line, f"{name}: not defined ({reason})"))


def _write(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", transform=axes.transAxes)
