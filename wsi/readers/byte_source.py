"""Random access to the bytes of a local file, from any number of threads."""

import os
from pathlib import Path
from typing import Protocol

__all__ = ["ByteSource", "LocalBytes"]


class ByteSource(Protocol):
    """Source of compressed tiles; `read` may be called from several threads at once."""

    def read(self, offset: int, length: int) -> bytes:
        """Read up to length bytes, fewer at the end of the file. Raises OSError."""
        ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class LocalBytes:
    """A file on a mounted file system."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def reopen(self) -> None:
        # The fresh file takes over the descriptor, so reads in other threads stay valid.
        with self._path.open("rb", buffering=0) as fresh:
            os.dup2(fresh.fileno(), self._file.fileno(), inheritable=False)

    def close(self) -> None:
        self._file.close()
