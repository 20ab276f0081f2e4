"""Settings of a study on disk, study.yaml, and the command that repeats it."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from ..storage import StoreError, gigaslide_version, write_file
from .settings import StudySettings
from .studies import STUDIES

__all__ = ["STUDY", "format_command", "load_settings", "save_settings"]

STUDY = "study.yaml"


def save_settings(settings: StudySettings, name: str, cohort: str, out: Path) -> None:
    """Write study.yaml: the study's name, its cohort file, settings and command."""
    stated = {
        "study": name,
        "cohort": cohort,
        "command": format_command(name, cohort, out, settings),
        "made_with": gigaslide_version(),
        "settings": settings.model_dump(mode="json"),
    }
    text = yaml.safe_dump(stated, sort_keys=False, allow_unicode=True)
    write_file(out, STUDY, text.encode())


def format_command(name: str, cohort: str, out: Path, settings: StudySettings) -> str:
    """Format the command line that repeats a study."""
    words = ["gigaslide", "study", name, cohort, str(out)]
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        if value == info.get_default(call_default_factory=True):
            continue
        option = "--" + field.replace("_", "-")
        if isinstance(value, dict):
            words += [word for key, one in value.items() for word in (f"{option}.{key}", str(one))]
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [option, str(one)]
    return shlex.join(words)


def load_settings(out: Path) -> dict[str, Any]:
    """Read study.yaml.

    Raises:
        StoreError: it is missing or damaged.
    """
    path = out / STUDY
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
        if stated["study"] not in STUDIES:
            raise ValueError(f"study {stated['study']!r} is unknown")
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}); give the folder of a gigaslide study"
        ) from error
    return stated
