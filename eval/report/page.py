"""What the pages share: templates, formats of numbers, one file that asks for nothing from
outside."""

import base64
import hashlib
import urllib.parse
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from ...storage import pluralise
from ...wsi import heatmap_colours
from ..statistics.froc import DEFINITIONS
from .drawing import COLOURS, MOST_MARKS
from .references import REFERENCE_COHORT, reference_rows

__all__ = ["figure_words", "page_of", "records", "told"]

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
    "stage_kappa": "Kappa of pN stages, quadratic weights",
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


def page_of(template: str, **context: Any) -> str:
    """The page. Whatever comes from outside (names, reasons, paths) is escaped; its policy forbids
    every request."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        num=_number,
        signed=_signed,
        whole=_whole,
        percent=_percent,
        plain=_plain,
        spaced=_spaced,
        p_words=_p_words,
        told=told,
        counted=_counted,
        anchor=_anchor,
        data_uri=_data_uri,
        figure=figure_words,
    )
    script = _text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        script=Markup(script),  # ours, and the policy lets no other run
        style=Markup(_text("page.css").replace("GRADIENT", _gradient())),
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
        f"'sha256-{digest}'",
        colours={name: "rgb({},{},{})".format(*rgb) for name, rgb in COLOURS.items()},
        most_marks=MOST_MARKS,
        references=reference_rows(),
        reference_cohort=REFERENCE_COHORT,
        **context,
    )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain dicts, None for an empty field."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def figure_words(name: str) -> str:
    """A figure's name for a reader."""
    if name in FIGURES:
        return FIGURES[name]
    for prefix, words in PREFIXES.items():
        if name.startswith(prefix):
            return words.format(name.removeprefix(prefix))
    return name.replace("_", " ")


def _text(name: str) -> str:
    return TEMPLATES.joinpath(name).read_text(encoding="utf-8")


def _data(value: float, words: str) -> Markup:
    """A result as shown, with the whole of it for machines: sorting, and the test that metrics.json
    holds it."""
    return Markup('<data value="{}">{}</data>').format(repr(float(value)), words)


def _number(value: float | None, digits: int = 3) -> Markup | str:
    return "–" if value is None else _data(value, f"{value:.{digits}f}")


def _signed(value: float | None) -> Markup | str:
    return "–" if value is None else _data(value, f"{value:+.3f}".replace("-", "\u2212"))


def _p_words(value: float | None) -> Markup | str:
    """No p-value is 0, however small: "< 0.001" for what three decimals cannot tell."""
    return _data(value, "< 0.001") if value is not None and value < 0.001 else _number(value)


def _anchor(slide: str) -> str:
    """The id of a slide's place on the page: no two slides share one, and no letter of it needs a
    quote."""
    return "slide-" + urllib.parse.quote(slide, safe="").replace("%", ":")


def _whole(value: float | None) -> Markup | str:
    """A count, or a length that no one reads to a fraction."""
    return "–" if value is None else _data(value, _spaced(value))


def _counted(value: float, noun: str) -> Markup:
    """A count of something whose plural ends in s: "1 slide", "2 slides"."""
    return Markup("{} {}").format(_whole(value), pluralise(value, noun))


def told(value: float | None) -> str:
    """A result in words that stand in for a picture."""
    return "not defined" if value is None else f"{value:.3f}"


def _spaced(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")


def _percent(value: float | None, digits: int = 0) -> Markup | str:
    return (
        "–" if value is None else _data(value, f"{100 * value:.{digits}f} %".replace(" ", "\u202f"))
    )


def _plain(value: float) -> str:
    return f"{value:g}"


def _data_uri(content: bytes | str, kind: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _gradient() -> str:
    return ", ".join(
        "rgb({},{},{})".format(*rgb)
        for rgb in np.rint(heatmap_colours(np.linspace(0, 1, 11))).astype(int).tolist()
    )
