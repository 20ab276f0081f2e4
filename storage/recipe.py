"""What an output was made from: stage, settings, identity of every input. Resume compares this,
never existence."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import StoreError
from .location import ZARR_METADATA, Location, remote_identity
from .outputs import atomic_file

__all__ = ["Recipe", "file_identity", "gigaslide_version"]


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

    Of a URL the service's own sign of change (an ETag), of a Zarr folder its metadata's size and
    time.
    """
    if isinstance(location, str):
        return remote_identity(location)
    stat = next(filter(Path.is_file, (location / name for name in ZARR_METADATA)), location).stat()
    modified = datetime.fromtimestamp(stat.st_mtime_ns / 1e9, UTC).isoformat(
        timespec="microseconds"
    )
    return {"name": location.name, "bytes": stat.st_size, "modified": modified}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one output was made. `settings` and `inputs` are plain JSON; `made_with` is recorded but
    not compared."""

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, Any]
    made_with: dict[str, str] = field(default_factory=lambda: {"gigaslide": gigaslide_version()})

    def differences(self, other: "Recipe") -> list[str]:
        """Where the other recipe would make something else, in words: "settings.stride_px: 128 →
        64"; [] if nowhere."""
        mine, theirs = _flat(_plain(self)), _flat(_plain(other))
        missing = "(none)"
        keys = sorted(mine.keys() | theirs.keys())
        return [
            f"{key}: {mine.get(key, missing)} → {theirs.get(key, missing)}"
            for key in keys
            if mine.get(key, missing) != theirs.get(key, missing)
        ]

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "made_with": self.made_with}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Recipe":
        return cls(**{key: plain[key] for key in ("stage", "settings", "inputs", "made_with")})

    def save(self, path: Path) -> None:
        with atomic_file(path) as partial:
            partial.write_text(
                json.dumps(self.to_json(), indent=1, ensure_ascii=False), encoding="utf-8"
            )

    @classmethod
    def load(cls, path: Path) -> "Recipe | None":
        """The recipe saved at path; None where there is none.

        Raises:
            StoreError: the file is there but is not a recipe.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path}: not a recipe ({error}); remove its folder and run the stage again"
            ) from error


def _plain(recipe: Recipe) -> dict[str, Any]:
    whole = {"stage": recipe.stage, "settings": recipe.settings, "inputs": recipe.inputs}
    return json.loads(json.dumps(whole, default=str))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()
        }
    return {prefix.rstrip("."): value}
