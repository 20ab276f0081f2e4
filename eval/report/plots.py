"""Plots of curves as SVG text without external references; lines differ in dashes and marks as well
as in colour."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..statistics.auc import Roc
from ..statistics.figures import Band, Figures, PrecisionRecall
from ..statistics.froc import Froc
from ..statistics.operating import OperatingPoint
from ..statistics.slide_level import Calibration
from .references import REFERENCES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "calibration_plot",
    "draw_froc",
    "draw_roc",
    "froc_overlay",
    "froc_plot",
    "precision_recall_plot",
    "roc_overlay",
    "roc_plot",
]

BLUE, ORANGE, GREY, INK = "#0b4f9e", "#b35900", "#6b7280", "#1a2230"
LINES = (
    (BLUE, "-"),
    (ORANGE, (0, (5, 2))),
    ("#7b3294", (0, (1, 1))),
    ("#00756b", (0, (7, 2, 1, 2))),
    (INK, (0, (2, 2))),
)
MARKS = "^v"  # of the published figures
POINTS = 2000  # of a curve; paper shows no more
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "gigaslide",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a model's name may hold a "$"
}


def roc_plot(figures: Figures) -> str:
    """Plot slide and patch ROC in one square, as SVG."""
    return _svg(draw_roc(figures))


def froc_plot(figures: Figures, *, confidence: float, point: OperatingPoint | None = None) -> str:
    """Plot lesion sensitivity over false positives per slide, on a log axis, as SVG."""
    return _svg(draw_froc(figures, confidence=confidence, point=point))


def roc_overlay(curves: Mapping[str, Roc]) -> str:
    """Plot slide ROC curves of several models, as SVG."""
    with _style():
        figure, axes = _axes(height=5.0 + 0.2 * len(curves))
        _draw_rocs(axes, curves)
        _legend(figure)
        return _svg(figure)


def froc_overlay(curves: Mapping[str, Froc], rates: np.ndarray) -> str:
    """Plot FROC curves of several models over (R,) false positives per slide, as SVG."""
    with _style():
        figure, axes = _axes(height=4.8 + 0.2 * len(curves))
        for (name, froc), line in zip(curves.items(), _lines(len(curves)), strict=True):
            _draw_curve(axes, froc, rates, words=name, line=line)
        _finish_froc(axes, next(iter(curves.values())), rates)
        _legend(figure)
        return _svg(figure)


def draw_roc(figures: Figures) -> Figure:
    """Draw slide and patch ROC in one square."""
    with _style():
        figure, axes = _axes()
        _draw_rocs(axes, {"slides": figures.slide_roc, "patches": figures.patch_roc})
        _legend(figure)
        return figure


def _draw_rocs(axes: Axes, curves: Mapping[str, Roc]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 3)), label="chance")
    for (name, curve), (colour, line) in zip(curves.items(), _lines(len(curves)), strict=True):
        if curve.auc is None:
            axes.plot(
                [],
                [],
                color=colour,
                linestyle=line,
                label=_label(f"{name}: not defined ({curve.undefined})"),
            )
            continue
        keep = np.unique(np.linspace(0, len(curve.threshold) - 1, POINTS).astype(np.int64))
        x, y = curve.false_positive_rate[keep], curve.true_positive_rate[keep]
        words = _label(f"{name}: AUC {curve.auc:.3f}")
        axes.plot(x, y, color=colour, linestyle=line, linewidth=1.8, label=words, clip_on=False)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal", title="ROC")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity")


def draw_froc(
    figures: Figures, *, confidence: float, point: OperatingPoint | None = None
) -> Figure:
    """Draw lesion sensitivity over false positives per slide, on a log axis, with the points of the
    score."""
    froc, band = figures.froc["gigaslide"].curve, figures.froc_band
    with _style():
        figure, axes = _axes(height=5.4)
        if froc.undefined:
            axes.text(
                0.5, 0.5, f"not defined: {froc.undefined}", ha="center", transform=axes.transAxes
            )
        else:
            _draw_band(axes, band, words=f"{confidence:.0%} interval, pointwise")
            _draw_curve(axes, froc, band.rates, words="this model", line=LINES[0])
            words = f"the {len(froc.rates)} points whose mean is the score"
            axes.plot(
                froc.rates,
                froc.at_rates,
                "o",
                color=BLUE,
                markersize=5.5,
                clip_on=False,
                label=words,
            )
            _draw_point(axes, point, band.rates)
        _draw_references(axes, band.rates)
        _finish_froc(axes, froc, band.rates)
        _legend(figure)
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
    colour, dashes = line
    if froc.undefined:
        axes.plot(
            [],
            [],
            color=colour,
            linestyle=dashes,
            label=_label(f"{words}: not defined ({froc.undefined})"),
        )
        return
    reached = np.append(froc.false_positives[::-1], np.inf)
    best = np.append(froc.sensitivity[::-1], froc.sensitivity.max())
    at = np.searchsorted(reached, rates[[0, -1]], side="right") - 1
    x = np.concatenate([rates[:1], reached[at[0] + 1 : at[1] + 1], rates[-1:]])
    y = np.concatenate([best[at[:1]], best[at[0] + 1 : at[1] + 1], best[at[1:]]])
    label = _label(f"{words}: score {froc.score:.3f}")
    axes.step(
        x,
        y,
        where="post",
        color=colour,
        linestyle=dashes,
        linewidth=1.8,
        label=label,
        clip_on=False,
    )


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
        "clip_on": False,
    }
    axes.plot(
        [x], [point.sensitivity], "s", markeredgewidth=1.6, linestyle="none", label=words, **style
    )


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


def precision_recall_plot(
    curve: PrecisionRecall, *, tumor_share: float | None, average: float | None
) -> str:
    """Plot precision over recall of the slide score, as steps, and the share of tumour slides; as
    SVG."""
    with _style():
        figure, axes = _axes()
        if not len(curve.threshold) or average is None:
            axes.text(
                0.5,
                0.5,
                "not defined with slides of one class",
                ha="center",
                transform=axes.transAxes,
            )
        else:
            # Of thresholds with one recall, the highest has the best precision.
            recall, first = np.unique(curve.recall[::-1], return_index=True)
            recall, precision = (
                np.append(0.0, recall),
                curve.precision[::-1][np.append(first[0], first)],
            )
            words = f"slides: average precision {average:.3f}"
            axes.step(
                recall,
                precision,
                where="pre",
                color=BLUE,
                linewidth=1.8,
                label=words,
                clip_on=False,
            )
        if tumor_share is not None:
            words = f"chance: the share of tumour slides, {tumor_share:.3f}"
            axes.axhline(tumor_share, color=GREY, linewidth=0.8, linestyle=(0, (2, 3)), label=words)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", title="Precision and recall")
        axes.set(
            xlabel="recall (sensitivity)", ylabel="precision (share of called slides with tumour)"
        )
        _legend(figure)
        return _svg(figure)


def calibration_plot(curves: Mapping[str, Calibration]) -> str:
    """Plot the share of tumour over the mean score by bin, with Wilson's intervals, as SVG."""
    with _style():
        figure, axes = _axes()
        axes.plot(
            [0, 1],
            [0, 1],
            color=GREY,
            linewidth=0.8,
            linestyle=(0, (2, 3)),
            label="perfect calibration",
        )
        for (name, bins), (colour, line), mark in zip(curves.items(), LINES, "o^", strict=False):
            filled = bins.count > 0
            if not filled.any() or bins.brier is None:
                continue
            x, y = bins.mean_score[filled], bins.tumor_share[filled]
            reach = np.maximum(0.0, np.stack([y - bins.low[filled], bins.high[filled] - y]))
            words = f"{name}: Brier score {bins.brier:.3f}"
            axes.errorbar(
                x,
                y,
                reach,
                color=colour,
                linestyle=line,
                marker=mark,
                markersize=5.5,
                linewidth=1.2,
                capsize=2.5,
                elinewidth=0.9,
                label=words,
                clip_on=False,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", title="Calibration")
        axes.set(xlabel="mean score of the bin", ylabel="share that is tumour")
        _legend(figure)
        return _svg(figure)


def _label(words: str) -> str:
    """A label that matplotlib shows: it skips labels that begin with "_"."""
    return f" {words}" if words.startswith("_") else words


def _lines(count: int) -> list[tuple[str, Any]]:
    return [LINES[index % len(LINES)] for index in range(count)]


def _style() -> AbstractContextManager[None]:
    import matplotlib  # takes a second, which `gigaslide run --help` must not wait for

    return matplotlib.rc_context(STYLE)


def _axes(*, height: float = 5.0) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True, color="#e5e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower left", frameon=False, fontsize=8.5)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with _style():
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
