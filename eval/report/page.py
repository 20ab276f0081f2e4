"""Pages of an evaluation and of a comparison, for a screen, a phone and paper: one HTML file each,
which loads nothing from outside."""

import base64
import hashlib
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from ...storage import pluralise
from ...wsi import heatmap_colours
from ..statistics.froc import DEFINITIONS, Froc
from ..statistics.scores import Roc
from .drawing import COLOURS, MOST_MARKS, SlidePictures
from .evaluation import Evaluation
from .plots import draw_calibration, draw_froc, draw_frocs, draw_precision_recall, draw_rocs, to_svg

__all__ = ["ModelCurves", "comparison_html", "evaluation_html"]

TEMPLATES = files("gigaslide.eval.report").joinpath("templates")
FIGURES = {
    "slide_auc": "Slide AUC",
    "slide_average_precision": "Slide average precision",
    "slide_sensitivity": "Slide sensitivity at the operating point",
    "slide_specificity": "Slide specificity at the operating point",
    "slide_brier": "Slide Brier score",
    "patch_auc": "Patch AUC",
    "patch_brier": "Patch Brier score",
    "patch_sensitivity": "Patch sensitivity at the operating point",
    "patch_specificity": "Patch specificity at the operating point",
}
PREFIXES = {
    "slide_sensitivity_at_specificity_": "Slide sensitivity at specificity {}",
    "slide_specificity_at_sensitivity_": "Slide specificity at sensitivity {}",
    **{
        f"froc_{name}_at_": f"Lesions found at {{}} false positives per slide, {name}"
        for name in DEFINITIONS
    },
    **{f"froc_{name}": f"FROC score, {name}" for name in DEFINITIONS},
}
NARROW_SPACE = "\u202f"
FIRST = (
    "slide_auc",
    "slide_sensitivity",
    "slide_specificity",
    "slide_average_precision",
    "slide_brier",
    "froc_gigaslide",
    "patch_auc",
    "patch_brier",
)


@dataclass(frozen=True, kw_only=True)
class ModelCurves:
    """Curves of one model on the slides that all models have in their figures."""

    roc: Roc
    froc: Froc
    has_heatmaps: bool
    """False for detections alone."""


def comparison_html(
    metrics: Mapping[str, Any],
    curves: Mapping[str, ModelCurves],
    pictures: Mapping[str, Mapping[str, SlidePictures]],
    *,
    made_with: Mapping[str, str],
    command: str,
) -> str:
    """Render compare.html from the contents of comparison.json, the curves and the pictures."""
    rates = metrics["settings"]["false_positives_per_slide"]
    pairs = [metrics, *metrics["further"]]
    axis = np.geomspace(rates[0] / 2, rates[-1] * 1.25, 2)
    rocs = {name: one.roc for name, one in curves.items()}
    frocs = {name: one.froc for name, one in curves.items()}
    more = 0.2 * len(curves)  # for the legend
    return _render(
        "compare.html.j2",
        m=metrics,
        pairs=pairs,
        cautions=_group_cautions(pairs),
        models=list(curves),
        first_figures=[*FIRST, *(f"froc_gigaslide_at_{rate:g}" for rate in rates)],
        pictures={slide: views for slide, views in pictures.items() if views},
        pictured=len(pictures),
        heated={name for name, one in curves.items() if one.has_heatmaps},
        alt={
            "roc": ", ".join(f"{n} AUC {_format_result(one.auc)}" for n, one in rocs.items()),
            "froc": ", ".join(f"{n} score {_format_result(one.score)}" for n, one in frocs.items()),
        },
        plots={
            "roc": draw_rocs(rocs, height=5.0 + more),
            "froc": draw_frocs(frocs, axis, height=4.8 + more),
        },
        made_with=made_with,
        command=command,
    )


