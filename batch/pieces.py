"""An output made piece by piece, by one process or many, over one run or several: what is kept
until it is whole.

.NAME.partial/recipe.json      what is being made
.NAME.partial/whole/           the folder to be
.NAME.partial/done/000012.json what block 12 wrote: its files and what tells that they are as
written; written after it
"""

import errno
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import google_crc32c

from ..storage import (
    Location,
    StoreError,
    atomic_file,
    leave_to_disk,
    remove_folder,
    remove_litter,
    sync_below,
    sync_file,
)

__all__ = ["DONE", "RECIPE", "FolderPieces", "Pieces", "Receipt", "size_and_crc"]

CHUNK = 2**22
RECIPE, DONE = "recipe.json", "done"

PlaceT = TypeVar("PlaceT", Path, str)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one block wrote."""

    files: dict[str, Any]
    """By the path below the output, plain JSON that is another once the file is: of a folder's its
    size and CRC-32C."""
    counts: dict[str, int]
    notes: Any = None


@dataclass(frozen=True)
class Pieces(ABC, Generic[PlaceT]):
    """The output `place` on its way. Cheap to make anew in every task; only those who begin need
    the recipe."""

    place: PlaceT
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What it is made from, plain JSON."""

    @property
    @abstractmethod
    def partial(self) -> Location:
        """Where lies what is kept until the output is whole."""

    @property
    @abstractmethod
    def whole(self) -> Location:
        """Where blocks write their files."""

    @abstractmethod
    def begin_anew(self) -> None:
        """Remove what is there and be begun, with nothing in it."""

    @abstractmethod
    def finish(self) -> None:
        """Leave nothing but the output, whole. May be called again after it was cut off anywhere.

        Raises:
            OSError: a disk did not take a file. It tells so but once: the file's block has no
            receipt any more.
        """

    @abstractmethod
    def _read(self, name: str) -> bytes | None: ...

    @abstractmethod
    def _write(self, name: str, content: bytes) -> None: ...

    @abstractmethod
    def _remove(self, name: str) -> None:
        """Whether it is there or not."""

    @abstractmethod
    def _done(self) -> Mapping[str, bytes]:
        """Content of the files below done/, by their names."""

    @abstractmethod
    def _signs(self, files: Sequence[str], *, patiently: bool = False) -> list[Any]:
        """What tells that files below `whole` are as they were, plain JSON; None where there is
        none.

        patiently: or where it cannot be read.
        """

    def begin(self) -> bool:
        """Whether what an earlier run left can be gone on with; if not, it is removed and nothing
        is there."""
        if self.is_begun():
            return True
        self.begin_anew()
        return False

    def is_begun(self) -> bool:
        """Whether an earlier run began by the same recipe."""
        return self.begun_from() == json.loads(self._plain())

    def begun_from(self) -> dict[str, Any]:
        """The recipe that is there; empty where there is none."""
        try:
            return json.loads(self._read(RECIPE) or b"{}")
        except ValueError:
            return {}

    def _plain(self) -> bytes:
        return json.dumps(self.recipe, default=str).encode()

    def record(
        self, number: int, files: Mapping[str, Any], counts: Mapping[str, int], *, notes: Any = None
    ) -> None:
        """Say that a block is done: these files, by their paths below `whole`, are written and
        closed.

        A system may hold them back until `finish`, for disks are slower than blocks. Should it
        never come to that, their signs tell.

        files: what tells that each is as it was written; whoever wrote it knows, see
        `size_and_crc`.
        notes: what `finish` must know of the block besides (plain JSON).

        Raises:
            StoreError: a file is missing, or of another size.
        """
        plain = {"files": dict(files), "counts": dict(counts), "notes": notes}
        self._write(_receipt(number), json.dumps(plain).encode())

    def receipts(self) -> dict[int, Receipt]:
        """What blocks recorded, by their numbers; their files are not looked at."""
        found = {}
        for name, content in sorted(self._done().items()):
            try:
                plain = json.loads(content)
                receipt = Receipt(
                    files=dict(plain["files"]), counts=plain["counts"], notes=plain["notes"]
                )
                found[int(name.removesuffix(".json"))] = receipt
            except (ValueError, KeyError, TypeError):
                continue  # torn: the block is done again
        return found

    def done(self) -> dict[int, Receipt]:
        """Those of the blocks whose files are as they were written."""
        found = self.receipts()
        names = [name for receipt in found.values() for name in receipt.files]
        now = dict(zip(names, self._signs(names, patiently=True), strict=True))
        return {
            number: receipt
            for number, receipt in found.items()
            if all(sign is not None and now[name] == sign for name, sign in receipt.files.items())
        }

    def keep_done(self) -> dict[int, Receipt]:
        """`done`, and no receipt of another block stays.

        A disk tells but once that it did not take a file. That file, written again, would be as an
        old receipt says, and pass for done, though the block never came to its own.
        """
        found = self.done()
        for number in self.receipts().keys() - found.keys():
            self._remove(_receipt(number))
        return found


