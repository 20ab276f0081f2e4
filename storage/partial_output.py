"""An output made block by block, by one process or many, over one run or several.

.NAME.partial/recipe.json      recipe and layout by which it was begun
.NAME.partial/plan.json        the plan of its blocks, and what else blocks need
.NAME.partial/whole/           the output to be; in a bucket its files lie at NAME from the start
.NAME.partial/done/000012.json record of block 12, written after its files
"""

import errno
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .atomic import (
    PARTIAL,
    remove_litter,
    start_writeback,
    sync_below,
    sync_file,
    sync_folder,
)
from .errors import StoreError
from .files import (
    Checksum,
    checksum_files,
    delete_file,
    delete_files,
    list_files,
    read_file,
    read_files,
    write_file,
)
from .location import Location, join_location

__all__ = [
    "RECIPE",
    "BlockRecord",
    "BucketPartial",
    "FolderPartial",
    "PartialOutput",
    "hidden_location",
]

RECIPE, PLAN, DONE, WHOLE = "recipe.json", "plan.json", "done", "whole"


def hidden_location(location: Location, suffix: str) -> Location:
    """Location beside another, with a leading dot that hides it: .NAME.suffix"""
    if isinstance(location, Path):
        return location.with_name(f".{location.name}{suffix}")
    parent, _, name = location.rpartition("/")
    return f"{parent}/.{name}{suffix}"


@dataclass(frozen=True, kw_only=True)
class BlockRecord:
    """Files, counts and notes of one finished block."""

    files: Mapping[str, Checksum] = field(default_factory=dict)
    """Checksum of each file as it was written, by its path below the output."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Numbers of what the block made: {"tumor": 119}."""
    notes: Any = None
    """Plain JSON that assembling the output needs."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Parts of the time that the block took, by name: {"network": 3.2}; the rest has no name."""


