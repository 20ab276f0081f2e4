"""A folder made piece by piece, by one process or many, over one run or several: beside its place until it is whole.

.NAME.partial/recipe.json      what is being made
.NAME.partial/whole/           the folder to be
.NAME.partial/done/000012.json what block 12 wrote: sizes and checksums, written after it
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c

from ..wsi import StoreError, remove_folder, whole_file
from ..wsi.outputs import remove_litter, sync_file

__all__ = ["Pieces", "Receipt"]

CHUNK = 2**22


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one block wrote."""

    files: dict[str, tuple[int, int]]
    """Size and CRC-32C, by the path below the folder."""
    counts: dict[str, int]
    notes: Any = None


@dataclass(frozen=True)
class Pieces:
    """The folder `folder` on its way. Cheap to make anew in every task; only those who begin need the recipe."""

    folder: Path
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What it is made from, plain JSON."""

    @cached_property
    def partial(self) -> Path:
        # One name for every run, so that the next finds it; only the holder of the run's lock writes here.
        return self.folder.with_name(f".{self.folder.name}.partial")

    @property
    def whole(self) -> Path:
        """Where blocks write their files."""
        return self.partial / "whole"

    def begin(self) -> bool:
        """Whether what an earlier run left can be gone on with; if not, it is removed and an empty folder is there."""
        if self.is_begun():
            return True
        self.begin_anew()
        return False

    def is_begun(self) -> bool:
        """Whether an earlier run began by the same recipe."""
        return self.begun_from() == self._plain()

    def begun_from(self) -> dict[str, Any]:
        """The recipe on disk; empty where there is none."""
        try:
            return json.loads((self.partial / "recipe.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def begin_anew(self) -> None:
        """Remove what is there and make an empty folder."""
        if self.partial.exists():
            remove_folder(self.partial)
        (self.partial / "done").mkdir(parents=True)
        self.whole.mkdir()
        # Last: a folder without it was cut off right here and is made again.
        with whole_file(self.partial / "recipe.json") as file:
            file.write_text(json.dumps(self._plain()), encoding="utf-8")

    def _plain(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.recipe, default=str))

    def record(self, number: int, files: Iterable[Path], counts: Mapping[str, int], *, notes: Any = None) -> None:
        """Say that a block is done: these files (below `whole`) are written and closed.

        The system may hold them back until `finish`, for disks are slower than blocks. Should it never come to that,
        their checksums tell.

        notes: what `finish` must know of the block besides (plain JSON).

        Raises:
            StoreError: a file is missing.
        """
        written = {}
        for path in files:
            try:
                written[path.relative_to(self.whole).as_posix()] = _size_and_crc(path)
            except FileNotFoundError as error:
                raise StoreError(f"{path}: block {number} did not write it; run again") from error
        with whole_file(self._receipt(number), sync=False) as file:
            file.write_text(json.dumps({"files": written, "counts": dict(counts), "notes": notes}), encoding="utf-8")

    def receipts(self) -> dict[int, "Receipt"]:
        """What blocks recorded, by their numbers; their files are not looked at."""
        found = {}
        for path in sorted((self.partial / "done").glob("[0-9]*.json")):
            try:
                plain = json.loads(path.read_text(encoding="utf-8"))
                files = {name: (size, crc) for name, (size, crc) in plain["files"].items()}
                found[int(path.stem)] = Receipt(files=files, counts=plain["counts"], notes=plain["notes"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # torn: the block is done again
        return found

    def done(self) -> dict[int, "Receipt"]:
        """Those of the blocks whose files are as they were written, each byte of them."""
        return {number: receipt for number, receipt in self.receipts().items() if self._is_sound(receipt)}

    def _is_sound(self, receipt: "Receipt") -> bool:
        try:
            return all(_size_and_crc(self.whole / name) == written for name, written in receipt.files.items())
        except OSError:
            return False

    def finish(self) -> None:
        """Have all of the folder on disk and give it its name; one that is there already is replaced.

        Raises:
            OSError: the disk did not take a file. It tells so but once: the file's block has no receipt any more.
        """
        if self.whole.exists():  # else a kill came between the rename and the tidying
            remove_litter(self.whole)  # of workers that were killed in this run
            self._bring_to_disk()
            if self.folder.exists():
                remove_folder(self.folder)
            _sync_folder(self.whole)
            self.whole.rename(self.folder)
            _sync_folder(self.folder.parent)
        shutil.rmtree(self.partial, ignore_errors=True)

    def _bring_to_disk(self) -> None:
        for path in self.whole.rglob("*"):
            if path.is_dir():
                continue
            try:
                sync_file(path)
            except OSError:
                name = path.relative_to(self.whole).as_posix()
                for number, receipt in self.receipts().items():
                    if name in receipt.files:
                        self._receipt(number).unlink()
                raise

    def _receipt(self, number: int) -> Path:
        return self.partial / "done" / f"{number:06d}.json"


def _size_and_crc(path: Path) -> tuple[int, int]:
    crc = size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc, size = google_crc32c.extend(crc, chunk), size + len(chunk)
    return size, crc


def _sync_folder(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        pass  # some network file systems cannot
    finally:
        os.close(number)