@dataclass(frozen=True)
class FolderPieces(Pieces[Path]):
    """A folder on its way: it lies beside its place, which it gets by a rename."""

    sync_blocks: bool = False
    """Have a block on disk when it is recorded: where another machine may finish, that cannot bring
    there what this one holds back."""

    def record(
        self, number: int, files: Mapping[str, Any], counts: Mapping[str, int], *, notes: Any = None
    ) -> None:
        for name, (size, _) in files.items():
            path = self.whole / name
            if not path.exists() or path.stat().st_size != size:
                raise StoreError(
                    f"{self.whole}: {name}: block {number} did not write it; run again"
                )
            if self.sync_blocks:
                sync_file(path)
            leave_to_disk(path)
        super().record(number, files, counts, notes=notes)

    @property
    def partial(self) -> Path:
        # One name for every run, so that the next finds it; only the holder of the run's lock
        # writes here.
        return self.place.with_name(f".{self.place.name}.partial")

    @property
    def whole(self) -> Path:
        return self.partial / "whole"

    def begin_anew(self) -> None:
        if self.partial.exists():
            remove_folder(self.partial)
        (self.partial / DONE).mkdir(parents=True)
        self.whole.mkdir()
        self._write(
            RECIPE, self._plain()
        )  # last: a folder without it was cut off right here and is made again

    def finish(self) -> None:
        """Have all of the folder on disk and give it its name; one that has it already stays."""
        if self.whole.exists():  # else a kill came between the rename and the tidying
            remove_litter(self.whole)  # of workers that were killed in this run
            self._bring_to_disk()
            _sync_folder(self.whole)
            try:
                self.whole.rename(self.place)  # also over an empty folder
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # Another finish, of a run that was thought dead, came before.
            _sync_folder(self.place.parent)
        shutil.rmtree(self.partial, ignore_errors=True)

    def _bring_to_disk(self) -> None:
        try:
            sync_below(self.whole)
        except OSError as error:
            name = Path(error.filename).relative_to(self.whole).as_posix()
            for number, receipt in self.receipts().items():
                if name in receipt.files:
                    self._remove(_receipt(number))
            raise

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.partial / name).read_bytes()
        except OSError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        with atomic_file(self.partial / name, sync=name == RECIPE) as file:
            file.write_bytes(content)

    def _remove(self, name: str) -> None:
        (self.partial / name).unlink(missing_ok=True)

    def _done(self) -> dict[str, bytes]:
        names = [path.name for path in (self.partial / DONE).glob("[0-9]*.json")]
        return {name: self._read(f"{DONE}/{name}") or b"" for name in names}

    def _signs(self, files: Sequence[str], *, patiently: bool = False) -> list[Any]:
        signs: list[Any] = []
        for name in files:
            try:
                signs.append(_sign_of(self.whole / name))
            except OSError as error:
                if not patiently and not isinstance(error, FileNotFoundError):
                    raise
                signs.append(None)
        return signs


def _receipt(number: int) -> str:
    return f"{DONE}/{number:06d}.json"


def size_and_crc(parts: Iterable[bytes]) -> list[int]:
    """The sign of a file in a folder: size (bytes) and CRC-32C of its parts, one after the
    other."""
    crc = size = 0
    for part in parts:
        crc, size = google_crc32c.extend(crc, part), size + len(part)
    return [size, crc]


def _sign_of(path: Path) -> list[int]:
    with path.open("rb") as file:
        return size_and_crc(iter(lambda: file.read(CHUNK), b""))


def _sync_folder(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        pass  # some network file systems cannot
    finally:
        os.close(number)
