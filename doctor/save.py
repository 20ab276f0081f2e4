"""Files of a check-up: checkup.json, and checkup.html, which works offline."""

import json
from importlib.resources import files
from pathlib import Path

import jinja2

from ..storage import atomic_folder, gigaslide_version
from .checkup import CohortCheckup
from .formatting import format_area, format_bytes, format_figure, format_hours, round_figure

__all__ = ["save_checkup"]

JSON, PAGE = "checkup.json", "checkup.html"

TEMPLATE = files("gigaslide.doctor").joinpath("templates", "checkup.html.j2")


def save_checkup(checkup: CohortCheckup, out: Path) -> Path:
    """Write checkup.json and checkup.html into the folder out, both or none; return the page's
    path.

    Raises:
        SettingsError: out holds something else than a check-up.
    """
    with atomic_folder(out, known_by=JSON) as folder:
        (folder / JSON).write_text(
            json.dumps(checkup.to_json(), indent=1, allow_nan=False), encoding="utf-8"
        )
        (folder / PAGE).write_text(
            _render_page(checkup), encoding="utf-8", errors="backslashreplace"
        )
    return out / PAGE


def _render_page(checkup: CohortCheckup) -> str:
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
