"""Metadata of a store: its own zarr.json, and that of every slide's groups."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage import (
    GROUP,
    Location,
    SettingsError,
    StoreError,
    group_json,
    join_location,
    read_file,
    read_files,
    write_file,
)
from ..wsi import CLASSES
from .settings import TileSettings

__all__ = [
    "CORRECTED",
    "Part",
    "SlidePatches",
    "attributes_of",
    "describe",
    "is_corrected",
    "slides_of",
]

logger = logging.getLogger(__name__)

FORMAT = "gigaslide-patches/2"
CORRECTED = "corrected-"
"""Beginning of the names of groups of patches of corrections, inside a slide's group."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Group of a slide's patches of one class, as it lies on disk."""

    group: str
    """Below the store: slide/class, or slide/further/class."""
    count: int
    """Readable patches."""
    unreadable: int

    @property
    def rows(self) -> int:
        """Length of its arrays."""
        return self.count + self.unreadable


def is_corrected(part: Part) -> bool:
    """Tell whether patches are of what a person corrected, see `add_corrections`."""
    return part.group.split("/")[1].startswith(CORRECTED)


@dataclass(frozen=True, kw_only=True)
class SlidePatches:
    """Metadata of one slide in a store."""

    id: str
    patient: str
    split: str
    label: str
    parts: dict[str, tuple[Part, ...]]
    """Groups by class; patches are numbered in their order."""
    attributes: dict[str, Any]
    """Attributes of its group: recipe, arrays, stain."""
    sha256: str
    """Digest of the zarr.json of all its groups: it changes with the patches."""

    @property
    def counts(self) -> dict[str, int]:
        """Readable patches by class."""
        return {name: sum(part.count for part in parts) for name, parts in self.parts.items()}

    @property
    def unreadable(self) -> int:
        return sum(part.unreadable for parts in self.parts.values() for part in parts)


def describe(
    path: Location, *, settings: dict[str, Any], slides: dict[str, dict[str, Any]]
) -> None:
    """Write the store's own zarr.json: the settings of all slides; label, patient and split by
    slide id.

    Raises:
        SettingsError: path holds another Zarr group, or a patient is on two sides of the split.
    """
    found = read_file(path, GROUP)
    if found is not None and FORMAT.split("/")[0].encode() not in found:
        raise SettingsError(
            f"{path}: holds a zarr.json that is not a patch store's; give another folder"
        )
    leak = _leak(slides)
    if leak:
        raise SettingsError(f"{path}: {leak}; put the patient on one side in the cohort")
    write_file(path, GROUP, group_json({"format": FORMAT, "settings": settings, "slides": slides}))


def attributes_of(path: Location) -> dict[str, Any]:
    """Load and check the store's own zarr.json.

    Raises:
        StoreError: no store is there, or one of another format; a patient is on two sides of the
            split.
    """
    if isinstance(path, Path) and not path.exists():
        raise StoreError(
            f"{path}: no such folder; check the path, or make a store with gigaslide tile"
        )
    if isinstance(path, Path) and path.is_file():
        raise StoreError(f"{path}: is a file, not a patch store; make one with gigaslide tile")
    try:
        attributes = _attributes(read_file(path, GROUP))
    except (StoreError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: not a patch store ({error}); make one with gigaslide tile"
        ) from error
    if attributes.get("format") != FORMAT:
        raise StoreError(f"{path}: not a patch store of format {FORMAT}; tile again")
    if not (
        isinstance(attributes.get("settings"), dict) and isinstance(attributes.get("slides"), dict)
    ):
        raise StoreError(f"{path}: a patch store without settings or slides; tile again")
    leak = _leak(attributes["slides"])
    if leak:
        raise StoreError(f"{path}: {leak}; correct the cohort and tile again")
    return attributes


def slides_of(
    path: Location, rows: dict[str, dict[str, Any]], tiles: TileSettings
) -> Iterator[SlidePatches]:
    """Yield the listed slides that were tiled with these settings; leave out others with a warning.

    Raises:
        StoreError: a group is damaged.
    """
    groups = {
        slide_id: [slide_id, *(f"{slide_id}/{name}" for name in row.get("further", []))]
        for slide_id, row in rows.items()
    }
    names = [group for of_slide in groups.values() for group in of_slide]
    contents = dict(
        zip(names, read_files(path, [f"{name}/{GROUP}" for name in names]), strict=True)
    )
    for slide_id, row in rows.items():
        if contents[slide_id] is None:
            continue
        found = {
            group: _slide_attributes(join_location(path, group), contents[group])
            for group in groups[slide_id]
            if contents[group] is not None
        }
        if not _fits(found[slide_id], tiles):
            logger.warning(
                "%s: %s was tiled with other settings and is left out; tile again", path, slide_id
            )
            continue
        digest = hashlib.sha256(b"".join(contents[group] or b"" for group in found))
        yield SlidePatches(
            id=slide_id,
            patient=row["patient"],
            split=row["split"],
            label=row["label"],
            parts={name: tuple(_parts(found, name)) for name in CLASSES},
            attributes=found[slide_id],
            sha256=digest.hexdigest(),
        )


def _fits(found: dict[str, Any], tiles: TileSettings) -> bool:
    arrays = {name: list(shape) for name, shape in tiles.arrays.items()}
    return found["recipe"]["settings"] == tiles.of_recipe() and found["arrays"] == arrays


def _slide_attributes(group: Location, content: bytes | None) -> dict[str, Any]:
    try:
        found = _attributes(content)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{group}: damaged group ({error!r}); remove it and tile again") from error
    if not (isinstance(found.get("recipe"), dict) and "counts" in found):
        raise SettingsError(
            f"{group}: a Zarr group, but not of patches; it is left as it is, give another store"
        )
    # Stores of an older format have no `arrays`: they are made again.
    return {"arrays": {}, "unreadable": {}, **found}


def _attributes(content: bytes | None) -> dict[str, Any]:
    if content is None:
        raise TypeError("there is no zarr.json")
    attributes = json.loads(content.decode("utf-8"))["attributes"]
    if not isinstance(attributes, dict):
        raise TypeError("the attributes are not an object")
    return attributes


def _parts(found: dict[str, dict[str, Any]], name: str) -> Iterator[Part]:
    for group, attributes in found.items():
        if name in attributes["counts"]:
            lost = attributes["unreadable"].get(name, 0)
            yield Part(group=f"{group}/{name}", count=attributes["counts"][name], unreadable=lost)


def _leak(slides: dict[str, dict[str, Any]]) -> str:
    """Describe a patient on two sides of the split; empty if there is none."""
    side: dict[str, str] = {}
    for row in slides.values():
        if row["patient"] and side.setdefault(row["patient"], row["split"]) != row["split"]:
            return (
                f"patient {row['patient']} is in "
                f"{' and '.join(sorted({side[row['patient']], row['split']}))}"
            )
    return ""
