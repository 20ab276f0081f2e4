"""The check-up as one HTML file that needs nothing else."""

from importlib.resources import files

import jinja2

from ..storage import gigaslide_version
from .checkup import CohortCheckup
from .formatting import about, about_bytes, about_hours, area, figure

__all__ = ["checkup_html"]

TEMPLATE = files("gigaslide.doctor").joinpath("templates", "checkup.html.j2")


def checkup_html(checkup: CohortCheckup) -> str:
    """The text of checkup.html. Whatever comes from outside (names, reasons) is escaped by the
    template."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(about=about, about_bytes=about_bytes, about_hours=about_hours)
    environment.filters.update(area=area, figure=figure)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(checkup=checkup, version=gigaslide_version())
