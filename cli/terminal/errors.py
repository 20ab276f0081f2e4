"""Errors as one line: the option or file, the fact, what to do next."""

from __future__ import annotations

import logging
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cyclopts import (
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["describe_error", "describe_usage_error"]

logger = logging.getLogger(__name__)

LISTED_CHOICES = 8  # of an option, in one message


def describe_error(error: Exception) -> str:
    """Describe an error that a user can put right; raise any other again."""
    from pydantic import ValidationError

    from ...storage import GigaslideError, is_disk_full, visible_path

    if isinstance(error, GigaslideError):
        return str(error)
    if isinstance(error, ValidationError):
        return _first_problem(error)
    if isinstance(error, OSError):
        logger.info("traceback of the error", exc_info=error)
        place = "" if error.filename is None else f"{visible_path(str(error.filename))}: "
        if is_disk_full(error):
            return (
                f"{place}the disk of the output is full ({error.strerror}); free some space, or "
                "give a path on another disk, and run the same command again"
            )
        if not place:
            fact = str(error) or type(error).__name__
            return f"{fact}; run the same command with --verbose to see where"
        if isinstance(error, FileExistsError):
            return f"{place}is a file, but the output is a folder; give another path"
        return f"{place}{error.strerror}; give another path"
    raise error


def describe_usage_error(error: CycloptsError) -> str:
    """Describe a wrong command line or config file, under the name that the user gave."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError) and error.argument is not None:
        return _describe_setting(error, error.__cause__)
    command = " ".join(("gigaslide", *(error.command_chain or ())))
    return f"{_describe_words(error)}; see {command} --help"


def _describe_words(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"{' '.join(error.unused_tokens or ())}: more arguments than the command has"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        if not error.argument.required:
            return f"{name} needs a value"
        is_positional = error.argument.index is not None
        return f"{name.lstrip('-').upper() if is_positional else name} is missing"
    if isinstance(error, UnknownOptionError) and error.token.source != "cli":
        name = (error.token.keyword or error.token.value).strip("[]")  # a key of a settings file
        return f"{error.token.source}: unknown setting {name}"
    if isinstance(error, UnknownCommandError):
        words = str(error).partition(" Available commands:")[0]  # the help lists them all
        return " ".join(words.split()).rstrip(".")
    return " ".join(str(error).split()).rstrip(".")


def _describe_setting(error: CycloptsError, cause: ValidationError) -> str:
    argument = error.argument
    assert argument is not None
    family = (argument, *argument.children_recursive)
    tokens = {member.keys: member.tokens[0] for member in family if member.tokens}
    field = (*argument.keys, *(str(part) for part in cause.errors()[0]["loc"]))
    given = [keys for keys in tokens if keys == field[: len(keys)]]
    keys = max(given, key=len) if given else next(iter(tokens), None)
    if keys is None:
        return _first_problem(cause)
    token = tokens[keys]
    if token.source not in ("", "cli"):
        return f"{token.source}: {_first_problem(cause)}"
    if not given or not token.keyword:
        return _first_problem(cause)
    # A table such as --groups comes as one word of JSON: name the entry that is wrong.
    entry = field[len(keys) :] if token.value.startswith("{") else ()
    return _first_problem(cause, option=".".join((token.keyword, *entry)))


def _first_problem(error: ValidationError, *, option: str = "") -> str:
    problem = error.errors()[0]
    name = option or ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    guess = _closest_choice(problem)
    if guess:
        message = f"unknown value {problem['input']}; did you mean {guess}? --help-all lists all"
    elif message.startswith("Input should be "):
        expected = message.removeprefix("Input should be ").split(", unable")[0]
        message = f"expected {expected}, got {problem['input']}"
    return f"{name}: {message}" if name else message


def _closest_choice(problem: ErrorDetails) -> str:
    """Return the choice that a mistyped word is closest to, of an option with so many that a
    message cannot list them; else ""."""
    if problem["type"] != "literal_error":
        return ""
    choices = re.findall(r"'([^']*)'", problem.get("ctx", {}).get("expected", ""))
    near = get_close_matches(str(problem["input"]), choices, n=1)
    return near[0] if near and len(choices) > LISTED_CHOICES else ""
