"""Groups of annotations, whose names may hold dots and equals signs, as class names do.

cyclopts splits names at dots and options at the first equals sign, but takes a JSON object as it
stands. So all groups of a command line or of a settings file are handed to it as one.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["join_groups", "join_groups_in_section"]

OPTION = re.compile(r"(--(?:\w+\.)?groups)\.(.*)", re.DOTALL)
"""--groups or --evaluate.groups, then the rest of the word."""
INLINE = re.compile(r"(.*)=(tumor|exclusion|other)", re.DOTALL)


def join_groups(words: Sequence[str]) -> list[str]:
    """Replace the options --groups.NAME MEANING and --groups.NAME=MEANING by one --groups JSON.

    Words that make no sense are returned as they are, so that cyclopts tells what is wrong: a name
    without a meaning, or given twice.
    """
    joined: dict[str, dict[str, str]] = {}
    others, left = [], list(words)
    while left:
        word = left.pop(0)
        option = OPTION.fullmatch(word)
        if option is None:
            others.append(word)
            continue
        groups, name = joined.setdefault(option[1], {}), option[2]
        inline = INLINE.fullmatch(name)
        if inline is None and (not left or left[0].startswith("--")):
            return list(words)
        name, meaning = inline.groups() if inline else (name, left.pop(0))
        if name in groups:
            return list(words)
        groups[name] = meaning
    return others + [part for option in joined for part in (option, json.dumps(joined[option]))]


def join_groups_in_section(section: Any) -> Any:
    """Replace the groups in a command's section of a settings file, or of its stages, by JSON."""
    if not isinstance(section, dict):
        return section
    return {
        name: json.dumps(value)
        if name == "groups" and isinstance(value, dict)
        else join_groups_in_section(value)
        for name, value in section.items()
    }
