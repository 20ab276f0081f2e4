"""ROC and FROC as drawings: SVG text that needs nothing from outside."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import Figures

__all__ = ["draw_froc", "draw_roc", "froc_plot", "roc_plot"]

BLUE, ORANGE, GREY = "#0b4f9e", "#b35900", "#6b7280"
# FROC scores on the CAMELYON16 test set: Liu et al. 2017 (arXiv 1703.02442), Bejnordi et al. 2017.
REFERENCES = (
    ("Liu et al. 2017, three models", 0.885, (6, 2)),
    ("challenge winner 2016", 0.807, (4, 3)),
    ("pathologist, no time limit", 0.733, (1, 2)),
)
POINTS = 2000  # a curve on paper shows no more
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "gigaslide",
    "svg.fonttype": "path",
}


def roc_plot(figures: Figures) -> str:
    """Slide and patch ROC in one square, as SVG."""
    with matplotlib.rc_context(STYLE):
        return _svg(draw_roc(figures))


def froc_plot(figures: Figures, *, confidence: float) -> str:
    """Lesion sensitivity over false positives per slide, on a log axis, as SVG."""
    with matplotlib.rc_context(STYLE):
        return _svg(draw_froc(figures, confidence=confidence))


def draw_roc(figures: Figures) -> Figure:
    """Slide and patch ROC in one square."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        for noun, curve, colour, line in (
            ("slides", figures.slide_roc, BLUE, "-"),
            ("patches", figures.patch_roc, ORANGE, (0, (5, 2))),
        ):
            if curve.auc is None:
                axes.plot([], [], color=colour, linestyle=line, label=f"{noun}: not defined ({curve.undefined})")
                continue
            keep = np.unique(np.linspace(0, len(curve.threshold) - 1, POINTS).astype(np.int64))
            x, y = curve.false_positive_rate[keep], curve.true_positive_rate[keep]
            axes.plot(x, y, color=colour, linestyle=line, linewidth=1.8, label=f"{noun}: AUC {curve.auc:.3f}")
        axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal", title="ROC")
        axes.set(xlabel="1 − specificity", ylabel="sensitivity")
        axes.legend(loc="lower right", frameon=False, fontsize=9)
        return figure


def draw_froc(figures: Figures, *, confidence: float) -> Figure:
    """Lesion sensitivity over false positives per slide, on a log axis, with the points of the score."""
    froc = figures.froc["gigaslide"].curve
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(height=6.0)
        band = figures.froc_band
        if froc.undefined:
            axes.text(0.5, 0.5, f"not defined: {froc.undefined}", ha="center", transform=axes.transAxes)
        else:
            if not np.isnan(band.low).any():
                words = f"{confidence:.0%} interval, pointwise"
                axes.fill_between(
                    band.rates, band.low, band.high, step="post", color=BLUE, alpha=0.15, lw=0, label=words
                )
            rates = np.append(froc.false_positives[::-1], np.inf)
            best = np.append(froc.sensitivity[::-1], froc.sensitivity.max())
            at = np.searchsorted(rates, band.rates[[0, -1]], side="right") - 1
            x = np.concatenate([band.rates[:1], rates[at[0] + 1 : at[1] + 1], band.rates[-1:]])
            y = np.concatenate([best[at[:1]], best[at[0] + 1 : at[1] + 1], best[at[1:]]])
            axes.step(x, y, where="post", color=BLUE, linewidth=1.8, label=f"FROC, score {froc.score:.3f}")
            axes.plot(froc.rates, froc.at_rates, "o", color=BLUE, markersize=5, clip_on=False)
        _draw_references(axes)
        axes.set_xscale("log", base=2)
        axes.set_xticks(froc.rates, [f"{rate:g}" for rate in froc.rates])
        axes.minorticks_off()
        axes.set(xlim=(band.rates[0], band.rates[-1]), ylim=(0, 1.01), title="FROC")
        axes.set(xlabel="false positives per slide (log scale)", ylabel="share of lesions found")
        figure.legend(loc="outside lower left", frameon=False, fontsize=8.5)
        return figure


def _draw_references(axes: Axes) -> None:
    axes.plot([], [], " ", label="CAMELYON16 scores, another cohort: not comparable")
    for words, score, dashes in REFERENCES:
        axes.axhline(score, color=GREY, linewidth=0.9, linestyle=(0, dashes), label=f"{words}: {score:.3f}")


def _axes(*, height: float = 4.8) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True, color="#e5e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
