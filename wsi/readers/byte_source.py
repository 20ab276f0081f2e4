"""The bytes of a local file by place, from any number of threads."""

import os
from pathlib import Path
from typing import Protocol

__all__ = ["ByteSource", "LocalBytes"]


class ByteSource(Protocol):
    """Where compressed tiles are fetched from; `read` may be called from several threads at
    once."""

    def read(self, offset: int, length: int) -> bytes:
        """At most length bytes: fewer where the file ends before. Raises OSError."""
        ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class LocalBytes:
    """A file on this machine's file systems."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def reopen(self) -> None:
        # The fresh file takes the old one's number, whatever other threads are reading from it.
        with self._path.open("rb", buffering=0) as fresh:
            os.dup2(fresh.fileno(), self._file.fileno(), inheritable=False)

    def close(self) -> None:
        self._file.close()
