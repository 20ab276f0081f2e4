"""Files and folders that appear whole or not at all: written beside as `.partial`, closed, renamed."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PARTIAL", "whole_file", "whole_folder"]

PARTIAL = ".partial"


def _beside(path: Path) -> Path:
    # The leading dot hides it from folder listings; the random part keeps two writers apart.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; on success it becomes `path` (replacing what was there), on an error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes `path` (replacing what was there), else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    partial.mkdir()
    try:
        yield partial
        # A folder cannot be replaced in one step: the old one is moved aside first, so that a kill between the two
        # renames leaves no output (work to do again), never a mixture.
        if path.exists():
            old = _beside(path)
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
