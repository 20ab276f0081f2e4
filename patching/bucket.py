"""A run on a store in a bucket: its lock lies there, its journal and its tables are copied there as
they grow."""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorstore

from ..batch import (
    BEAT_S,
    JOURNAL,
    BatchSettings,
    Holder,
    Journal,
    RunFolder,
    run_folder,
    table_name,
)
from ..storage import ClusterError, Location, StoreError
from .group import remove_leftovers
from .place import delete_file, kvstore, read_files, settled, write_file

__all__ = ["BucketLock", "store_run"]

logger = logging.getLogger(__name__)

LOCK = ".run.lock"
TABLES = ("summary.csv", "run.html", "failures.txt")
SETTLE_S = 1.5
STOPPED_S = 5.0  # for the last copy of a run that stops: batch systems kill 30 s after their signal
ENDED_S = 120.0  # and of one that ends by itself
RELEASE_S = 5.0


def store_run(
    store: Location, settings: BatchSettings, *, stage: str = ""
) -> AbstractContextManager[RunFolder]:
    """Hold a store's lock and open its journal, in a folder or a bucket.

    Raises:
        ClusterError: another run works there.
    """
    if isinstance(store, Path):
        return run_folder(store, settings, stage=stage)
    return _bucket_run(store, settings, stage)


@contextmanager
def _bucket_run(store: str, settings: BatchSettings, stage: str) -> Iterator[RunFolder]:
    with (
        tempfile.TemporaryDirectory() as folder,
        BucketLock(store, clear=settings.clear_lock) as lock,
    ):
        path = Path(folder)
        (path / JOURNAL).write_bytes(read_files(store, [JOURNAL])[0] or b"")
        journal = Journal(path / JOURNAL)
        journal.mend()
        remove_leftovers(store)
        tables = [table_name(name, stage) for name in TABLES]
        copying = threading.Lock()  # else a beat's copy could come after the last one

        def copy(*names: str) -> None:
            with copying:
                _copy(store, path, [JOURNAL, *names])

        lock.on_beat, limit_s = copy, STOPPED_S
        try:
            yield RunFolder(place=store, path=path, lock=lock, journal=journal, stage=stage)
            limit_s = ENDED_S
        finally:
            lock.on_beat = None
            _within(
                limit_s,
                lambda: lock.is_mine() and copy(*tables),
                f"{store}: the last copy of journal and tables",
            )


def _within(limit_s: float, act: Callable[[], object], what: str) -> None:
    """Do it in a thread that is left alone when it takes longer: a server that hangs must not hold
    up the end."""

    def tried() -> None:
        try:
            act()
        except Exception as error:  # whatever it is, the run has its own end
            logger.warning("%s failed: %s", what, error)

    thread = threading.Thread(target=tried, name=what, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        logger.warning("%s took longer than %g s and was given up", what, limit_s)


def _copy(store: str, path: Path, names: list[str]) -> None:
    """Those that there are; failures of an earlier run go where this one has none."""
    try:
        for name in names:
            if (path / name).exists():
                write_file(store, name, (path / name).read_bytes())
            elif name.endswith("failures.txt") and any(path.glob("*summary.csv")):
                delete_file(store, name)
    except StoreError as error:  # the patches matter more
        logger.warning("the run's journal and tables cannot be copied: %s", error)


class BucketLock:
    """Held by a `with` block; one run at a time on a store in a bucket.

    The lock is an object that is written over none, or over that of a dead run, on the condition
    that it is still the one that was looked at. Google's and Amazon's servers see to the condition
    (If-None-Match, If-Match) in one step with the writing. Servers of others that speak S3 may not:
    there TensorStore's look before the writing is all there is, so we look once more a little
    later, and of two runs that began together the one whose object was overwritten goes. Each beat
    looks again.

    Raises:
        ClusterError: another run holds it.
    """

    def __init__(self, store: str, *, clear: bool = False, beat_s: float = BEAT_S) -> None:
        self._store, self._clear, self._beat_s = store, clear, beat_s
        self._me = Holder.me()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="run lock", daemon=True)
        self.on_beat: Callable[[], None] | None = None
        """Called with each beat."""
        self.is_lost = False
        """Somebody took the lock away while we held it."""

    def __enter__(self) -> "BucketLock":
        self._opened = settled(
            tensorstore.KvStore.open(kvstore(self._store)), f"{self._store}: cannot be reached"
        )
        holder, beat, generation = self._look()
        said_dead = holder if self._clear else None  # not who takes it meanwhile
        for _ in range(3):  # between looking and taking, another may come or go
            if holder is not None and holder != said_dead and not holder.is_dead():
                break
            if self._write(if_equal=generation) and "endpoint" in kvstore(self._store):
                time.sleep(SETTLE_S)
            if self.is_mine():
                if holder is not None:
                    logger.warning("%s: lock of %s taken over", self._store, holder)
                self._thread.start()
                return self
            holder, beat, generation = self._look()
        raise ClusterError(
            f"{self._store}: another run works on this output: {holder}; last heard of at {beat}. "
            "Wait for it, or, if you know that it is dead, run again with --clear-lock"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._released.set()
        self._thread.join(RELEASE_S)
        try:
            holder, _, generation = self._look(limit_s=RELEASE_S / 2)
            if holder == self._me:
                self._settled(
                    self._opened.write(LOCK, None, if_equal=generation), limit_s=RELEASE_S / 2
                )
        except StoreError as failed:
            logger.warning("%s: the lock stays: %s", self._store, failed)

    def is_mine(self) -> bool:
        """Look whose it is now.

        Raises:
            StoreError: the bucket does not answer.
        """
        return self._look()[0] == self._me

    def _write(self, *, if_equal: bytes) -> bool:
        """Whether it was written, which it is only over that generation."""
        content = json.dumps(
            {"holder": self._me.to_json(), "beat": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        return bool(self._settled(self._opened.write(LOCK, content, if_equal=if_equal)).generation)

    def _look(self, *, limit_s: float | None = None) -> tuple[Holder | None, str, bytes]:
        """Who holds it, when that was last heard of, which generation of the object, or of none,
        says so."""
        found = self._settled(self._opened.read(LOCK), limit_s=limit_s)
        if found.state != "value":
            return None, "", found.stamp.generation
        try:
            plain = json.loads(found.value)
            return Holder.of_json(plain["holder"]), str(plain["beat"]), found.stamp.generation
        except (ValueError, TypeError, KeyError):
            return Holder.unknown(), "an unknown time", found.stamp.generation

    def _settled(self, future: Any, *, limit_s: float | None = None) -> Any:
        return settled(
            future, f"{self._store}/{LOCK}: the lock's bucket does not answer", limit_s=limit_s
        )

    def _beat_on(self) -> None:
        while not self._released.wait(self._beat_s):
            if not self._beat():
                return

    def _beat(self) -> bool:
        """Whether the lock is ours still, as far as can be told."""
        try:
            holder, _, generation = self._look()
            # A write that was refused may have been ours before, its answer lost.
            if holder != self._me or not (self._write(if_equal=generation) or self.is_mine()):
                self.is_lost = not self._released.is_set()
                return False
            on_beat = self.on_beat
            if on_beat is not None:
                on_beat()
        except Exception as error:  # a beat that fails is one beat, not the last
            logger.warning("%s: the lock's heartbeat failed: %s", self._store, error)
        return True
