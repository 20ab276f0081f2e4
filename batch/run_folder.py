"""Folder of a run: the lock of its output, and where its journal and tables are written.

An output in a bucket has its lock there; its journal and tables are written to a temporary folder
and copied to the bucket as they grow.
"""

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ..storage import (
    LOCK,
    BucketLock,
    FolderLock,
    Location,
    StoreError,
    delete_file,
    read_file,
    remove_leftovers,
    write_file,
)
from .outcome import table_name
from .settings import BatchSettings

__all__ = ["JOURNAL", "RunFolder", "open_run_folder", "read_failures"]

logger = logging.getLogger(__name__)

JOURNAL = "run.jsonl"
TABLES = ("summary.csv", "run.html", "failures.txt")
STOPPED_S = 5.0
"""Time limit of the last copy of a run that stops: batch systems kill 30 s after their signal."""
ENDED_S = 120.0
"""Time limit of the last copy of a run that ends."""


class Lock(Protocol):
    """Keeps other runs away from the output."""

    @property
    def is_lost(self) -> bool:
        """Another run took the lock away while this one held it."""
        ...


class Journal:
    """Journal of an output folder: a line of JSON for each event, appended by every run on it.

    For people, and for what no output records: why a slide failed. Resume reads the outputs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_broken = False

    def write(self, event: str, **fields: Any) -> None:
        """Append a line. An error of the disk is logged once and stops nothing."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **fields}, ensure_ascii=True, default=str)
        try:
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            if not self._is_broken:
                logger.warning("%s: cannot be written: %s", self.path, error)
            self._is_broken = True

    def mend(self) -> None:
        """End a last line that a kill cut off, so that the next one stands alone."""
        try:
            with self.path.open("rb+") as file:
                if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
                    file.write(b"\n")
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("%s: %s", self.path, error)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield every whole line, the oldest first."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    try:
                        found = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(found, dict):
                        yield found
        except FileNotFoundError:
            return

    def failures(self, stage: str = "") -> dict[str, dict[str, Any]]:
        """Return the last line of each slide whose last outcome in a stage was a failure."""
        lines = (
            line
            for line in self.lines()
            if line.get("event") == "slide" and line.get("stage", "") == stage
        )
        last = {line.get("slide"): line for line in lines}
        return {str(slide): line for slide, line in last.items() if line.get("status") == "failed"}


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Folder in which one run at a time writes its journal and its tables."""

    location: Location
    """The run's output, as its user named it."""
    path: Path
    """Folder of the files: the output, or a temporary folder for an output in a bucket."""
    lock: Lock
    journal: Journal
    stage: str = ""
    """Stage of the run if the folder is another stage's output: failures and tables are apart."""

    @property
    def shared(self) -> Path | None:
        """The folder, if workers on other machines may reach it too."""
        return self.path if self.path == self.location else None


def read_failures(folder: Path) -> dict[str, str]:
    """Return the reason of each slide whose last outcome in an output folder was a failure."""
    failures = Journal(folder / JOURNAL).failures()
    return {slide: str(line.get("reason", "")) for slide, line in failures.items()}


def open_run_folder(
    location: Location, settings: BatchSettings, *, stage: str = ""
) -> AbstractContextManager[RunFolder]:
    """Hold the lock of an output, in a folder or a bucket, and open the run's journal.

    Raises:
        ClusterError: another run works there.
    """
    if isinstance(location, Path):
        return _local_folder(location, settings, stage)
    return _bucket_folder(location, settings, stage)


@contextmanager
def _local_folder(path: Path, settings: BatchSettings, stage: str) -> Iterator[RunFolder]:
    with FolderLock(path / LOCK, clear=settings.clear_lock) as lock:
        journal = Journal(path / JOURNAL)
        journal.mend()
        remove_leftovers(path)
        yield RunFolder(location=path, path=path, lock=lock, journal=journal, stage=stage)


@contextmanager
def _bucket_folder(location: str, settings: BatchSettings, stage: str) -> Iterator[RunFolder]:
    with (
        tempfile.TemporaryDirectory() as folder,
        BucketLock(location, clear=settings.clear_lock) as lock,
    ):
        path = Path(folder)
        (path / JOURNAL).write_bytes(read_file(location, JOURNAL) or b"")
        journal = Journal(path / JOURNAL)
        journal.mend()
        remove_leftovers(location)
        tables = [table_name(name, stage) for name in TABLES]
        copying = threading.Lock()  # else a heartbeat's copy could come after the last one

        def copy(*names: str) -> None:
            with copying:
                _copy(location, path, [JOURNAL, *names])

        lock.on_beat, limit_s = copy, STOPPED_S
        try:
            yield RunFolder(location=location, path=path, lock=lock, journal=journal, stage=stage)
            limit_s = ENDED_S
        finally:
            lock.on_beat = None
            _call_within(
                limit_s,
                lambda: lock.is_mine() and copy(*tables),
                f"{location}: the last copy of journal and tables",
            )


def _call_within(limit_s: float, call: Callable[[], object], name: str) -> None:
    """Call in a thread that is abandoned when it takes longer: a server that hangs must not delay
    the end of a run."""

    def attempt() -> None:
        try:
            call()
        except Exception as error:  # the run ends in its own way
            logger.warning("%s failed: %s", name, error)

    thread = threading.Thread(target=attempt, name=name, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        logger.warning("%s took longer than %g s and was abandoned", name, limit_s)


def _copy(location: str, path: Path, names: list[str]) -> None:
    """Copy the files that exist; delete an earlier run's failures if this one has none."""
    try:
        for name in names:
            if (path / name).exists():
                write_file(location, name, (path / name).read_bytes())
            elif name.endswith("failures.txt") and any(path.glob("*summary.csv")):
                delete_file(location, name)
    except StoreError as error:  # the output matters more
        logger.warning("the run's journal and tables cannot be copied: %s", error)
