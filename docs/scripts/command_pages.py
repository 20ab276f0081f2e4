"""The command reference: a page for each command, made from what the command line itself knows."""

import inspect
import typing
from collections.abc import Iterator
from html import escape
from types import UnionType
from typing import Any

from cyclopts import App, Argument
from gigaslide.cli.main import COMMANDS, build_app
from gigaslide.cli.options.help_writer import format_default

TYPES = {"Path": "path", "str": "text", "int": "integer", "float": "number", "bool": "yes or no"}
LAST = 1_000_000  # a place after all panels that have one


def commands_index() -> str:
    """Return the list of commands as a Markdown page."""
    rows = [f"| [`gigaslide {name}`]({name}.md) | {said} |" for name, said in COMMANDS.items()]
    return "\n".join(
        [
            "# Commands\n",
            f"{build_app('').help}\n",
            "| command | purpose |",
            "|---|---|",
            *rows,
            "\nOptions can also come from a file: `--config settings.yaml`, with a section for each"
            " command; options on the command line win. `--verbose` shows more of the log.\n",
        ]
    )


def command_page(name: str) -> str:
    """Return a command's usage, description and options, a table for each panel."""
    app = build_app(name)[name]
    inner = list(inner_commands(app))
    if not inner:
        return f"# gigaslide {name}\n\n{description_and_options(app, level=2)}"
    parts = [f"# gigaslide {name}\n\n{app.help}\n"]
    for word, command in inner:
        parts.append(f"## gigaslide {name} {word}\n")
        parts.append(description_and_options(command, level=3))
    return "\n".join(parts)


def inner_commands(app: App) -> Iterator[tuple[str, App]]:
    """Yield the commands inside a command, such as `info` of `store`."""
    for word in app:
        if not word.startswith("-"):
            yield word, app[word]


def description_and_options(app: App, *, level: int) -> str:
    arguments = [one for one in app.assemble_argument_collection() if one.show]
    usage = str(app.usage).removeprefix("Usage: ")
    parts = [f"```\n{usage}\n```\n", f"{app.help}\n"]
    for panel, members in panels_of(arguments).items():
        parts.append(f"{'#' * level} {panel}\n\n{table(members)}\n")
    return "\n".join(parts)


def panels_of(arguments: list[Argument]) -> dict[str, list[Argument]]:
    """Return the arguments by panel, in the order of `--help-all`."""
    panels: dict[str, list[Argument]] = {}
    order: dict[str, int] = {}
    for one in arguments:
        panel = one.parameter.group[0]
        panels.setdefault(panel.name, []).append(one)
        if isinstance(panel.sort_key, int):
            order[panel.name] = panel.sort_key
    return dict(sorted(panels.items(), key=lambda item: order.get(item[0], LAST)))


def table(arguments: list[Argument]) -> str:
    """Return one row an option: its name and type, its default, its meaning and unit."""
    rows = ['<div class="options"><table><thead>']
    rows.append("<tr><th>option</th><th>default</th><th>meaning</th></tr></thead><tbody>")
    for one in arguments:
        name = one.names[0].lstrip("-").upper() if one.index is not None else one.names[0]
        default = "required" if one.required else code(format_default(default_of(one)) or "")
        meaning = escape(" ".join((one.parameter.help or "").split()))
        rows.append(f"<tr><td>{code(name)}<small>{type_of(one)}</small></td>")
        rows.append(f"<td>{default}</td><td>{meaning}</td></tr>")
    return "\n".join([*rows, "</tbody></table></div>\n"])


def code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


def default_of(argument: Argument) -> Any:
    default = argument.field_info.default
    return None if default is inspect.Parameter.empty else default


def type_of(argument: Argument) -> str:
    """Return the choices of an option, else its type in words."""
    choices = argument.get_choices() or ()
    repeated = typing.get_origin(argument.hint) is tuple
    words = " or ".join(map(code, choices)) or escape(type_in_words(argument.hint))
    return f"{words}, repeatable" if choices and repeated else words


def type_in_words(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return type_in_words(inner[0])
    if origin in (typing.Union, UnionType):
        return type_in_words(next(one for one in inner if one is not type(None)))
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"{len(inner)} × {type_in_words(inner[0])}"
    if origin in (tuple, list):
        return f"{type_in_words(inner[0])}, repeatable"
    if origin is dict:
        return "name and value"
    name = getattr(hint, "__name__", str(hint))
    return TYPES.get(name, name)
