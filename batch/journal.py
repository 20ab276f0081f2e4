"""The journal of an output folder: a line of JSON for everything that ended, appended, of all runs
on it.

It is for people, and for what no output can tell: why a slide failed. What is done is read from the
outputs.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ..storage import PARTIAL, Location, remove_left, remove_litter
from .lock import RunLock
from .settings import BatchSettings

__all__ = ["JOURNAL", "Journal", "RunFolder", "run_folder"]

logger = logging.getLogger(__name__)

JOURNAL, LOCK = "run.jsonl", ".run.lock"


class Journal:
    """A file of JSON lines that only grows; one process writes to it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_broken = False

    def write(self, event: str, **fields: Any) -> None:
        """Append a line. A disk that refuses it is told once and stops nothing."""
        line = json.dumps(
            {"time": _now(), "event": event, **fields}, ensure_ascii=True, default=str
        )
        try:
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            if not self._is_broken:
                logger.warning("%s: cannot be written: %s", self.path, error)
            self._is_broken = True

    def mend(self) -> None:
        """Close a last line that a kill tore, so that the next one stands alone."""
        try:
            with self.path.open("rb+") as file:
                if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
                    file.write(b"\n")
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("%s: %s", self.path, error)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every whole line, the oldest first."""
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
        """The last line of each slide whose last outcome in a stage was a failure."""
        lines = (
            line
            for line in self.lines()
            if line.get("event") == "slide" and line.get("stage", "") == stage
        )
        last = {line.get("slide"): line for line in lines}
        return {str(slide): line for slide, line in last.items() if line.get("status") == "failed"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Lock(Protocol):
    """What keeps other runs away."""

    @property
    def is_lost(self) -> bool:
        """Whether somebody took it away while we held it."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where a run writes its journal and its tables; no other run does."""

    place: Location
    """The run's output, as its user named it."""
    path: Path
    """Where the files lie: the same, or a folder of this machine for an output that is none."""
    lock: Lock
    journal: Journal
    stage: str = ""
    """What is done there, where it is not what the folder is for: its failures and its tables are
    apart."""

    @property
    def shared(self) -> Path | None:
        """The folder, where workers on other machines reach it too."""
        return self.path if self.path == self.place else None


@contextmanager
def run_folder(path: Path, settings: BatchSettings, *, stage: str = "") -> Iterator[RunFolder]:
    """Hold the folder's lock and open its journal.

    Raises:
        ClusterError: another run works there.
    """
    with RunLock(path / LOCK, clear=settings.clear_lock) as lock:
        journal = Journal(path / JOURNAL)
        journal.mend()
        _remove_leftovers(path)
        yield RunFolder(place=path, path=path, lock=lock, journal=journal, stage=stage)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed writers left half written: with the lock held, nobody writes it any more.

    Slides half done stay, for they are gone on with, without the files that were half written in
    them; what `Pieces` cut off after the renaming left over goes. Finished slides are not searched
    but for what is to be added to them: they are many files, and `Pieces` finished them clean.
    """
    for left in [*path.glob(f".*{PARTIAL}"), *path.glob(f"[!.]*/.*{PARTIAL}")]:
        if left.parent == path and (left / "whole").is_dir():
            remove_litter(left)
            continue
        logger.info("%s: left by a killed run, removed", left)
        remove_left(left)
