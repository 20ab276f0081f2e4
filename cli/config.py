"""Settings from a YAML file, and settings written as such a file."""

import sys
from pathlib import Path
from typing import Any

import yaml

from ..storage import Settings, SettingsError
from .groups_option import join_groups_in_section

__all__ = ["load_config", "print_config"]


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
    return {name: join_groups_in_section(section) for name, section in found.items()}


def print_config(command: str, *flat: Settings, **stages: Settings) -> int:
    """Print settings as the section of a command that --config reads: flat ones first, then those
    of each stage. Return the exit status."""
    section: dict[str, Any] = {}
    for settings in flat:
        section |= settings.model_dump(mode="json")
    section |= {name: settings.model_dump(mode="json") for name, settings in stages.items()}
    yaml.safe_dump({command: section}, sys.stdout, sort_keys=False, allow_unicode=True)
    return 0
