"""One run at a time on one output folder, also between machines that share it over NFS."""

import json
import logging
import os
import socket
import threading
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from .atomic import NO_LINKS
from .errors import ClusterError

__all__ = ["HEARTBEAT_S", "LOCK", "FolderLock", "Holder", "held_by"]

logger = logging.getLogger(__name__)

LOCK = ".run.lock"
HEARTBEAT_S = 30.0
ATTEMPTS = 3
"""Another run may come or go between looking and taking."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock."""

    host: str
    pid: int
    process_started: float
    """Seconds since 1970; distinguishes it from a later process with the same number."""
    process_space: str
    """Process-number namespace: containers on one host number their processes apart."""
    since: str
    token: str

    @classmethod
    def me(cls) -> "Holder":
        process = psutil.Process()
        return cls(
            host=socket.gethostname(),
            pid=process.pid,
            process_started=process.create_time(),
            process_space=_process_space(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            token=uuid.uuid4().hex,
        )

    @classmethod
    def load(cls, path: Path) -> "Holder | None":
        """Load the holder of the lock at path; None if there is no lock."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return cls.unknown()

    @classmethod
    def unknown(cls) -> "Holder":
        """Holder of a lock that cannot be read."""
        return cls(
            host="unknown", pid=0, process_started=0, process_space="", since="unknown", token=""
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def is_dead(self) -> bool:
        """True if the process is known to have ended; only its own machine can know."""
        if (self.host, self.process_space) != (socket.gethostname(), _process_space()):
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.process_started) > 1
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def held_by(location: object, holder: Holder | None, heartbeat: str) -> ClusterError:
    """Error for an output that another run works on."""
    return ClusterError(
        f"{location}: another run works on this output: {holder}; last heartbeat {heartbeat}. "
        "Wait for it, or, if you know that it is dead, run again with --clear-lock"
    )


def _process_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


class FolderLock:
    """Lock of an output folder, held by a `with` block.

    A file made by link(2), which is atomic on NFS where exclusive creation was long not: whoever's
    own file has two names afterwards holds the lock. Its time of change is the heartbeat. A lock
    whose process died on this machine is taken over. Another machine's lock is refused with its
    holder's name unless clear is given, because nobody here knows whether that process is dead.
    (flufl.lock takes such a lock over once its lifetime ends, and needs hard links.)

    Raises:
        ClusterError: another run holds it.
    """

    def __init__(self, path: Path, *, clear: bool = False, beat_s: float = HEARTBEAT_S) -> None:
        self.path = path
        self._clear = clear
        self._beat_s = beat_s
        self._me = Holder.me()
        self._released = threading.Event()
        self.is_lost = False
        """Another run took the lock away while this one held it."""

    def __enter__(self) -> "FolderLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        holder = None
        for _ in range(ATTEMPTS):
            if self._take():
                threading.Thread(target=self._beat, name="run lock", daemon=True).start()
                return self
            holder = Holder.load(self.path)
            if holder is None:
                continue
            if not (self._clear or holder.is_dead()):
                break
            logger.warning("%s: lock of %s taken away", self.path.parent, holder)
            self._take_away(holder)
        raise held_by(self.path.parent, holder, f"{self._age()} ago")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._released.set()
        if self._is_mine():
            self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        mine = self._beside("partial")
        try:
            mine.write_text(json.dumps(self._me.to_json()), encoding="utf-8")
            try:
                os.link(mine, self.path)
            except OSError as error:
                # Over NFS the link may be made and the answer lost: names are counted instead.
                if error.errno in NO_LINKS:
                    return self._create(mine.read_bytes())
            return mine.stat().st_nlink == 2
        finally:
            mine.unlink(missing_ok=True)

    def _create(self, content: bytes) -> bool:
        """Create the lock exclusively, where the file system has no hard links."""
        try:
            with self.path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def _take_away(self, holder: Holder) -> None:
        """Remove that holder's lock, but not one that was taken since."""
        aside = self._beside("old")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        found = Holder.load(aside)
        if found != holder:
            try:
                os.link(aside, self.path)
            except OSError:
                logger.warning(
                    "%s: the lock of %s was taken away by mistake", self.path.parent, found
                )
        aside.unlink(missing_ok=True)

    def _is_mine(self) -> bool:
        holder = Holder.load(self.path)
        return holder is not None and holder.token == self._me.token

    def _beat(self) -> None:
        while not self._released.wait(self._beat_s):
            try:
                if not self._is_mine():
                    self.is_lost = not self._released.is_set()
                    return
                os.utime(self.path)
            except OSError as error:
                logger.warning("%s: the lock's heartbeat failed: %s", self.path, error)

    def _age(self) -> str:
        # Both times are the file server's: clocks of machines differ.
        probe = self._beside("now")
        try:
            probe.touch()
            seconds = probe.stat().st_mtime - self.path.stat().st_mtime
        except OSError:
            return "an unknown time"
        finally:
            probe.unlink(missing_ok=True)
        return f"{max(0.0, seconds):.0f} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{self._me.token[:8]}.{suffix}")
