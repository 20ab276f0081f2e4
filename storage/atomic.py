"""Files and folders that appear whole or not at all: written under a hidden name, then renamed."""

import errno
import glob
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SettingsError

__all__ = [
    "PARTIAL",
    "atomic_file",
    "atomic_folder",
    "hidden_folder",
    "new_file",
    "refuse_foreign_folder",
    "remove_folder",
    "remove_litter",
    "remove_path",
    "require_writable",
    "restore_folder",
    "start_writeback",
    "sync_below",
    "sync_file",
    "sync_folder",
    "visible_path",
]

PARTIAL = ".partial"
OLD = ".old"
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
"""Error numbers of file systems without hard links: exFAT, some of SMB and FUSE."""
CLAIM_S = 2.0
"""Time to wait for a claim, which a running process holds for one rename only."""


def _hidden_name(path: Path, suffix: str = PARTIAL) -> Path:
    # The leading dot hides it from folder listings; the random part keeps two writers apart.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{suffix}")


def visible_path(path: str) -> str:
    """Replace the hidden name of a half-written output by the output's own, for messages."""
    folder, name = os.path.split(path)
    hidden = re.fullmatch(rf"\.(.+)\.[0-9a-f]{{8}}{re.escape(PARTIAL)}", name)
    return os.path.join(folder, hidden[1]) if hidden else path  # noqa: PTH118


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a path to write to; on success rename it to path, on an error remove it.

    sync: have the content on disk before the rename. Without, a power cut may leave a torn file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _hidden_name(path.absolute())  # pandas would expand a leading ~
    try:
        yield partial
        if sync:
            sync_file(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on success give it the name path, which nothing may have yet.

    Of several writers of one name, on any machines, one succeeds. Content and name are on disk
    afterwards.

    Raises:
        FileExistsError: something is at path; it is left as it is.
        TimeoutError: where the file system has no hard links, a killed process left its claim.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _hidden_name(path.absolute())
    try:
        yield partial
        sync_file(partial)
        try:
            os.link(partial, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            _rename_to_new(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def _rename_to_new(partial: Path, path: Path) -> None:
    """Rename a file to a name that nothing has, where the file system has no hard links."""
    claim = path.with_name(f".{path.name}.claim")
    _take(claim)
    try:
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        partial.rename(path)
    finally:
        claim.unlink(missing_ok=True)


def _take(claim: Path) -> None:
    """Make the file that one process at a time can make. An old one stays: of two processes that
    removed it, the second would remove the claim of the first."""
    end = time.monotonic() + CLAIM_S
    while True:
        try:
            claim.open("x").close()
        except FileExistsError:
            if time.monotonic() > end:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    "another process is writing here; if none is, a killed one left this file: "
                    "remove it",
                    str(claim),
                ) from None
            time.sleep(CLAIM_S / 50)
        else:
            return


def sync_file(path: Path) -> None:
    """Have a file's content on disk. The system reports a failed write to the first caller only."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Have a folder's list of names on disk, where the file system can."""
    number = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(number)
    finally:
        os.close(number)


def start_writeback(path: Path) -> None:
    """Ask the system to start writing a file to disk and to drop written pages; do not wait.

    For large files: by default the system holds back up to a fifth of the memory and then stalls
    every writer at once. Without effect where the system has no such advice.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError), path.open("rb") as file:  # not every file system takes advice
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_below(folder: Path) -> None:
    """Have every file below a folder on disk.

    Raises:
        OSError: a file could not be written; its path is the error's filename. The system does not
            report it a second time.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                sync_file(path)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_folder(path: Path, *, known_by: str = "recipe.json") -> Iterator[Path]:
    """Yield an empty folder to fill; on success rename it to path, on an error remove it.

    An existing folder is replaced only if it is empty or holds the file known_by, as our outputs
    do.

    Raises:
        SettingsError: something else is there.
    """
    restore_folder(path)
    refuse_foreign_folder(path, known_by=known_by)
    with hidden_folder(path) as partial:
        yield partial
        # A folder cannot be replaced in one step: the old one is moved aside first, so that a kill
        # between the two renames leaves what `restore_folder` brings back, never a mixture.
        if path.exists():
            refuse_foreign_folder(path, known_by=known_by)  # it may have appeared meanwhile
            old = _hidden_name(path, OLD)
            path.rename(old)
            partial.rename(path)
            remove_folder(old)
        else:
            partial.rename(path)


@contextmanager
def hidden_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside path, under a hidden name; remove it in the end."""
    folder = _hidden_name(path)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_foreign_folder(path: Path, *, known_by: str = "recipe.json") -> None:
    """Pass if nothing is at path, or an empty folder, or one that holds the file known_by.

    Raises:
        SettingsError: something else is there, which we must not remove.
    """
    if not path.exists() or (path / known_by).is_file():
        return
    if not path.is_dir():
        raise SettingsError(f"{path}: is a file, but the output is a folder; give another path")
    if any(path.iterdir()):
        raise SettingsError(
            f"{path}: the folder is not empty and has no {known_by}, so it is not an earlier "
            "output and is left as it is; give another one"
        )


def require_writable(path: Path) -> None:
    """Pass if an output can be made at path, so that no long work ends in vain.

    Raises:
        SettingsError: the folder above, or the nearest one that exists, cannot be written to.
    """
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        raise SettingsError(
            f"{path}: the folder {above} cannot be written to; give another path, or ask for the "
            "right to write there"
        )


def restore_folder(path: Path) -> None:
    """Bring back the folder that a killed `atomic_folder` moved aside, if path is missing."""
    if path.exists():
        return
    left = sorted(
        path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}{OLD}"), key=os.path.getmtime
    )
    if left:
        left[-1].rename(path)


def remove_litter(folder: Path) -> None:
    """Remove what killed `atomic_file` and `atomic_folder` calls left below a folder.

    Only for a folder that nobody else writes to."""
    for left in list(folder.rglob(f".*.{'[0-9a-f]' * 8}{PARTIAL}")):
        remove_path(left)


def remove_path(path: Path) -> None:
    """Remove a file or a folder that a killed writer left; errors are ignored."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder in one step as others see it: it is renamed to a hidden name first."""
    gone = _hidden_name(path)
    path.rename(gone)
    shutil.rmtree(gone)
