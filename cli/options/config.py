"""Settings from a YAML file, and settings written as such a file."""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ...storage import Settings, SettingsError, expand_home
from .groups import join_groups_in_section

__all__ = ["format_config", "load_config", "print_config"]

FLAT = ("settings", "batch")  # parameters whose options have no prefix


class _NamesAreText(yaml.SafeLoader):
    """Loader for which the names in a mapping are text: `1`, `yes` and `null` may be classes."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)  # merges <<, which is no name
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                name.tag = self.DEFAULT_SCALAR_TAG


def load_config(path: Path, sections: set[str]) -> dict[str, Any]:
    """Load a YAML file that has a section for each command.

    Raises:
        SettingsError: no file, no YAML, or a section of no command.
    """
    if not path.is_file():
        raise SettingsError(
            f"--config {path}: no such file; give a YAML file with a section for each command"
        )
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _NamesAreText) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise SettingsError(f"{line}: cannot be read as YAML: {problem}") from error
    if not isinstance(found, dict):
        raise SettingsError(
            f"{path}: expected a section for each command, got a {type(found).__name__}"
        )
    unknown = [str(name) for name in found if name not in sections]
    if unknown:
        raise SettingsError(
            f"{path}: no command is called {', '.join(unknown)}; choose from "
            f"{', '.join(sorted(sections))}"
        )
    sections_found = _expand_homes(found)
    return {name: join_groups_in_section(section) for name, section in sections_found.items()}


def _expand_homes(value: Any) -> Any:
    """Expand ~/ at the start of every text."""
    if isinstance(value, dict):
        return {name: _expand_homes(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_expand_homes(inner) for inner in value]
    return expand_home(value) if isinstance(value, str) else value


def print_config(command: str, bound: inspect.BoundArguments) -> int:
    """Print the settings among a command's arguments as the section that --config reads. Return
    the exit status.

    Raises:
        SettingsError: the command has no settings.
    """
    bound.apply_defaults()
    settings = {k: value for k, value in bound.arguments.items() if isinstance(value, Settings)}
    if not settings:
        raise SettingsError(f"--dry-run: gigaslide {command} has no settings to print")
    sys.stdout.write(format_config(command, settings))
    return 0


def format_config(command: str, settings: Mapping[str, Settings]) -> str:
    """Return the YAML that --config reads for a command ("study labels": a section in a section),
    from its parameters that are settings."""
    section: dict[str, Any] = {}
    for name, value in settings.items():
        fields = value.model_dump(mode="json")
        section |= fields if name in FLAT else {name: fields}
    for word in reversed(command.split()):
        section = {word: section}
    return yaml.safe_dump(section, sort_keys=False, allow_unicode=True)
