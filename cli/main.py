"""`gigaslide`: the list of commands, and the one place where errors become one line and an exit status."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.config import Yaml

__all__ = ["main"]

# Commands are imported when they are used: `gigaslide --help` must not wait for TensorFlow, Dask or OpenSlide.
COMMANDS = {
    "demo": "Make phantom slides and run every stage on them, in minutes.",
    "run": "Run every stage: tile, train, predict, evaluate.",
    "cohort": "Propose a cohort CSV from a folder of slides.",
    "tile": "Extract balanced patches from annotated slides into a patch store.",
    "train": "Train a model on a patch store.",
    "predict": "Slide a model over slides: heatmaps and detections.",
    "evaluate": "Score heatmaps and detections against annotations: AUC, FROC, a report.",
    "phantom": "Draw synthetic slides whose tumour is known.",
}

HELP = """Find tumour in gigapixel pathology slides: tiling, training, heatmaps, FROC.

Every command takes --config FILE (YAML, a section for each command; options win) and --verbose."""


def _app() -> App:
    app = App(name="gigaslide", help=HELP, version=version("gigaslide"), help_format="plaintext")
    for name, help_text in COMMANDS.items():
        app.command(f"gigaslide.cli.{name}:{name}", name=name, help=help_text)
    return app


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0 all good, 1 nothing done, 2 some slides failed or partial."""
    app = _app()

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[Path | None, Parameter(show=False)] = None,
        verbose: Annotated[bool, Parameter(show=False, negative="")] = False,
    ) -> int:
        if words and words[0] in COMMANDS and not {"--help", "-h"} & set(words):
            from .show import show_logs

            show_logs(verbose=verbose)
        if config is not None:
            app.config = (Yaml(config, must_exist=True),)
        return app(words, exit_on_error=False, print_error=True, result_action="return_value") or 0

    return _guarded(app, list(sys.argv[1:] if tokens is None else tokens))


def _guarded(app: App, tokens: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        return int(app.meta(tokens, exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError:
        return 1  # already printed
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        from ..wsi.errors import GigaslideError

        if not isinstance(error, GigaslideError):
            raise
        print(f"gigaslide: {error}", file=sys.stderr)
        return 1
