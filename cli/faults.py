"""What went wrong in one line that says what came, what was expected and where it was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts import CycloptsError
    from pydantic import ValidationError

__all__ = ["config_of", "in_box", "os_line", "settings_line"]


def config_of(path: Path, sections: set[str]) -> dict[str, Any]:
    """The sections of a YAML file, one a command.

    Raises:
        SettingsError: not such a file.
    """
    import yaml

    from ..storage import SettingsError

    if not path.is_file():
        raise SettingsError(
            f"--config {path}: no such file; give a YAML file with a section for each command"
        )
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        words = getattr(error, "problem", None) or str(error)
        raise SettingsError(f"{where}: cannot be read as YAML: {words}") from error
    if not isinstance(found, dict):
        raise SettingsError(
            f"{path}: expected a section for each command, got a {type(found).__name__}"
        )
    unknown = [str(name) for name in found if name not in sections]
    if unknown:
        raise SettingsError(
            f"{path}: no command is called {', '.join(unknown)}; there are "
            f"{', '.join(sorted(sections))}"
        )
    return found


def os_line(error: OSError) -> str:
    """Which file, and what the system says of it."""
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; give another place"


def in_box(error: CycloptsError) -> Any:
    """The box that cyclopts would print, without the words of pydantic's programmers."""
    from cyclopts import CycloptsPanel

    return CycloptsPanel(_settings_words(error) or error)


def _settings_words(error: CycloptsError) -> str:
    from pydantic import ValidationError

    cause, argument = error.__cause__, error.argument
    if not isinstance(cause, ValidationError) or argument is None:
        return ""
    tokens = [token for child in (argument, *argument.children_recursive) for token in child.tokens]
    places = {child.keys: child.tokens[0] for child in argument.children_recursive if child.tokens}
    first = tokens[0] if tokens else None
    field = tuple(str(part) for part in cause.errors()[0]["loc"])
    token = places.get((*argument.keys, *field), first)
    if token is None:
        return settings_line(cause)
    if token.source not in ("", "cli"):
        return f"{token.source}: {settings_line(cause)}"
    named = token.keyword if field and token.keyword else ""
    return settings_line(cause, named=named)


def settings_line(error: ValidationError, *, named: str = "") -> str:
    """The first fault of some settings, under the option's name if that is known: one repaired, the
    next is told."""
    fault = error.errors()[0]
    name = named or ".".join(str(part) for part in fault["loc"])
    words = fault["msg"].removeprefix("Value error, ")
    if words.startswith("Input should be "):
        expected = words.removeprefix("Input should be ").split(", unable")[0]
        words = f"expected {expected}, got {fault['input']}"
    return f"{name}: {words}" if name else words
