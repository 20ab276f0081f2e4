"""One command of the command line: its options in panels, the everyday ones first."""

import inspect
from collections.abc import Callable
from typing import Any

from cyclopts import App, Group, Parameter
from cyclopts.argument import Argument, ArgumentCollection

from ...storage import Settings
from .everyday import EVERYDAY, NOT_SHOWN, WAYS
from .panels import ARGUMENTS, PANELS, panel_of

__all__ = ["CommandApp", "make_command"]

NEXT_USAGE = "\n" + " " * len("Usage: ")
ORDER = {name: number for number, name in enumerate((ARGUMENTS, *PANELS))}


class CommandApp(App):
    """A command whose options stand in the panels of their settings."""

    everyday: tuple[str, ...] | None = None
    """Names of the options to show, without dashes; None shows all of them in full."""

    def assemble_argument_collection(self, **choices: Any) -> ArgumentCollection:
        """Return the arguments, each with the panel of its field."""
        arguments = super().assemble_argument_collection(**choices)
        for argument in arguments:
            if argument.index is not None:
                _change(argument, group=_group(ARGUMENTS))
            elif isinstance(argument.hint, type) and issubclass(argument.hint, Settings):
                for child in argument.children:
                    panel = panel_of(argument.hint.__name__, child.field_info.name)
                    _change(child, group=_group(panel))
            elif (panel := _panel_of(argument)) in ORDER:
                _change(argument, group=_group(panel))
        for argument in arguments:
            text = " ".join((argument.parameter.help or "").split())
            if argument.names[0].endswith(".groups"):  # the example with the option's own prefix
                text = text.replace(" --groups.", f" {argument.names[0]}.")
            _change(argument, help=text if self.everyday is None else _first_sentence(text))
            is_rare = self.everyday is not None and _is_rare(argument, self.everyday)
            if is_rare or argument.names[0] in NOT_SHOWN:
                _change(argument, show=False)
        return arguments


def make_command(function: Callable[..., int], name: str, path: str, *, in_full: bool) -> App:
    """Make the command of a function; path is what a user types before its arguments."""
    everyday = EVERYDAY.get(path)
    command = CommandApp(
        name=name,
        help=_unwrap(inspect.getdoc(function) or ""),
        group_parameters=Group("Options"),
    )
    command.default(function)
    arguments = command.assemble_argument_collection()
    inputs = [_usage_of(argument) for argument in arguments if argument.index is not None]
    ways = WAYS.get(path, (" ".join(inputs),))
    usages = [" ".join(["gigaslide", path, way, "[OPTIONS]"]) for way in ways]
    command.usage = f"Usage: {NEXT_USAGE.join(usages)}"
    command.help_epilogue = " "  # not that of the command above
    if everyday is not None and not in_full:
        rare = sum(argument.show and _is_rare(argument, everyday) for argument in arguments)
        command.everyday = everyday
        if rare:
            options = "1 more option" if rare == 1 else f"{rare} more options"
            command.help_epilogue = f"{options}: gigaslide {path} --help-all\n"
    return command


def _is_rare(argument: Argument, everyday: tuple[str, ...]) -> bool:
    """Return True if only --help-all shows the option."""
    if argument.index is not None:
        return False
    return not any(name.lstrip("-") in everyday for name in argument.names)


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def _usage_of(argument: Argument) -> str:
    label = argument.names[0].lstrip("-").upper()
    return label if argument.required else f"[{label}]"


def _panel_of(argument: Argument) -> str:
    """Return the panel that an option of its own is given; empty for none."""
    given: Any = argument.parameter.group
    first = given[0] if isinstance(given, (list, tuple)) and given else given
    return str(getattr(first, "name", first or ""))


def _group(panel: str) -> Group:
    return Group(panel, sort_key=ORDER[panel])


def _change(argument: Argument, **changes: Any) -> None:
    argument.parameter = Parameter.combine(argument.parameter, Parameter(**changes))


def _unwrap(doc: str) -> str:
    """Join the lines of each paragraph: the terminal's width wraps them anew."""
    return "\n\n".join(" ".join(part.split()) for part in doc.split("\n\n"))
