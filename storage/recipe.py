"""Recipe of an output: stage, settings and identity of every input. Resume compares recipes."""

import json
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from .atomic import atomic_file
from .errors import StoreError
from .location import ZARR_METADATA, Location, remote_identity

__all__ = ["ExtentChange", "Recipe", "file_identity", "gigaslide_version"]


@cache
def gigaslide_version() -> str:
    """The installed version of gigaslide, or "unknown" in a bare checkout."""
    try:
        return version("gigaslide")
    except PackageNotFoundError:
        return "unknown"


def file_identity(location: Location) -> dict[str, Any]:
    """Name, size and time of last change (UTC) of a file: cheap on a slide of 4 GB, and changed
    when it is replaced.

    For a URL the service's own mark of change (an ETag), for a Zarr folder its metadata's size and
    time.
    """
    if isinstance(location, str):
        return remote_identity(location)
    stat = next(filter(Path.is_file, (location / name for name in ZARR_METADATA)), location).stat()
    modified = datetime.fromtimestamp(stat.st_mtime_ns / 1e9, UTC).isoformat(
        timespec="microseconds"
    )
    return {"name": location.name, "bytes": stat.st_size, "modified": modified}


ExtentChange = Literal["same", "larger", "smaller", "mixed"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe of an output: its identity decides the result, its extent the amount.

    Resume compares identities: another `stage`, `settings` or `inputs` makes another output.
    Another `extent` (training examples, validation interval) continues the same one. `made_with` is
    a record only. All parts are plain JSON.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, Any]
    extent: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, str] = field(default_factory=lambda: {"gigaslide": gigaslide_version()})

    def differences(self, other: "Recipe") -> list[str]:
        """Differences in identity, as text: ["settings.stride_px: 128 → 64"]; [] if there are none.

        A setting that either recipe lists in its extent is not compared, so that an output made
        before that setting became part of the extent is still recognised.
        """
        names = self.extent.keys() | other.extent.keys()
        return _differences(_identity(self, without=names), _identity(other, without=names))

    def extent_change(self, other: "Recipe") -> ExtentChange:
        """Compare the other recipe's extent with this one.

        Returns "same"; "larger" or "smaller" if all values that differ are numbers that grew or
        shrank; else "mixed".
        """
        mine, theirs = _extents(self, other)
        changed = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        if not changed:
            return "same"
        if all(_is_larger(theirs.get(name), mine.get(name)) for name in changed):
            return "larger"
        if all(_is_larger(mine.get(name), theirs.get(name)) for name in changed):
            return "smaller"
        return "mixed"

    def to_json(self) -> dict[str, Any]:
        # Without an empty extent: the files of stages that have none stay as they were.
        extent = {"extent": _plain(self.extent)} if self.extent else {}
        return {**_identity(self), **extent, "made_with": self.made_with}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Recipe":
        parts = {name: plain[name] for name in ("stage", "settings", "inputs", "made_with")}
        return cls(**parts, extent=plain.get("extent", {}))

    def save(self, path: Path) -> None:
        with atomic_file(path) as partial:
            partial.write_text(
                json.dumps(self.to_json(), indent=1, ensure_ascii=False), encoding="utf-8"
            )

    @classmethod
    def load(cls, path: Path) -> "Recipe | None":
        """Load the recipe at path; None if there is no file.

        Raises:
            StoreError: the file is not a recipe.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path}: not a recipe ({error}); remove its folder and run the stage again"
            ) from error


def _identity(recipe: Recipe, *, without: Set[str] = frozenset()) -> dict[str, Any]:
    settings = {name: value for name, value in recipe.settings.items() if name not in without}
    return _plain({"stage": recipe.stage, "settings": settings, "inputs": recipe.inputs})


def _extents(mine: Recipe, theirs: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both extents; a value that one recipe lists among its settings is taken from there."""
    names = mine.extent.keys() | theirs.extent.keys()
    first, second = (
        {name: value for name, value in (one.settings | one.extent).items() if name in names}
        for one in (mine, theirs)
    )
    return _plain(first), _plain(second)


def _is_larger(value: Any, other: Any) -> bool:
    return isinstance(value, int | float) and isinstance(other, int | float) and value > other


def _differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    first, second, missing = _flat(mine), _flat(theirs), "(none)"
    return [
        f"{key}: {first.get(key, missing)} → {second.get(key, missing)}"
        for key in sorted(first.keys() | second.keys())
        if first.get(key, missing) != second.get(key, missing)
    ]


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value, default=str))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and (value or not prefix):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()
        }
    return {prefix.rstrip("."): value}
