"""Rendering of pages that are one file each and load nothing: templates, filters, style, policy."""

import base64
import hashlib
import urllib.parse
from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from ...storage import pluralise
from ...wsi import heatmap_colours
from .drawing import COLOURS, MOST_MARKS
from .plots import to_svg

__all__ = ["format_result", "render_page"]

TEMPLATES = files("gigaslide.eval.report").joinpath("templates")
NARROW_SPACE = "\u202f"


def render_page(
    template: str,
    *,
    folder: Traversable = TEMPLATES,
    filters: Mapping[str, Callable[..., Any]] | None = None,
    **context: Any,
) -> str:
    """Render a template of a folder, with further filters; it may import those of this room, such
    as macros.html.j2.

    Names, reasons and paths are escaped; the page's policy forbids every request.
    """

    environment = _make_environment(folder)
    environment.filters.update(filters or {})
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


def _make_environment(folder: Traversable) -> jinja2.Environment:
    def load(name: str) -> str:
        own = folder.joinpath(name)
        return own.read_text(encoding="utf-8") if own.is_file() else _read_template(name)

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
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
        text=format_result,
        count_of=_format_count,
        anchor=_make_anchor,
        data_uri=_make_data_uri,
        svg=to_svg,
    )
    return environment


def format_result(value: float | None) -> str:
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
