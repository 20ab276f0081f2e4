"""Groovy script that loads exports onto the image that is open in QuPath."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from ...storage import name_of, write_file
from ..prediction_folder import slide_file
from .export_slide import PredictedSlide

__all__ = ["SCRIPT", "save_script"]

SCRIPT = "load_into_qupath.groovy"


def save_script(predicted: Sequence[PredictedSlide], out: Path) -> None:
    """Write the script for the exports in out; it finds a slide by its file's name or its id, and
    of several files of one name the right one by its path or its size."""
    lines = [f"    {_map(_describe(one))}," for one in sorted(predicted, key=lambda one: one.id)]
    template = (files(__package__ or "") / "templates" / SCRIPT).read_text(encoding="utf-8")
    script = template.replace("@FOLDER@", _quote(str(out.resolve()))).replace(
        "@SLIDES@", "\n".join(["[", *lines, "]"])
    )
    write_file(out, SCRIPT, script.encode())


def _describe(one: PredictedSlide) -> dict[str, str | int]:
    """Return the facts by which the script finds a slide; those that are unknown are left out."""
    file = slide_file(one.folder)
    size = file.get("bytes")
    found: dict[str, str | int] = {
        "id": one.id,
        "file": str(file.get("name", "")),
        "bytes": size if isinstance(size, int) else 0,
    }
    if one.slide is not None:
        path = one.slide.path
        found["file"] = name_of(path)
        found["path"] = str(path.absolute() if isinstance(path, Path) else path)
    return {name: value for name, value in found.items() if value}


def _map(facts: Mapping[str, str | int]) -> str:
    """Write a map for Groovy."""
    pairs = (f"{name}: {_quote(v) if isinstance(v, str) else v}" for name, v in facts.items())
    return f"[{', '.join(pairs)}]"


def _quote(text: str) -> str:
    """Quote for Groovy: as JSON does, and $ begins no expression."""
    return json.dumps(text).replace("$", "\\$")