def _group_cautions(pairs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The comparisons that each caution is about."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if pair["caution"]:
            found.setdefault(pair["caution"], []).append(" against ".join(pair["names"]))
    return found


def evaluation_html(evaluation: Evaluation, *, made_with: dict[str, str], command: str) -> str:
    """Render report.html from the contents of metrics.json and the pictures."""
    figures, metrics, settings = evaluation.figures, evaluation.metrics, evaluation.settings
    used, results, point = metrics["cohort"]["in_figures"], evaluation.results, evaluation.point
    pictures = {
        name: found for name, found in evaluation.pictures.items() if not isinstance(found, str)
    }
    slides = [
        {
            "row": row,
            "pictures": pictures.get(result.slide.id),
            "further": dict(result.slide.further),
            "used": result.in_figures,
        }
        for row, result in zip(metrics["slides"], results, strict=True)
    ]
    return _render(
        "report.html.j2",
        m=metrics,
        slides=slides,
        used_splits=any(result.slide.split for result in results),
        missed=metrics["operating_point"]["missed"][: settings.gallery],
        false_positives=metrics["operating_point"]["false_positives"][: settings.gallery],
        heated={result.slide.id for result in results if result.cells is not None},
        crops={"missed": evaluation.missed_crops, "false": evaluation.false_positive_crops},
        caution=figures.resampling.caution,
        plots={
            "froc": draw_froc(figures, confidence=settings.confidence, point=point),
            "roc": draw_rocs({"slides": figures.slide_roc, "patches": figures.patch_roc}),
            "precision_recall": draw_precision_recall(
                figures.slide_precision_recall,
                tumor_share=figures.tumor_slides / used if used else None,
                average=figures.estimates["slide_average_precision"].value,
            ),
            "calibration": draw_calibration(
                {"slides": figures.slide_calibration, "patches": figures.patch_calibration}
            ),
        },
        made_with=made_with,
        command=command,
    )


def _render(template: str, **context: Any) -> str:
    """Render a page. Names, reasons and paths are escaped; the page's policy forbids every
    request."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        num=_format_number,
        signed=_format_signed,
        whole=_format_whole,
        percent=_format_percent,
        plain=lambda value: f"{value:g}",
        spaced=_separate_thousands,
        p_value=_format_p_value,
        text=_format_result,
        count_of=_format_count,
        anchor=_make_anchor,
        data_uri=_make_data_uri,
        svg=to_svg,
        figure=_describe_figure,
    )
    script = _read_template("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        script=Markup(script),  # ours, and the policy lets no other run
        style=Markup(_read_template("page.css").replace("GRADIENT", _list_gradient())),
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
        f"'sha256-{digest}'",
        colours={name: "rgb({},{},{})".format(*rgb) for name, rgb in COLOURS.items()},
        most_marks=MOST_MARKS,
        **context,
    )


def _describe_figure(name: str) -> str:
    """Return a figure's name in words."""
    if name in FIGURES:
        return FIGURES[name]
    for prefix, words in PREFIXES.items():
        if name.startswith(prefix):
            return words.format(name.removeprefix(prefix))
    return name.replace("_", " ")


def _format_result(value: float | None) -> str:
    """Format a result for the text that stands in for a picture."""
    return "not defined" if value is None else f"{value:.3f}"


def _read_template(name: str) -> str:
    return TEMPLATES.joinpath(name).read_text(encoding="utf-8")


def _mark_data(value: float, words: str) -> Markup:
    """A result as shown, with its full precision for sorting and for the test that metrics.json
    holds it."""
    return Markup('<data value="{}">{}</data>').format(repr(float(value)), words)


def _format_number(value: float | None, digits: int = 3) -> Markup | str:
    return "–" if value is None else _mark_data(value, f"{value:.{digits}f}")


def _format_signed(value: float | None) -> Markup | str:
    return "–" if value is None else _mark_data(value, f"{value:+.3f}".replace("-", "\u2212"))


def _format_p_value(value: float | None) -> Markup | str:
    if value is not None and value < 0.001:
        return _mark_data(value, "< 0.001")
    return _format_number(value)


def _make_anchor(slide: str) -> str:
    """A unique id of a slide's place on the page, without letters that need a quote."""
    return "slide-" + urllib.parse.quote(slide, safe="").replace("%", ":")


def _format_whole(value: float | None) -> Markup | str:
    return "–" if value is None else _mark_data(value, _separate_thousands(value))


def _format_count(value: float, noun: str) -> Markup:
    """A count and its noun: "1 slide", "2 slides"."""
    return Markup("{} {}").format(_format_whole(value), pluralise(value, noun))


def _separate_thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", NARROW_SPACE)


def _format_percent(value: float | None, digits: int = 0) -> Markup | str:
    if value is None:
        return "–"
    return _mark_data(value, f"{100 * value:.{digits}f}{NARROW_SPACE}%")


def _make_data_uri(content: bytes | str, kind: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _list_gradient() -> str:
    colours = np.rint(heatmap_colours(np.linspace(0, 1, 11))).astype(int).tolist()
    return ", ".join("rgb({},{},{})".format(*rgb) for rgb in colours)
