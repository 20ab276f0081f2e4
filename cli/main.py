"""The list of commands, and the one place where errors become one line and an exit status."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter
from cyclopts.config import Dict

from .options.groups import join_groups
from .options.help_writer import HelpWriter, format_default
from .options.panels import GENERAL
from .terminal.errors import describe_error, describe_usage_error
from .terminal.plain_letters import use_plain_letters

__all__ = ["COMMANDS", "build_app", "main"]

COMMANDS = {
    "demo": "Run every stage on synthetic slides, in minutes.",
    "run": "Run every stage: tile, train, predict, evaluate.",
    "cohort": "Propose a cohort CSV from a folder of slides.",
    "doctor": "Check a cohort before a long run; estimate time and disk space.",
    "tile": "Extract balanced patches from annotated slides into a patch store.",
    "store": "Inspect a patch store: info, verify, montage.",
    "train": "Train a model: on patches, slides, labels of slides, or regions.",
    "model": "Inspect a model: info, check, export, quantise.",
    "predict": "Predict slides with a model: heatmaps and detections.",
    "export": "Export heatmaps to QuPath, ASAP, OME-TIFF, OME-Zarr, PNG and CSV.",
    "view": "Look at slides in a browser, and outline what you see.",
    "serve": "Offer models as an API: jobs by HTTP, results as files.",
    "propose": "Outline what a model found, for people to correct.",
    "annotations": "Manage versions of outlines: list, save, accept, restore, export.",
    "next": "List the regions to look at next, each with its reason.",
    "minutes": "Tell how long outlines took, and how far annotators agree.",
    "features": "Write feature vectors of windows, by any encoder; import and export.",
    "evaluate": "Score predictions against annotations: AUC, FROC, a report.",
    "compare": "Compare models on the same slides: paired differences, a report.",
    "study": "Answer a question with many small trainings, compared on one page.",
    "phantom": "Make synthetic slides whose tumour is known.",
}

STOPPED = (130, 143)  # exit statuses after SIGINT and SIGTERM

HELP = """Find tumour in gigapixel pathology slides: tiling, training, heatmaps, FROC.

Inputs come first, the output last. Each can also be given by name: --cohort COHORT.

Settings can come from a YAML file: --config FILE. Options on the command line have priority over \
it; --dry-run prints such a file.

Exit status: 0 all good; 1 nothing done, or a wrong command; 2 finished, but some slides failed.

First steps: gigaslide demo shows every stage on synthetic slides; gigaslide cohort lists the \
slides of a folder; gigaslide run takes that list to a report."""

EPILOGUE = "Options of a command: gigaslide COMMAND --help, or --help-all for all of them.\n"


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0: all good; 1: nothing could be done, or a wrong command; 2: finished, some slides failed or
    are partial.
    """
    use_plain_letters()
    given = [_expand_home(word) for word in (sys.argv[1:] if tokens is None else tokens)]
    used = next((word for word in given if word in COMMANDS), "")
    if used == "cohort":  # - is standard output, its default; cyclopts takes it for an option
        given = [word for word in given if word != "-"]
    app = build_app(used, in_full="--help-all" in given)
    words = ["--help" if word == "--help-all" else word for word in given]
    status = _run(app, join_groups(words))
    if tokens is None and status in STOPPED:
        # Threads that Keras leaves waiting for patches would abort the interpreter while it ends.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    return status


def _expand_home(word: str) -> str:
    """Expand ~ where no shell did: in quotes, in scripts, behind an option's equals sign."""
    if "~" not in word:
        return word
    from ..storage import expand_home

    option, equals, value = word.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={expand_home(value)}"
    return expand_home(word)


def build_app(used: str, *, in_full: bool = True) -> App:
    """Build the command line with one command imported.

    The others are only listed: `gigaslide --help` must not wait for TensorFlow, Dask or OpenSlide.
    in_full shows every option in the command's help, else its everyday ones.
    """
    app = App(
        name="gigaslide",
        help=HELP,
        help_epilogue=None if used else EPILOGUE,
        usage="Usage: gigaslide COMMAND …",
        version=version("gigaslide"),
        help_format="plaintext",
        help_formatter=HelpWriter(),
        default_parameter=Parameter(negative_iterable=(), show_default=format_default),
        suppress_keyboard_interrupt=False,  # `_run` says how to continue
    )
    app.meta.suppress_keyboard_interrupt = False
    for number, (name, help_text) in enumerate(COMMANDS.items()):
        is_used = name == used
        command = _load_command(name, in_full=in_full) if is_used else App(name, help=help_text)
        command.sort_key = number
        app.command(command)
    app.meta.default(_launcher(app, used, in_full=in_full))
    return app


def _launcher(app: App, used: str, *, in_full: bool) -> Callable[..., int]:
    """Return the function that takes the options of every command, then runs the one that is used.

    in_full shows these options in the help.
    """
    config_help = "YAML file with a section of settings for each command; options have priority."
    dry_run_help = "Print all settings as YAML for --config, and run nothing."

    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[Path | None, _general(config_help, show=in_full)] = None,
        verbose: Annotated[bool, _flag("Log what gigaslide does.", show=in_full)] = False,
        dry_run: Annotated[bool, _flag(dry_run_help, show=in_full)] = False,
    ) -> int:
        if words and words[0] in COMMANDS and not {"--help", "-h"} & set(words):
            from .terminal.progress import configure_logging

            configure_logging(verbose=verbose)
        if config is not None:
            from .options.config import load_config

            app.config = (Dict(load_config(config, set(COMMANDS)), source=str(config)),)
        if dry_run and used:
            from .options.config import print_config

            inner = [word for word in words[1:2] if word in app[used]]
            return print_config(
                " ".join([used, *inner]),
                app.parse_args(words, exit_on_error=False, print_error=False)[1],
            )
        return app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0

    return launch


def _general(help_text: str, *, show: bool) -> Parameter:
    return Parameter(group=Group(GENERAL, sort_key=1000), show=show, help=help_text)


def _flag(help_text: str, *, show: bool) -> Parameter:
    return Parameter(
        group=Group(GENERAL, sort_key=1000),
        show=show,
        negative="",
        show_default=False,
        help=help_text,
    )


def _load_command(name: str, *, in_full: bool) -> App:
    from .options.command_app import make_command

    found: Callable[..., int] | dict[str, Callable[..., int]] = getattr(
        import_module(f".commands.{name}", __package__), name
    )
    if not isinstance(found, dict):
        return make_command(found, name, name, in_full=in_full)
    if "" in found:  # the command without a further word
        group = make_command(found[""], name, name, in_full=in_full)
    else:
        usage = f"Usage: gigaslide {name} COMMAND …"
        group = App(name=name, help=COMMANDS[name], usage=usage)
    for inner, function in found.items():
        if not inner:
            continue
        group.command(make_command(function, inner, f"{name} {inner}", in_full=in_full))
    return group


def _run(app: App, tokens: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        return int(
            app.meta(tokens, exit_on_error=False, print_error=False, result_action="return_value")
            or 0
        )
    except CycloptsError as error:
        print(f"gigaslide: {describe_usage_error(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print("\nstopped; run the same command again to continue", file=sys.stderr)
        return getattr(stopped, "exit_status", 130)  # 143 where it was SIGTERM
    except BrokenPipeError:
        # The reader of our output ended, as head does. Python would write the rest at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        print(f"gigaslide: {describe_error(error)}", file=sys.stderr)
        return 1
