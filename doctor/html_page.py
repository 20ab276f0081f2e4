"""The check-up as one HTML file that works offline."""

from importlib.resources import files

import jinja2

from ..storage import gigaslide_version
from .checkup import CohortCheckup
from .formatting import format_area, format_bytes, format_figure, format_hours, round_figure

__all__ = ["render_page"]

TEMPLATE = files("gigaslide.doctor").joinpath("templates", "checkup.html.j2")


def render_page(checkup: CohortCheckup) -> str:
    """Render checkup.html. The template escapes all names and reasons."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(
        area=format_area,
        bytes=format_bytes,
        figure=format_figure,
        hours=format_hours,
        rounded=round_figure,
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(checkup=checkup, version=gigaslide_version())
