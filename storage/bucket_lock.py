"""One run at a time on one output in a bucket."""

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from .errors import StoreError
from .files import kvstore_spec, open_kvstore, wait_for
from .lock import ATTEMPTS, HEARTBEAT_S, LOCK, Holder, held_by

__all__ = ["BucketLock"]

logger = logging.getLogger(__name__)

SETTLE_S = 1.5
RELEASE_S = 5.0


class BucketLock:
    """Lock of an output in a bucket, held by a `with` block.

    The lock is an object that is written on the condition that the bucket still holds what was read
    before: no lock, or that of a dead run. Google's and Amazon's servers check the condition
    (If-None-Match, If-Match) and write in one step. Other servers that speak S3 may not, so there
    we read once more a little later: of two runs that began together, the one whose object was
    overwritten ends. Each heartbeat reads again.

    Raises:
        ClusterError: another run holds it.
    """

    def __init__(self, location: str, *, clear: bool = False, beat_s: float = HEARTBEAT_S) -> None:
        self._location, self._clear, self._beat_s = location, clear, beat_s
        self._me = Holder.me()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="run lock", daemon=True)
        self.on_beat: Callable[[], None] | None = None
        """Called with each heartbeat."""
        self.is_lost = False
        """Another run took the lock away while this one held it."""

    def __enter__(self) -> "BucketLock":
        self._opened = open_kvstore(self._location)
        holder, beat, generation = self._look()
        cleared = holder if self._clear else None  # not one that takes it meanwhile
        for _ in range(ATTEMPTS):
            if holder is not None and holder != cleared and not holder.is_dead():
                break
            if self._write(if_equal=generation) and "endpoint" in kvstore_spec(self._location):
                time.sleep(SETTLE_S)
            if self.is_mine():
                if holder is not None:
                    logger.warning("%s: lock of %s taken over", self._location, holder)
                self._thread.start()
                return self
            holder, beat, generation = self._look()
        raise held_by(self._location, holder, f"at {beat}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._released.set()
        self._thread.join(RELEASE_S)
        try:
            holder, _, generation = self._look(timeout_s=RELEASE_S / 2)
            if holder == self._me:
                self._wait(
                    self._opened.write(LOCK, None, if_equal=generation), timeout_s=RELEASE_S / 2
                )
        except StoreError as failed:
            logger.warning("%s: the lock stays: %s", self._location, failed)

    def is_mine(self) -> bool:
        """True if this run holds the lock now.

        Raises:
            StoreError: the bucket does not answer.
        """
        return self._look()[0] == self._me

    def _write(self, *, if_equal: bytes) -> bool:
        """Write the lock over that generation only; return True if it was written."""
        content = json.dumps(
            {"holder": self._me.to_json(), "beat": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        return bool(self._wait(self._opened.write(LOCK, content, if_equal=if_equal)).generation)

    def _look(self, *, timeout_s: float | None = None) -> tuple[Holder | None, str, bytes]:
        """Return the holder, the time of its last heartbeat, and the generation of the object."""
        found = self._wait(self._opened.read(LOCK), timeout_s=timeout_s)
        if found.state != "value":
            return None, "", found.stamp.generation
        try:
            plain = json.loads(found.value)
            return Holder(**plain["holder"]), str(plain["beat"]), found.stamp.generation
        except (ValueError, TypeError, KeyError):
            return Holder.unknown(), "an unknown time", found.stamp.generation

    def _wait(self, future: Any, *, timeout_s: float | None = None) -> Any:
        message = f"{self._location}/{LOCK}: the lock's bucket does not answer"
        return wait_for(future, message, timeout_s=timeout_s)

    def _beat_on(self) -> None:
        while not self._released.wait(self._beat_s):
            if not self._beat():
                return

    def _beat(self) -> bool:
        """Renew the lock; return False if another run took it."""
        try:
            holder, _, generation = self._look()
            # A write that was refused may have been made before, its answer lost.
            if holder != self._me or not (self._write(if_equal=generation) or self.is_mine()):
                self.is_lost = not self._released.is_set()
                return False
            on_beat = self.on_beat
            if on_beat is not None:
                on_beat()
        except Exception as error:  # later heartbeats may succeed
            logger.warning("%s: the lock's heartbeat failed: %s", self._location, error)
        return True
