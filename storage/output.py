"""One output of a stage: present, whole, ours, made by the same recipe? And how it is made.

NAME/…                  the output, with its recipe in recipe.json or in the attributes of zarr.json
.NAME.partial/…         while it is made block by block, see `partial_output`
.NAME.previous/…        the output that a changed recipe replaces, until the new one is whole
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .atomic import (
    atomic_folder,
    hidden_folder,
    remove_folder,
    remove_litter,
    restore_folder,
    sync_below,
)
from .errors import SettingsError, StoreError
from .files import copy_files, delete_file, delete_files, list_files, read_file, write_file
from .location import Location, join_location
from .partial_output import (
    RECIPE,
    BucketPartial,
    FolderPartial,
    PartialOutput,
    hidden_location,
)
from .recipe import ExtentChange, Recipe

__all__ = ["GROUP", "PREVIOUS", "Output", "OutputState", "group_json"]

logger = logging.getLogger(__name__)

GROUP = "zarr.json"
PREVIOUS = ".previous"

OutputStatus = Literal["absent", "begun", "unchanged", "changed", "foreign"]


@dataclass(frozen=True, kw_only=True)
class OutputState:
    """State of an output against the recipe asked for."""

    status: OutputStatus
    """absent: nothing is there; begun: a partial output by this recipe; unchanged: whole, by this
    recipe; changed: ours, but by another recipe or damaged; foreign: something that is not ours."""
    differences: tuple[str, ...] = ()
    """Changes from the recipe found to the one asked for, as text."""
    made: Recipe | None = None
    """The recipe found."""
    extent_change: ExtentChange = "same"
    """Extent asked for against the extent made; an unchanged output may have another extent."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON that the stage saved with the recipe."""

    @property
    def is_unchanged(self) -> bool:
        return self.status == "unchanged"


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of a stage, in a folder or a bucket, and the recipe asked for."""

    location: Location
    recipe: Recipe
    recipe_file: str = RECIPE
    """"recipe.json", or "zarr.json" for an output that is a Zarr group and keeps its recipe among
    the group's attributes."""
    files: tuple[str, ...] = ()
    """Files without which the output is damaged, and made again."""
    shares_folder: bool = False
    """The folder holds other things too: the output is only its recipe file and `files`. They are
    replaced one by one, and without a recipe file meanwhile they are no output. Never in blocks or
    in a bucket."""
    layout: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON besides the recipe that decides what a block holds, such as its size; a partial
    output of another layout is started again."""

    def state(self) -> OutputState:
        """Look up the state; bring back an output that an interrupted replacement moved aside.

        Raises:
            StoreError: the recipe file is damaged, or the location does not answer.
        """
        content = read_file(self.location, self.recipe_file) or self._restore()
        if content is None:
            if self._holds_anything():
                return OutputState(status="foreign")
            return OutputState(status="begun" if self.partial().is_begun() else "absent")
        made, attributes = self._parse(content)
        if made is None or made.stage != self.recipe.stage:
            return OutputState(status="foreign", made=made)
        missing = [f"{name}: missing" for name in self.files if not self._has(name)]
        differences = (*made.differences(self.recipe), *missing)
        return OutputState(
            status="changed" if differences else "unchanged",
            differences=differences,
            made=made,
            extent_change=made.extent_change(self.recipe),
            attributes=attributes,
        )

    def refuse_foreign(self) -> None:
        """Pass unless something is at the location that is not an output of this stage.

        Raises:
            SettingsError: it is.
        """
        if self.state().status == "foreign":
            raise self.foreign()

    def foreign(self) -> SettingsError:
        return SettingsError(
            f"{self.location}: exists already and was not made by the stage {self.recipe.stage}, "
            "so it is left as it is; give the name of a new folder"
        )

    def partial(self, *, sync_blocks: bool = False) -> PartialOutput:
        """The partial output, begun or not. sync_blocks: see `FolderPartial`."""
        begun_by = {**self.recipe.to_json(), "layout": dict(self.layout)}
        if isinstance(self.location, Path):
            return FolderPartial(self.location, begun_by, self.recipe_file, sync_blocks=sync_blocks)
        return BucketPartial(self.location, begun_by, self.recipe_file)

    def commit(self, partial: PartialOutput, attributes: Mapping[str, Any]) -> None:
        """Make a partial output whole, with the recipe and attributes (plain JSON); remove the
        output that it replaces.

        Raises:
            OSError: see `PartialOutput.commit`.
        """
        partial.commit(self._content(attributes))
        self.clean_up()

    def clean_up(self) -> None:
        """Remove what is hidden beside a whole output: its records and the output it replaced."""
        self.partial().clean_up()
        delete_files(self._previous)

    @contextmanager
    def write(self, attributes: Mapping[str, Any] | None = None) -> Iterator[Location]:
        """Yield an empty location to fill at once; on success it becomes the output, with its
        recipe and the attributes as they are then. An error leaves the earlier output, in a bucket
        nothing.

        Raises:
            SettingsError: something that is not ours is there.
        """
        self.refuse_foreign()
        if self.shares_folder:
            with self._write_shared(attributes) as folder:
                yield folder
        elif isinstance(self.location, Path):
            with atomic_folder(self.location, known_by=self.recipe_file) as folder:
                yield folder
                write_file(folder, self.recipe_file, self._content(attributes or {}))
                sync_below(folder)
        else:
            partial = self.partial()
            partial.begin()
            yield partial.whole
            self.commit(partial, attributes or {})

    @contextmanager
    def _write_shared(self, attributes: Mapping[str, Any] | None) -> Iterator[Path]:
        target = Path(self.location)
        remove_litter(target)  # of a killed attempt
        with hidden_folder(target / self.recipe_file) as folder:
            yield folder
            sync_below(folder)
            delete_file(target, self.recipe_file)
            for name in self.files:
                (folder / name).replace(target / name)
            write_file(target, self.recipe_file, self._content(attributes or {}))

    def set_aside(self) -> Location:
        """Move the output to a hidden name, until its replacement is whole; return that location.

        Nobody then takes it for the output asked for, and `state` brings it back if its recipe is
        asked for again. In a bucket every file is copied.
        """
        delete_files(self._previous)  # beside a whole output it is obsolete
        self._move(self.location, self._previous)
        return self._previous

    def remove(self) -> None:
        """Remove the output: as others see it, it is whole or gone."""
        if self.shares_folder:
            for name in (self.recipe_file, *self.files):  # the recipe first
                (Path(self.location) / name).unlink(missing_ok=True)
        elif isinstance(self.location, Path):
            remove_folder(self.location)
        else:
            self.partial().discard()

    @property
    def _previous(self) -> Location:
        return hidden_location(self.location, PREVIOUS)

    def _restore(self) -> bytes | None:
        """Bring back an output that was moved aside; return its recipe file."""
        if isinstance(self.location, Path):
            restore_folder(self.location)
            found = read_file(self.location, self.recipe_file)
            if found is not None:
                return found
        content = read_file(self._previous, self.recipe_file)
        made = self._parse(content)[0] if content is not None else None
        if made is None or made.differences(self.recipe):
            return None
        logger.info("%s: brought back from %s", self.location, self._previous)
        self._move(self._previous, self.location)
        return content

    def _move(self, source: Location, target: Location) -> None:
        if isinstance(source, Path) and isinstance(target, Path):
            source.rename(target)
            return
        delete_files(target)  # blocks of a replacement
        copy_files(source, target, last=self.recipe_file)
        delete_file(source, self.recipe_file)  # first: no reader meets half an output
        delete_files(source)

    def _has(self, name: str) -> bool:
        if isinstance(self.location, Path):
            path = self.location / name
            return path.is_dir() or (path.is_file() and path.stat().st_size > 0)
        return read_file(self.location, name) is not None

    def _holds_anything(self) -> bool:
        if self.shares_folder:
            return False
        if isinstance(self.location, Path):
            is_folder = self.location.is_dir()
            return any(self.location.iterdir()) if is_folder else self.location.exists()
        is_ours = any(
            read_file(folder, name) is not None
            for folder, name in (
                (self.partial().folder, RECIPE),
                (self._previous, self.recipe_file),
            )
        )
        return not is_ours and bool(list_files(self.location))

    def _content(self, attributes: Mapping[str, Any]) -> bytes:
        recipe = self.recipe.to_json()
        if self.recipe_file == GROUP:
            return group_json({"recipe": recipe, **attributes})
        extra = {"attributes": dict(attributes)} if attributes else {}
        return json.dumps({**recipe, **extra}, indent=1, ensure_ascii=False).encode()

    def _parse(self, content: bytes) -> tuple[Recipe | None, Mapping[str, Any]]:
        """Recipe and attributes; no recipe in a Zarr group that is not ours."""
        path = join_location(self.location, self.recipe_file)
        try:
            plain = json.loads(content.decode("utf-8"))
            if self.recipe_file != GROUP:
                return Recipe.from_json(plain), plain.get("attributes", {})
            attributes = dict(plain["attributes"])
            found = attributes.get("recipe")
            return (Recipe.from_json(found) if isinstance(found, dict) else None), attributes
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path}: damaged ({error!r}); remove {self.location} and run again"
            ) from error


def group_json(attributes: Mapping[str, Any]) -> bytes:
    """Return the zarr.json of a Zarr v3 group."""
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(metadata, indent=1, ensure_ascii=False).encode()
