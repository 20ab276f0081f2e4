"""The command line that repeats an evaluation, quoted for a shell."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..settings import EvaluateSettings

__all__ = ["command_line", "settings_words"]


def command_line(
    command: str,
    paths: Sequence[Path | str | None],
    settings: EvaluateSettings,
    further: Sequence[str] = (),
) -> str:
    """`gigaslide COMMAND PATHS…`, further words and every setting that is not the default.

    A path that nobody knows is called cohort.csv.
    """
    told = ["cohort.csv" if path is None else str(path) for path in paths]
    told = [f"./{word}" if word.startswith("-") else word for word in told]  # no option, a name
    return shlex.join(["gigaslide", command, *told, *further, *settings_words(settings)])


def settings_words(settings: EvaluateSettings) -> list[str]:
    """The options that say what differs from the defaults."""
    words: list[str] = []
    for name, field in EvaluateSettings.model_fields.items():
        value = getattr(settings, name)
        if value != field.get_default(call_default_factory=True):
            words += _option(f"--{name.replace('_', '-')}", value)
    return words


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for key, one in value.items() for word in (f"{name}.{key}", str(one))]
    if isinstance(value, tuple):
        return [word for one in value for word in (name, str(one))]
    return [name, str(value)]
