"""Help without boxes: a heading for each panel, an option and its meaning on a line."""

import textwrap
from collections.abc import Iterable
from typing import Any, get_origin

from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions
from rich.text import Text

__all__ = ["HelpWriter", "format_default"]

NAME_WIDTH = 28
SHORT_CHOICES = 14
MOST_CHOICES, SOME_CHOICES = 12, 3  # up to 12 are listed; of more, 3 and a count


def format_default(default: Any) -> str | None:
    """Return a default as it is typed; None where there is nothing to show."""
    if default is None or default in ("", (), {}):
        return None
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, tuple):
        return ", ".join(format_default(one) or "" for one in default)
    return str(default)


class HelpWriter:
    """A help formatter of cyclopts."""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        if usage:
            console.print(Text(str(usage).strip(), style="bold"))

    def render_description(self, console: Console, options: ConsoleOptions, text: Any) -> None:
        if text:
            console.print()
            console.print(Text(str(_renderable(text)).strip()))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        if not panel.entries:
            return
        console.print()
        console.print(Text(str(panel.title), style="bold"))
        for entry in panel.entries:
            console.print(_entry_text(entry, width=options.max_width), soft_wrap=True)


def _entry_text(entry: HelpEntry, *, width: int) -> Text:
    """The names of an option and beside them its meaning; below them where they are long."""
    names, indent = _names(entry), NAME_WIDTH + 2
    words = " ".join(filter(None, (_plain(entry.description), *_notes(entry))))
    lines = textwrap.wrap(words, max(width - indent, 20), break_on_hyphens=False) or [""]
    text = Text("  ").append(names, style="cyan")
    if len(names) < NAME_WIDTH - 1:
        text.append(" " * (NAME_WIDTH - len(names)) + lines.pop(0))
    for line in lines:
        text.append("\n" + " " * indent + line)
    return text


def _renderable(description: Any) -> Any:
    return getattr(description, "primary_renderable", description)


def _plain(description: Any) -> str:
    return " ".join(str(_renderable(description) or "").split())


def _names(entry: HelpEntry) -> str:
    if entry.positional_label:
        return ", ".join((entry.positional_label, *entry.positive_names))
    names = [*entry.positive_shorts, *map(_name_with_negative, *_pairs(entry))]
    if get_origin(entry.type) is dict:
        names = [f"{name}.NAME" for name in names]
    return " ".join(filter(None, (", ".join(names), _metavar(entry))))


def _pairs(entry: HelpEntry) -> tuple[Iterable[str], Iterable[str]]:
    negatives = (*entry.negative_names, *[""] * len(entry.positive_names))
    return entry.positive_names, negatives


def _name_with_negative(name: str, negative: str) -> str:
    """`--a.[no-]b` for the names of a yes-or-no option."""
    if not negative:
        return name
    stem = name[: name.rfind(".") + 1] or "--"
    return f"{stem}[no-]{name.removeprefix(stem)}"


def _metavar(entry: HelpEntry) -> str:
    if not entry.choices:
        return entry.metavar or ""
    joined = "|".join(entry.choices)
    return joined if len(joined) <= SHORT_CHOICES else "CHOICE"


def _notes(entry: HelpEntry) -> Iterable[str]:
    if entry.choices and _metavar(entry) == "CHOICE":
        choices = list(filter(None, entry.choices))
        if len(choices) > MOST_CHOICES:
            choices[SOME_CHOICES:] = [f"and {len(choices) - SOME_CHOICES} more"]
        yield f"[choices: {', '.join(choices)}]"
    if entry.default is not None:
        yield f"[default: {entry.default}]"
