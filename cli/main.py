"""`gigaslide`: the list of commands, and the one place where errors become one line and an exit
status."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.config import Dict

from .faults import config_of, in_box, os_line, settings_line

__all__ = ["main"]

logger = logging.getLogger(__name__)

# Commands are imported when they are used: `gigaslide --help` must not wait for TensorFlow, Dask or
# OpenSlide.
COMMANDS = {
    "demo": "Make phantom slides and run every stage on them, in minutes.",
    "run": "Run every stage: tile, train, predict, evaluate.",
    "doctor": "Look whether a cohort is fit for a long run, and what that would take.",
    "cohort": "Propose a cohort CSV from a folder of slides.",
    "tile": "Extract balanced patches from annotated slides into a patch store.",
    "store": "Look at a patch store: info, verify or montage.",
    "train": "Train a model on a patch store.",
    "predict": "Slide a model over slides: heatmaps and detections.",
    "evaluate": "Score heatmaps and detections against annotations: AUC, FROC, a report.",
    "compare": "Compare models on the same slides: paired differences, a page.",
    "phantom": "Draw synthetic slides whose tumour is known.",
}

HELP = """Find tumour in gigapixel pathology slides: tiling, training, heatmaps, FROC.

Every command takes --config FILE (YAML, a section for each command; options win) and --verbose."""


def _app(used: str) -> App:
    app = App(
        name="gigaslide",
        help=HELP,
        version=version("gigaslide"),
        help_format="markdown",
        error_formatter=in_box,
        default_parameter=Parameter(negative_iterable=(), show_default=_in_words),
        suppress_keyboard_interrupt=False,  # `_guarded` says how to go on
    )
    app.meta.suppress_keyboard_interrupt = False
    for name, help_text in COMMANDS.items():
        # The command in use is imported anyway, and its docstring says more than a line.
        app.command(
            f"gigaslide.cli.{name}:{name}", name=name, help=None if name == used else help_text
        )
    return app


def _in_words(default: Any) -> str | None:
    """A default as the help shows it; None where there is nothing to show."""
    if default is None or default == {}:
        return None
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, float):
        return f"{default:g}"
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0 all good, 1 nothing done, 2 some slides
    failed or partial."""
    given = list(sys.argv[1:] if tokens is None else tokens)
    app = _app(next((word for word in given if word in COMMANDS), ""))

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[Path | None, Parameter(show=False)] = None,
        verbose: Annotated[bool, Parameter(show=False, negative="")] = False,
    ) -> int:
        if words and words[0] in COMMANDS and not {"--help", "-h"} & set(words):
            from .options import given_words
            from .show import show_logs

            show_logs(verbose=verbose)
            given_words.set(tuple(given))
        if config is not None:
            app.config = (Dict(config_of(config, set(COMMANDS)), source=str(config)),)
        return app(words, exit_on_error=False, print_error=True, result_action="return_value") or 0

    return _guarded(app, given)


def _guarded(app: App, tokens: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        return int(
            app.meta(tokens, exit_on_error=False, print_error=False, result_action="return_value")
            or 0
        )
    except CycloptsError:
        return 1  # already printed
    except KeyboardInterrupt as stopped:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        return getattr(stopped, "exit_status", 130)  # 143 where it was SIGTERM
    except Exception as error:
        print(f"gigaslide: {_line(error)}", file=sys.stderr)
        return 1


def _line(error: Exception) -> str:
    """What to tell of an error that a person can put right; raises any other again."""
    from pydantic import ValidationError

    from ..storage import GigaslideError

    if isinstance(error, GigaslideError):
        return str(error)
    if isinstance(error, ValidationError):
        return settings_line(error)
    if isinstance(error, OSError):
        logger.info("where it happened", exc_info=error)
        return os_line(error)
    raise error