@dataclass(frozen=True)
class PartialOutput(ABC):
    """The unfinished output of one location. Cheap to create again in every task."""

    location: Any
    """Path of the output, or its URL."""
    begun_by: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON that decides every block: recipe and layout. Needed by `begin` and `is_begun`."""
    recipe_file: str = RECIPE
    """File of the output that holds its recipe; with it the output is whole."""

    @property
    def folder(self) -> Any:
        """Location of the records, the plan and other files that are kept until the commit."""
        # One name for every run, so that the next run finds it; only the holder of the run's lock
        # begins one.
        return hidden_location(self.location, PARTIAL)

    @property
    @abstractmethod
    def whole(self) -> Any:
        """Location to which blocks write their files."""

    @abstractmethod
    def _clear(self) -> None:
        """Remove what is there; afterwards nothing is begun."""

    @abstractmethod
    def commit(self, recipe: bytes) -> None:
        """Write the recipe file and make the output whole; `clean_up` then removes the rest.

        May be called again after an interruption anywhere, also by two processes at once.

        Raises:
            OSError: the disk did not take a file. The system reports that once only, so the record
                of the file's block is removed: the block must be done again.
        """

    def discard(self) -> None:
        """Remove the partial output with all its blocks."""
        self._clear()
        self.clean_up()

    def clean_up(self) -> None:
        """Remove records and plan, once the output is whole."""
        delete_file(self.folder, RECIPE)  # first: nothing continues what a kill leaves
        delete_files(self.folder)

    def begin(self) -> None:
        """Remove what is there and begin with no blocks."""
        self._clear()
        begun = {**self.begun_by, "begun": uuid.uuid4().hex}
        # Last: without it nothing is begun, and an interrupted beginning is repeated.
        write_file(self.folder, RECIPE, json.dumps(begun, default=str).encode())

    def begun(self) -> bytes:
        """Content that `begin` wrote, different each time; empty if nothing is begun."""
        return read_file(self.folder, RECIPE) or b""

    def is_begun(self) -> bool:
        """True if an earlier run began it by the same recipe and layout."""
        asked = json.loads(json.dumps(dict(self.begun_by), default=str))
        try:
            found = json.loads(self.begun() or b"{}")
        except ValueError:
            return False
        return found == {**asked, "begun": found.get("begun")}

    def save_plan(self, plan: Mapping[str, Any]) -> None:
        """Keep plain JSON that all blocks share."""
        write_file(self.folder, PLAN, json.dumps(plan).encode())

    def load_plan(self) -> dict[str, Any] | None:
        """Return the saved plan; None if there is none."""
        try:
            return json.loads(read_file(self.folder, PLAN) or b"null")
        except ValueError:
            return None

    def save_record(self, number: int, record: BlockRecord) -> None:
        """Record a block as done; its files are written and closed.

        The system may hold the files back until `commit`, because disks are slower than blocks. If
        they never reach the disk, their checksums do not match.

        Raises:
            StoreError: a file is missing, or has another size.
        """
        content = json.dumps(asdict(record)).encode()
        write_file(self.folder, _record_name(number), content, sync=False)

    def records(self) -> dict[int, BlockRecord]:
        """Records of finished blocks by number. Their files are not checked."""
        found = {}
        folder = join_location(self.folder, DONE)
        names = sorted(list_files(folder))
        for name, content in zip(names, read_files(folder, names), strict=True):
            try:
                found[int(name.removesuffix(".json"))] = BlockRecord(**json.loads(content or b""))
            except (ValueError, TypeError):
                continue  # torn: the block is done again
        return found

    def check_records(self) -> dict[int, BlockRecord]:
        """Records of the blocks whose files are as they were written; other records are removed.

        A disk reports a lost write once only. That file, written again, would agree with an old
        record although the rest of its block is lost, so no such record stays.
        """
        found = self.records()
        names = [name for record in found.values() for name in record.files]
        now = dict(zip(names, checksum_files(self.whole, names), strict=True))
        good = {
            number: record
            for number, record in found.items()
            if all(
                now[name] is not None and now[name] == sum_ for name, sum_ in record.files.items()
            )
        }
        for number in found.keys() - good.keys():
            delete_file(self.folder, _record_name(number))
        return good


@dataclass(frozen=True)
class FolderPartial(PartialOutput):
    """Partial output in a folder beside the output's location, to which `commit` renames it."""

    sync_blocks: bool = False
    """Have a block on disk before it is recorded: needed where another machine may commit, which
    cannot write out what this one holds back."""

    @property
    def whole(self) -> Path:
        return self.folder / WHOLE

    def _clear(self) -> None:
        self.clean_up()
        self.whole.mkdir(parents=True)

    def save_record(self, number: int, record: BlockRecord) -> None:
        for name, (size, _) in record.files.items():
            path = self.whole / name
            if not path.exists() or path.stat().st_size != size:
                raise StoreError(f"{path}: block {number} did not write it whole; run again")
            if self.sync_blocks:
                sync_file(path)
            start_writeback(path)
        super().save_record(number, record)

    def commit(self, recipe: bytes) -> None:
        if self.whole.exists():  # else an interrupted attempt has renamed it
            write_file(self.whole, self.recipe_file, recipe)
            remove_litter(self.whole)  # of workers killed in this run
            self._bring_to_disk()
            sync_folder(self.whole)
            try:
                self.whole.rename(self.location)  # also over an empty folder
            except OSError as error:
                is_there = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
                if not (is_there and (self.location / self.recipe_file).is_file()):
                    raise
                # Another process, of a run that was taken for dead, committed first.
            sync_folder(self.location.parent)

    def _bring_to_disk(self) -> None:
        try:
            sync_below(self.whole)
        except OSError as error:
            name = Path(error.filename).relative_to(self.whole).as_posix()
            for number, record in self.records().items():
                if name in record.files:
                    delete_file(self.folder, _record_name(number))
            raise


class BucketPartial(PartialOutput):
    """Partial output in a bucket, which cannot rename: its files lie at the output's location from
    the start, and the output is whole once its recipe file is there.

    An object is whole or absent, and is acknowledged only when it is durable. So a block is done if
    the objects in its record still have their generations: one request for each, without content.
    """

    @property
    def whole(self) -> str:
        return self.location

    def _clear(self) -> None:
        write_file(self.folder, RECIPE, b"{}")  # marks as ours what a kill leaves
        delete_file(self.location, self.recipe_file)  # first: no reader meets half an output
        delete_files(self.location)
        self.clean_up()

    def commit(self, recipe: bytes) -> None:
        write_file(self.location, self.recipe_file, recipe)


def _record_name(number: int) -> str:
    return f"{DONE}/{number:06d}.json"
