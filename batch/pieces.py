"""A folder made piece by piece, by one process or many, over one run or several: beside its place until it is whole.

.NAME.partial/recipe.json      what is being made
.NAME.partial/whole/           the folder to be
.NAME.partial/done/000012.json what block 12 wrote: sizes and checksums, written after it
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..wsi import StoreError, remove_folder, whole_file

__all__ = ["Pieces"]

CHUNK = 2**22


@dataclass(frozen=True)
class Pieces:
    """The folder `folder` on its way, made from `recipe` (plain JSON). Cheap to make anew in every task."""

    folder: Path
    recipe: Mapping[str, Any]

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
        wanted = json.loads(json.dumps(self.recipe, default=str))
        try:
            if json.loads((self.partial / "recipe.json").read_text(encoding="utf-8")) == wanted:
                return True
        except (OSError, ValueError):
            pass
        if self.partial.exists():
            remove_folder(self.partial)
        (self.partial / "done").mkdir(parents=True)
        self.whole.mkdir()
        # Last: a folder without it was cut off right here and is made again.
        with whole_file(self.partial / "recipe.json") as file:
            file.write_text(json.dumps(wanted), encoding="utf-8")
        return False

    def record(self, number: int, files: Iterable[Path], counts: Mapping[str, int]) -> None:
        """Say that a block is done: these files (below `whole`) are written and closed. They are on disk afterwards.

        Raises:
            StoreError: a file is missing.
        """
        written = {}
        for path in files:
            try:
                written[path.relative_to(self.whole).as_posix()] = _size_and_crc(path, sync=True)
            except FileNotFoundError as error:
                raise StoreError(f"{path}: block {number} did not write it; run again") from error
        with whole_file(self._receipt(number)) as file:
            file.write_text(json.dumps({"files": written, "counts": dict(counts)}), encoding="utf-8")

    def done(self) -> dict[int, dict[str, int]]:
        """The blocks whose files are as they were written, each byte of them, and what they hold: {12: counts}."""
        found = {}
        for path in sorted((self.partial / "done").glob("[0-9]*.json")):
            try:
                receipt = json.loads(path.read_text(encoding="utf-8"))
                sound = all(
                    _size_and_crc(self.whole / name) == tuple(written) for name, written in receipt["files"].items()
                )
                if sound:
                    found[int(path.stem)] = receipt["counts"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def is_done(self, number: int) -> bool:
        """Whether a block was recorded; its files are not looked at."""
        return self._receipt(number).is_file()

    def finish(self) -> None:
        """Give the folder its name; one that is there already is replaced."""
        if self.whole.exists():  # else a kill came between the rename and the tidying
            if self.folder.exists():
                remove_folder(self.folder)
            _sync_folder(self.whole)
            self.whole.rename(self.folder)
            _sync_folder(self.folder.parent)
        shutil.rmtree(self.partial, ignore_errors=True)

    def _receipt(self, number: int) -> Path:
        return self.partial / "done" / f"{number:06d}.json"


def _size_and_crc(path: Path, *, sync: bool = False) -> tuple[int, int]:
    crc = size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        if sync:
            os.fsync(file.fileno())
    return size, crc


def _sync_folder(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        pass  # some network file systems cannot
    finally:
        os.close(number)
