"""Inputs and versions of an evaluation or a comparison, and the command line that repeats it."""

import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...cohort import CohortSlide
from ...storage import file_identity, gigaslide_version, location_exists
from ..settings import EvaluateSettings

__all__ = ["format_command", "identify_slide", "list_versions"]

LIBRARIES = ("numpy", "scipy", "scikit-learn", "shapely")


def list_versions() -> dict[str, str]:
    """Versions of gigaslide and of the libraries that compute the figures."""
    return {"gigaslide": gigaslide_version(), **{name: version(name) for name in LIBRARIES}}


def identify_slide(slide: CohortSlide) -> dict[str, Any]:
    """Facts about a slide, and the identities of its file and its annotation."""
    files = {"slide": slide.path, "annotation": slide.annotation}
    return {
        "label": slide.label,
        "patient": slide.patient,
        "mpp": slide.mpp,
        "exhaustive": slide.exhaustive,
        **({} if slide.size is None else {"size": list(slide.size)}),
        "further": dict(slide.further),
        **{
            name: file_identity(path) if path and location_exists(path) else None
            for name, path in files.items()
        },
    }


def format_command(
    command: str,
    paths: Sequence[Path | str | None],
    settings: EvaluateSettings,
    further: Sequence[str] = (),
) -> str:
    """Format `gigaslide COMMAND PATHS…`, further words and every setting that is not the default.

    An unknown path is written as cohort.csv.
    """
    words = ["cohort.csv" if path is None else str(path) for path in paths]
    words = [f"./{word}" if word.startswith("-") else word for word in words]  # not an option
    options: list[str] = []
    for name, field in EvaluateSettings.model_fields.items():
        value = getattr(settings, name)
        if value != field.get_default(call_default_factory=True):
            options += _list_words(name.replace("_", "-"), value)
    return shlex.join(["gigaslide", command, *words, *further, *options])


def _list_words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, dict):
        return [word for key, one in value.items() for word in (f"--{name}.{key}", str(one))]
    values = value if isinstance(value, tuple) else (value,)
    return [word for one in values for word in (f"--{name}", str(one))]
