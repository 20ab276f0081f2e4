"""The terminal while a command works: lines of results, progress bars, log lines above them."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import tqdm_logging_redirect

from ...batch import Listener, SlideOutcome

__all__ = [
    "configure_logging",
    "hide_warnings",
    "print_line",
    "print_stage_line",
    "progress_bar",
    "quiet_tensorflow",
    "set_note",
    "slide_bar",
]

STAGE_WIDTH = 9
PIPE_INTERVAL_S = 15
FIGURES = "{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
BAR, PIPE_BAR = "{l_bar}{bar}| " + FIGURES, "{l_bar} " + FIGURES


def print_line(line: str = "", *, end: str = "\n") -> None:
    """Print a line of results."""
    print(line, end=end, flush=True)


def print_stage_line(stage: str, line: str) -> None:
    """Print a line of a stage's results, named or, for a further line, indented."""
    print_line(f"{stage:<{STAGE_WIDTH}} {line}")


def configure_logging(*, verbose: bool) -> None:
    """Log warnings of every library to standard error, and with verbose what gigaslide does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's C++, also in the workers
    logging.basicConfig(
        stream=sys.stderr, format="%(levelname)s: %(message)s", level=logging.WARNING, force=True
    )
    logging.root.handlers[0].addFilter(_is_of_interest)
    if not verbose:
        logging.root.handlers[0].addFilter(_OncePerSubject())
    logging.getLogger("gigaslide").setLevel(logging.INFO if verbose else logging.WARNING)


def _is_of_interest(record: logging.LogRecord) -> bool:
    return record.name.startswith("gigaslide") or record.levelno >= logging.WARNING


class _OncePerSubject(logging.Filter):
    """Pass the first of all records with the same `once`: several processes open one slide."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        subject = getattr(record, "once", None)
        if subject is None:
            return True
        is_first = subject not in self._seen
        self._seen.add(subject)
        return is_first


@contextmanager
def hide_warnings() -> Iterator[None]:
    """Keep warnings of gigaslide off the terminal, where the result lists each of them."""
    logger = logging.getLogger("gigaslide")
    before = logger.level
    if before == logging.WARNING:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Lines:
    """Standard error as a bar writes to it, each state on a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def progress_bar(stage: str, total: int | None, unit: str) -> Iterator[tqdm]:
    """A bar named after the stage; log lines appear above it. In a file it is a line now and
    then."""
    if sys.stderr.isatty():
        shape = {"mininterval": 0.5, "bar_format": BAR}
    else:
        shape = {
            "mininterval": PIPE_INTERVAL_S,
            "bar_format": PIPE_BAR,
            "file": _Lines(),
        }
    filters = [kept for handler in logging.root.handlers for kept in handler.filters]
    with tqdm_logging_redirect(
        total=total,
        desc=f"{stage:<{STAGE_WIDTH}}",
        unit=unit,
        **shape,
    ) as progress:
        for kept in filters:  # the bar's handler has none
            logging.root.handlers[-1].addFilter(kept)
        yield progress


def set_note(progress: tqdm, note: str) -> None:
    """Show a note behind a bar's figures: at once on a terminal; in a file with the next line, so
    that a log has no line for each slide and each block."""
    progress.set_postfix_str(note, refresh=sys.stderr.isatty())


@contextmanager
def slide_bar(
    stage: str, total: int, *, unit: str = "", noun: str = "slides"
) -> Iterator[Listener]:
    """A bar of slides (noun, plural), as the listener that advances it.

    The counts of finished blocks are shown in the given unit.
    """
    failed = made = 0
    with progress_bar(stage, total, f" {noun}") as progress:

        def refresh() -> None:
            notes = [f"{made} {unit}" if made else "", f"{failed} failed or partial" * bool(failed)]
            set_note(progress, ", ".join(filter(None, notes)))

        def end_slide(outcome: SlideOutcome) -> None:
            nonlocal failed
            failed += outcome.status in ("failed", "partial")
            refresh()
            progress.update()

        def add_counts(counts: Mapping[str, int]) -> None:
            nonlocal made
            made += sum(counts.values())
            refresh()

        yield Listener(on_outcome=end_slide, on_block=add_counts)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Hide what TensorFlow writes to standard error past Python's logging; show it on an error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
