"""What a person sees while a command works: bars, log lines above them, and the table at the
end."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ..batch import BatchSummary, SlideOutcome
from ..storage import format_count

__all__ = [
    "bar",
    "findings_only",
    "hushed",
    "say",
    "show_comparison",
    "show_figures",
    "show_left_out",
    "show_logs",
    "show_summary",
    "show_table",
    "slide_bar",
]

STAGE_WIDTH = 9


def say(line: str = "", *, end: str = "\n") -> None:
    """Print a line of results."""
    print(line, end=end, flush=True)


def show_table(table: Any) -> None:
    """A pandas table, numbers to the right; no row and no column is left out."""
    say(table.to_string(index=False, na_rep="", max_colwidth=60))


class _AboveBars(logging.Handler):
    """Writes log lines above the bars; of other libraries only what is a warning or worse."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("gigaslide") or record.levelno >= logging.WARNING:
            tqdm.write(self.format(record), file=sys.stderr)


def show_logs(*, verbose: bool) -> None:
    """Show warnings of every library, and with verbose what gigaslide is doing."""
    handler = _AboveBars()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("gigaslide").setLevel(logging.INFO if verbose else logging.WARNING)


@contextmanager
def findings_only() -> Iterator[None]:
    """Keep warnings off the terminal where every one of them is a finding of the table that
    follows."""
    logger = logging.getLogger("gigaslide")
    before = logger.level
    if before == logging.WARNING:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def bar(stage: str, total: int | None, unit: str) -> Iterator[tqdm]:
    """A bar named after the stage."""
    width = None if sys.stderr.isatty() else 100
    with tqdm(
        total=total, desc=f"{stage:<{STAGE_WIDTH}}", unit=unit, ncols=width, mininterval=0.5
    ) as progress:
        yield progress


@contextmanager
def slide_bar(
    stage: str, total: int, *, made: str = ""
) -> Iterator[tuple[Callable[[SlideOutcome], None], Callable[[dict[str, int]], None]]]:
    """A bar of slides: what tells it of each that ended, and of what a part of one gave, counted in
    words like made."""
    bad = count = 0
    with bar(stage, total, " slides") as progress:

        def show() -> None:
            words = [f"{count} {made}" if count else "", f"{bad} failed or partial" if bad else ""]
            progress.set_postfix_str(", ".join(filter(None, words)))

        def ended(outcome: SlideOutcome) -> None:
            nonlocal bad
            bad += outcome.status in ("failed", "partial")
            show()
            progress.update()

        def gave(counts: dict[str, int]) -> None:
            nonlocal count
            count += sum(counts.values())
            show()

        yield ended, gave


def show_summary(stage: str, summary: BatchSummary) -> None:
    """The headline, and a line for every slide that failed or is partial."""
    say(f"{stage:<{STAGE_WIDTH}} {summary.headline()}")
    for outcome in summary.outcomes:
        if outcome.status in ("failed", "partial"):
            say(f"{'':<{STAGE_WIDTH}} {outcome.status}: {outcome.slide}: {outcome.reason}")


def show_figures(metrics: dict[str, Any]) -> None:
    """Patch AUC, slide AUC and FROC with their 95 % intervals, and sensitivity at each rate of
    false positives."""
    if len(metrics["models"]) > 1:
        say(
            f"{'':<{STAGE_WIDTH}} of {len(metrics['models'])} different models: "
            f"{', '.join(metrics['models'])}"
        )
    froc = metrics["froc"]["gigaslide"]
    figures = {
        "patch AUC": metrics["patch_auc"],
        "slide AUC": metrics["slide_auc"],
        "FROC score": froc["score"],
    }
    for name, figure in figures.items():
        say(f"{'':<{STAGE_WIDTH}} {name:<11} {_figure(figure, metrics['settings']['confidence'])}")
    for rate, figure in froc["sensitivity_at_false_positives_per_slide"].items():
        say(
            f"{'':<{STAGE_WIDTH}}   sensitivity at {rate:>4} false positives a slide: "
            f"{_figure(figure, None)}"
        )


def show_left_out(metrics: dict[str, Any]) -> None:
    """What is not as it should be: slides that figures lack, predictions that are missing or lie
    outside."""
    for figures in dict.fromkeys(
        one["excluded_from"] for one in metrics["exclusions"] if one["kind"] == "slide"
    ):
        some = [
            one
            for one in metrics["exclusions"]
            if one["kind"] == "slide" and one["excluded_from"] == figures
        ]
        words = (
            f"excluded from {figures}: {format_count(len(some), 'slide')}, the first "
            f"{some[0]['slide']}: {some[0]['reason']}"
        )
        say(f"{'':<{STAGE_WIDTH}} {words}")
    patients = [one for one in metrics["exclusions"] if one["kind"] == "patient"]
    if patients:
        words = (
            f"{format_count(len(patients), 'patient')}, the first {patients[0]['name']}: "
            f"{patients[0]['reason']}"
        )
        say(f"{'':<{STAGE_WIDTH}} excluded from pN stages: {words}")
    outside = [one for one in metrics["exclusions"] if one["kind"] == "detection"]
    if outside:
        count = format_count(
            sum(slide["detections_outside"] for slide in metrics["slides"]), "detection"
        )
        say(
            f"{'':<{STAGE_WIDTH}} {count} outside their slides, false positives all, the first "
            f"{outside[0]['name']}"
        )


def show_comparison(metrics: dict[str, Any]) -> None:
    """Both models and their difference, figure by figure."""
    first, second = metrics["names"]
    some = dict.fromkeys(one["slide"] for one in metrics["exclusions"])
    left_out = (
        f"; excluded: {', '.join(some)}, the first by {metrics['exclusions'][0]['reason']}"
        if some
        else ""
    )
    say(
        f"{'compare':<{STAGE_WIDTH}} {first} less {second}, "
        f"{format_count(len(metrics['slides']), 'slide')}{left_out}"
    )
    for name, one in metrics["differences"].items():
        found = one["difference"]
        if found["value"] is None:
            continue
        interval = (
            found["note"]
            if found["low"] is None
            else f"{found['low']:+.3f} to {found['high']:+.3f}"
        )
        interval = f"  ({interval})" if interval else ""
        p_value = "" if one["p_value"] is None else f", p = {one['p_value']:.3f}"
        values = f"{one['first']['value']:.3f} and {one['second']['value']:.3f}"
        say(
            f"{'':<{STAGE_WIDTH}} {name}: {values}, difference "
            f"{found['value']:+.3f}{interval}{p_value}"
        )


def _figure(figure: dict[str, Any], confidence: float | None) -> str:
    if figure["value"] is None:
        return f"not defined: {figure['undefined']}"
    if figure["low"] is None or confidence is None:
        note = figure.get("note") if confidence is not None else ""
        return f"{figure['value']:.3f}" + (f"  ({note})" if note else "")
    return (
        f"{figure['value']:.3f}  ({confidence:.0%} interval {figure['low']:.3f} to "
        f"{figure['high']:.3f})"
    )


@contextmanager
def hushed() -> Iterator[None]:
    """Keep TensorFlow's greetings, which it writes past Python's logging, off the terminal; show
    them on an error."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
