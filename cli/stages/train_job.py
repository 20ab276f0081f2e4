"""Training as one job of a cluster: the command line and settings of the job, and its log in the
terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, SingleJob
from ...storage import Settings, SettingsError
from ..options.config import format_config
from ..terminal.progress import print_line, quiet_tensorflow

if TYPE_CHECKING:
    from ...cohort import Cohort
    from ...patching import TileSettings
    from ...training import TrainSettings

__all__ = ["JOB_OPTIONS", "LogView", "is_trained_here", "train_in_job"]

JOB_OPTIONS = frozenset(
    {
        "cluster",
        "queue",
        "account",
        "cores",
        "walltime",
        "gpus",
        "memory_gb",
        "job_directives",
        "job_prologue",
        "max_attempts",
        "clear_lock",
        "retry_failed",
    }
)
"""Fields of BatchSettings that have a meaning for the one job of a training."""
MEMORY_GB = 8.0
CONFIG = "settings.yaml"
BAR_S = 60.0  # between two states of the bar, where standard error is a file


def train_in_job(
    words: tuple[str, ...],
    model: Path,
    settings: TrainSettings,
    batch: BatchSettings,
    *,
    tiles: TileSettings | None = None,
) -> int:
    """Run `gigaslide train` with these words and settings as one job, and follow it; return its
    exit status, or 130 after Ctrl-C, which leaves the job alone. tiles: with --from-slides.

    Raises:
        ClusterError: the job cannot be submitted, failed or was cancelled.
        SettingsError: the GPUs of the job are not the devices of the training.
    """
    if batch.gpus and batch.gpus > settings.devices:
        raise SettingsError(
            f"--gpus {batch.gpus}: the training would use {settings.devices}; add "
            f"--devices {batch.gpus}"
        )
    folder = model.with_name(f"{model.name}.job")
    view = LogView()
    memory_gb = batch.memory_gb or MEMORY_GB
    job = SingleJob(
        argv=(sys.executable, "-m", "gigaslide.cli", "--config", str(folder / CONFIG), *words),
        folder=folder,
        files={CONFIG: format_config("train", _settings_of_job(settings, batch, tiles))},
        settings=batch.model_copy(update={"memory_gb": memory_gb}),
        progress=progress_of(model),
        on_event=view.add_event,
        on_output=view.add,
    )
    gpus = f", GPUs {batch.gpus}" if batch.gpus else ""
    print_line(
        f"train: a job of Slurm, cores {batch.cores}{gpus}, {memory_gb:g} GB, {batch.walltime}"
    )
    try:
        return job.run()
    except KeyboardInterrupt:
        view.close()
        number = job.current
        if number is None:
            raise
        print(
            f"job {number} goes on; run the same command again to follow it (and to submit it "
            f"again when its time is up), or cancel it with: scancel {number}",
            file=sys.stderr,
        )
        return 130
    finally:
        view.close()


def is_trained_here(
    store: str, model: Path, settings: TrainSettings, slides: Cohort | None
) -> bool:
    """Tell whether a job has nothing to train; refuse here what the job would refuse."""
    from ...patching import PatchStore
    from ...storage import parse_location
    from ...training import check_trackers

    check_trackers(settings.track)
    opened = PatchStore(parse_location(store, Path()))
    opened.slides  # noqa: B018 - a missing store is reported before Keras loads for seconds
    with quiet_tensorflow():
        from ...training import is_trained, plan_members

        members = plan_members(model, settings)
        return all(is_trained(opened, m.folder, m.settings, slides=slides) for m in members)


def _settings_of_job(
    settings: TrainSettings, batch: BatchSettings, tiles: TileSettings | None
) -> dict[str, Settings]:
    if tiles is None:
        return {"settings": settings}
    # One job at a time runs this command: a lock on the index is that of a job that was killed.
    index = BatchSettings(workers=batch.cores, clear_lock=True, retry_failed=batch.retry_failed)
    return {"settings": settings, "tile": tiles, "batch": index}


def progress_of(model: Path) -> Callable[[], object]:
    """Return a function whose value changes with every checkpoint and every indexed block."""

    def progress() -> object:
        of_model = model.with_name(f"{model.name}.checkpoint").glob("step_*")
        checkpoints = [*of_model, *model.glob("member_*.checkpoint/step_*")]
        journal = model.with_name(f"{model.name}.index") / "run.jsonl"
        indexed = journal.stat().st_size if journal.exists() else 0
        return sorted(map(str, checkpoints)), indexed

    return progress


class LogView:
    """Shows the log of a job: its lines on standard output, its bar on standard error.

    A bar is text after the last carriage return. A terminal shows it in place; a file gets its
    state once a minute.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._shown = ""
        self._shown_at = -BAR_S

    def add(self, text: str) -> None:
        """Show a piece of the log."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            visible = _visible(line)
            if visible:
                self._hide_bar()
                print_line(visible)
        self._rest = self._rest[max(0, self._rest.rfind("\r")) :]
        self._show_bar(_visible(self._rest))

    def add_event(self, line: str) -> None:
        """Show a line about the job."""
        self._hide_bar()
        print_line(f"train: {line}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._shown and sys.stderr.isatty():
            print(file=sys.stderr, flush=True)
        self._shown = ""

    def _show_bar(self, bar: str) -> None:
        if not bar or bar == self._shown:
            return
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{bar[:width]:<{width}}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._shown_at >= BAR_S:
            print(bar, file=sys.stderr, flush=True)
            self._shown_at = time.monotonic()
        else:
            return
        self._shown = bar

    def _hide_bar(self) -> None:
        if self._shown and sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{'':<{width}}\r", end="", file=sys.stderr, flush=True)
        self._shown = ""


def _visible(line: str) -> str:
    """Return what a terminal would show of a line: text after the last carriage return."""
    return line.rstrip().rsplit("\r", 1)[-1].rstrip()
