"""Files and folders that appear whole or not at all: written beside as `.partial`, closed,
renamed."""

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SettingsError

__all__ = [
    "PARTIAL",
    "atomic_file",
    "atomic_folder",
    "leave_to_disk",
    "refuse_foreign_folder",
    "remove_folder",
    "remove_left",
    "remove_litter",
    "restore_folder",
    "sync_below",
    "sync_file",
]

PARTIAL = ".partial"
OLD = ".old"


def _beside(path: Path, suffix: str = PARTIAL) -> Path:
    # The leading dot hides it from folder listings; the random part keeps two writers apart.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{suffix}")


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give a path to write to; on success it becomes `path` (replacing what was there), on an error
    it is removed.

    sync: have it on disk before it gets its name. Without, a power cut may leave a file of that
    name that is torn.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        yield partial
        if sync:
            sync_file(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Have a file on disk. A write that failed is told to the first who asks, and to nobody
    after."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def leave_to_disk(path: Path) -> None:
    """Have the system begin to bring a file to disk, and keep in memory only what is not there yet;
    wait for nothing.

    For files larger than what the system would hold back without harm: left alone it holds back a
    fifth of the memory, takes new pages all the while, and then makes every writer wait at once.
    Does nothing where the system has no such advice.
    """
    if hasattr(os, "posix_fadvise"):
        with (
            suppress(OSError),
            path.open("rb") as file,
        ):  # it is but advice, and not every file system takes it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_below(folder: Path) -> None:
    """Have every file below a folder on disk.

    Raises:
        OSError: one is not, and is not told of again; its path is the error's filename.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                sync_file(path)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_folder(path: Path, *, known_by: str = "recipe.json") -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes `path`, else it is removed.

    A folder that is there already is replaced only if it is empty or holds the file known_by, as
    our outputs do.

    Raises:
        SettingsError: something else is there.
    """
    restore_folder(path)
    refuse_foreign_folder(path, known_by=known_by)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    partial.mkdir()
    try:
        yield partial
        # A folder cannot be replaced in one step: the old one is moved aside first, so that a kill
        # between the two renames leaves what `restore_folder` brings back, never a mixture.
        if path.exists():
            refuse_foreign_folder(
                path, known_by=known_by
            )  # it may have come while the new one was made
            old = _beside(path, OLD)
            path.rename(old)
            partial.rename(path)
            remove_folder(old)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_foreign_folder(path: Path, *, known_by: str = "recipe.json") -> None:
    """Pass if `atomic_folder` may write to path: nothing there, an empty folder, or one that holds
    the file known_by.

    Raises:
        SettingsError: something else is there, which nobody allowed us to remove.
    """
    if not path.exists() or (path / known_by).is_file():
        return
    if not path.is_dir():
        raise SettingsError(
            f"{path}: a folder is to be written here, but this is a file; give another one"
        )
    if any(path.iterdir()):
        raise SettingsError(
            f"{path}: the folder is not empty and has no {known_by}, so it is not an earlier "
            "output and is left as it is; give another one"
        )


def restore_folder(path: Path) -> None:
    """Bring back the folder that a killed `atomic_folder` had moved aside, where path is
    missing."""
    if path.exists():
        return
    left = sorted(
        path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}{OLD}"), key=os.path.getmtime
    )
    if left:
        left[-1].rename(path)


def remove_litter(folder: Path) -> None:
    """Remove what killed `atomic_file` and `atomic_folder` left anywhere below a folder; nobody may
    be writing there."""
    for left in list(folder.rglob(f".*.{'[0-9a-f]' * 8}{PARTIAL}")):
        remove_left(left)


def remove_left(left: Path) -> None:
    """Remove a file or a folder that a killed writer left; what cannot be removed does no harm."""
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder: whole or gone, for it loses its name first."""
    gone = _beside(path)
    path.rename(gone)
    shutil.rmtree(gone)
