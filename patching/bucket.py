"""A run on a store in a bucket: its lock lies there, its journal and its tables are copied there as they grow."""

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

import tensorstore

from ..batch import BatchSettings, RunFolder, run_folder
from ..batch.journal import JOURNAL, Journal
from ..batch.lock import BEAT_S, Holder
from ..wsi import ClusterError, Location, StoreError
from .place import kvstore, read_files, settled, write_file

__all__ = ["BucketLock", "store_run"]

logger = logging.getLogger(__name__)

LOCK = ".run.lock"
TABLES = ("summary.csv", "run.html", "failures.txt")
SETTLE_S = 1.5


def store_run(store: Location, settings: BatchSettings) -> AbstractContextManager[RunFolder]:
    """Hold a store's lock and open its journal, in a folder or a bucket.

    Raises:
        ClusterError: another run works there.
    """
    return run_folder(store, settings) if isinstance(store, Path) else _bucket_run(store, settings)


@contextmanager
def _bucket_run(store: str, settings: BatchSettings) -> Iterator[RunFolder]:
    with tempfile.TemporaryDirectory() as folder, BucketLock(store, clear=settings.clear_lock) as lock:
        path = Path(folder)
        (path / JOURNAL).write_bytes(read_files(store, [JOURNAL])[0] or b"")
        journal = Journal(path / JOURNAL)
        journal.mend()
        copying = threading.Lock()  # else a beat's copy could come after the last one

        def copy(*names: str) -> None:
            with copying:
                _copy(store, path, [JOURNAL, *names])

        lock.on_beat = copy
        try:
            yield RunFolder(place=store, path=path, lock=lock, journal=journal)
        finally:
            lock.on_beat = None
            copy(*TABLES)


def _copy(store: str, path: Path, names: list[str]) -> None:
    """Those that there are; failures of an earlier run go where this one has none."""
    try:
        for name in names:
            if (path / name).exists():
                write_file(store, name, (path / name).read_bytes())
            elif (path / "summary.csv").exists():
                settled(tensorstore.KvStore.open(kvstore(store)).result().write(name, None), f"{store}: {name}")
    except StoreError as error:  # the patches matter more
        logger.warning("the run's journal and tables cannot be copied: %s", error)


class BucketLock:
    """Held by a `with` block; one run at a time on a store in a bucket.

    The lock is an object that is made where there is none. Google's buckets see to that in one step; for S3 TensorStore
    looks first and writes then, so we look once more a little later: of two runs that began together the one whose
    object was overwritten goes. Each beat looks again.

    Raises:
        ClusterError: another run holds it.
    """

    def __init__(self, store: str, *, clear: bool = False, beat_s: float = BEAT_S) -> None:
        self._store, self._clear, self._beat_s = store, clear, beat_s
        self._me = Holder.me()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run lock", daemon=True)
        self.on_beat: Callable[[], None] | None = None
        """Called with each beat."""
        self.is_lost = False
        """Somebody took the lock away while we held it."""

    def __enter__(self) -> "BucketLock":
        self._opened = settled(tensorstore.KvStore.open(kvstore(self._store)), f"{self._store}: cannot be reached")
        holder, beat = None, ""
        for _ in range(3):  # between looking and taking, another may come or go
            holder, beat, generation = self._look()
            if holder is None and self._write(if_equal=generation):
                if self._store.startswith("s3:"):
                    time.sleep(SETTLE_S)
                holder, beat, generation = self._look()
            if holder == self._me:
                self._thread.start()
                return self
            if holder is None:
                continue
            if not (self._clear or holder.is_dead()):
                break
            logger.warning("%s: lock of %s taken away", self._store, holder)
            self._settled(self._opened.write(LOCK, None, if_equal=generation))
        raise ClusterError(
            f"{self._store}: another run works on this output: {holder}; last heard of at {beat}. Wait for it, or, if "
            "you know that it is dead, run again with --clear-lock"
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._released.set()
        self._thread.join()
        try:
            holder, _, generation = self._look()
            if holder == self._me:
                self._settled(self._opened.write(LOCK, None, if_equal=generation))
        except StoreError as failed:
            logger.warning("%s: the lock stays: %s", self._store, failed)

    def _write(self, *, if_equal: bytes) -> bool:
        """Whether it was written, which it is only over that generation."""
        content = json.dumps({"holder": self._me.to_json(), "beat": datetime.now(UTC).isoformat(timespec="seconds")})
        return bool(self._settled(self._opened.write(LOCK, content, if_equal=if_equal)).generation)

    def _look(self) -> tuple[Holder | None, str, bytes]:
        """Who holds it, when that was last heard of, which generation of the object, or of none, says so."""
        found = self._settled(self._opened.read(LOCK))
        if found.state != "value":
            return None, "", found.stamp.generation
        try:
            plain = json.loads(found.value)
            return Holder.of_json(plain["holder"]), str(plain["beat"]), found.stamp.generation
        except (ValueError, TypeError, KeyError):
            return Holder.unknown(), "an unknown time", found.stamp.generation

    def _settled(self, future):
        return settled(future, f"{self._store}/{LOCK}: the lock's bucket does not answer")

    def _beat(self) -> None:
        while not self._released.wait(self._beat_s):
            try:
                holder, _, generation = self._look()
                if holder != self._me:
                    self.is_lost = not self._released.is_set()
                    return
                self._write(if_equal=generation)
            except StoreError as error:
                logger.warning("%s: the lock's heartbeat failed: %s", self._store, error)
            on_beat = self.on_beat
            if on_beat is not None:
                on_beat()
