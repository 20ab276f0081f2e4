"""Hidden files beside outputs that a killed run left."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from .atomic import PARTIAL, remove_litter
from .files import delete_files, list_files, read_file
from .location import Location, join_location
from .output import GROUP, PREVIOUS
from .partial_output import RECIPE, WHOLE

__all__ = ["remove_leftovers"]

logger = logging.getLogger(__name__)


def remove_leftovers(location: Location, *, recipe_files: Sequence[str] = (RECIPE, GROUP)) -> None:
    """Remove what killed writers left below a location of outputs. Only the holder of its lock may.

    Begun outputs stay, because a run continues them, and so do previous outputs whose replacement
    is not whole. Finished outputs are not searched, because they are many files.
    """
    is_folder = isinstance(location, Path)
    hidden = _hidden_in_folder(location) if is_folder else _hidden_in_bucket(location)
    for left, output, is_begun in hidden:
        if not is_begun or any(read_file(output, name) is not None for name in recipe_files):
            logger.info("%s: left by a killed run, removed", left)
            delete_files(left)
        elif isinstance(left, Path) and left.name.endswith(PARTIAL):
            remove_litter(left)


def _hidden_in_folder(folder: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Yield what lies hidden beside outputs, its output, and whether that was begun."""
    for suffix in (PARTIAL, PREVIOUS):
        for left in [*folder.glob(f".*{suffix}"), *folder.glob(f"[!.]*/.*{suffix}")]:
            output = left.with_name(left.name[1:].removesuffix(suffix))
            yield left, output, suffix == PREVIOUS or (left / WHOLE).is_dir()


def _hidden_in_bucket(location: str) -> Iterator[tuple[Location, Location, bool]]:
    names = list_files(location, prefix=".")
    for suffix in (PARTIAL, PREVIOUS):
        for hidden in sorted({name.split("/")[0] for name in names if f"{suffix}/" in name}):
            output = join_location(location, hidden[1:].removesuffix(suffix))
            is_begun = suffix == PREVIOUS or f"{hidden}/{RECIPE}" in names
            yield join_location(location, hidden), output, is_begun
