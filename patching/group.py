"""How a slide's group becomes whole or is removed, in a folder and in a bucket.

In a folder a group appears by a rename. A bucket has none: there its files lie where they stay, and
a group is whole once its zarr.json stands, which is written last. Until then
.NAME.partial/recipe.json beside it tells that what lies there is ours to replace.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..batch import DONE, RECIPE, FolderPieces, Pieces
from ..storage import (
    PARTIAL,
    Location,
    SettingsError,
    atomic_folder,
    refuse_foreign_folder,
    remove_folder,
    restore_folder,
    sync_below,
)
from .place import (
    below,
    delete_all,
    delete_file,
    exists_at,
    names_in,
    read_files,
    signs_of,
    write_file,
)

__all__ = [
    "BucketPieces",
    "pieces_at",
    "refuse_foreign",
    "remove_group",
    "remove_leftovers",
    "whole_group",
]

logger = logging.getLogger(__name__)

METADATA = "zarr.json"


class BucketPieces(Pieces[str]):
    """A group in a bucket on its way.

    An object is whole or absent, and is not acknowledged before it stays. So a block is done if its
    receipt stands and the objects it names have the generation that they had then: one request for
    each, and no content is read.
    """

    @property
    def partial(self) -> str:
        store, _, name = self.place.rpartition("/")
        return f"{store}/.{name}{PARTIAL}"

    @property
    def whole(self) -> str:
        return self.place

    def begin_anew(self) -> None:
        self.clear()
        self._write(RECIPE, self._plain())

    def clear(self) -> None:
        """Remove the group, whole or not; a recipe of nothing stays, which tells that what a kill
        leaves is ours."""
        self._write(RECIPE, b"{}")
        delete_file(self.place, METADATA)  # first: no reader meets half a group
        delete_all(self.place)
        delete_all(self.partial, but=RECIPE)

    def finish(self) -> None:
        """The group is whole, or gone."""
        delete_all(self.partial)

    def _read(self, name: str) -> bytes | None:
        return read_files(self.partial, [name])[0]

    def _write(self, name: str, content: bytes) -> None:
        write_file(self.partial, name, content)

    def _remove(self, name: str) -> None:
        delete_file(self.partial, name)

    def _done(self) -> Mapping[str, bytes]:
        place = below(self.partial, DONE)
        names = names_in(place)
        return {
            name: content
            for name, content in zip(names, read_files(place, names), strict=True)
            if content
        }

    def _signs(self, files: Sequence[str], *, patiently: bool = False) -> list[Any]:
        return list(signs_of(self.whole, files))


def pieces_at(
    place: Location, recipe: Mapping[str, Any] | None = None, *, sync_blocks: bool = False
) -> Pieces[Any]:
    """A group on its way. Only those who begin need the recipe; sync_blocks is what `FolderPieces`
    says."""
    if isinstance(place, Path):
        return FolderPieces(place, recipe or {}, sync_blocks=sync_blocks)
    return BucketPieces(place, recipe or {})


def refuse_foreign(place: Location) -> None:
    """Pass if a group may be written here: nothing there, or a group; brings back what a kill had
    moved aside.

    Raises:
        SettingsError: something else is there.
    """
    if isinstance(place, Path):
        restore_folder(place)
        refuse_foreign_folder(place, known_by=METADATA)
    elif (
        not exists_at(place, METADATA)
        and not exists_at(BucketPieces(place).partial, RECIPE)
        and names_in(place)
    ):
        raise SettingsError(
            f"{place}: holds something that is no group of ours; give another place"
        )


@contextmanager
def whole_group(place: Location) -> Iterator[Location]:
    """Give an empty place to write a group to, its zarr.json last; it becomes `place`, or leaves no
    group there.

    Raises:
        SettingsError: something else is there.
    """
    refuse_foreign(place)
    if isinstance(place, Path):
        with atomic_folder(place, known_by=METADATA) as partial:
            yield partial
            sync_below(partial)
        return
    pieces = BucketPieces(place)
    pieces.begin_anew()
    yield place
    pieces.finish()


def remove_group(place: Location) -> None:
    """Remove a group: whole or gone."""
    if isinstance(place, Path):
        remove_folder(place)
        return
    pieces = BucketPieces(place)
    pieces.clear()
    pieces.finish()


def remove_leftovers(store: str) -> None:
    """Remove what kills left beside groups of a bucket that are whole or gone; the run's lock is
    held.

    Slides half made stay, for they are gone on with.
    """
    left = {name.split("/")[0] for name in names_in(store, prefix=".") if f"{PARTIAL}/" in name}
    for hidden in sorted(left):
        pieces = BucketPieces(
            f"{store.rstrip('/')}/{hidden.removeprefix('.').removesuffix(PARTIAL)}"
        )
        if exists_at(pieces.place, METADATA) or not exists_at(pieces.partial, RECIPE):
            logger.info("%s: left by a killed run, removed", pieces.partial)
            pieces.finish()
