"""The patch store: one Zarr v3 group per slide, each written by one owner, read at random through TensorStore.

STORE/zarr.json                     what the store is; patient, split and label of every slide
STORE/<slide>/zarr.json             the slide's recipe and counts
STORE/<slide>/{tumor,normal}/images (N, P, P, 3) uint8, one patch a chunk, many a shard, checksummed
STORE/<slide>/{tumor,normal}/{xy, tumor_fraction, tissue_fraction}
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from pydantic import ValidationError
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from ..wsi import Recipe, SettingsError, StoreError, refuse_foreign_folder, restore_folder, whole_file, whole_folder
from .select import Candidates
from .settings import TileSettings

__all__ = ["CLASSES", "PatchStore", "SlidePatches", "find_slide", "stored_bytes", "write_slide"]

logger = logging.getLogger(__name__)

FORMAT = "gigaslide-patches/1"
CLASSES = ("normal", "tumor")
"""Class names; the position is the label."""
SHARD_BYTES = 32 * 2**20  # uncompressed; what a writer holds in memory


def write_slide(
    folder: Path,
    *,
    recipe: Recipe,
    classes: Mapping[str, tuple[Candidates, Iterable[tuple[int, np.ndarray]]]],
    patch_px: int,
) -> dict[str, int]:
    """Write one slide's group, whole or not at all; return the number of patches by class.

    classes gives, by class, the candidates and an iterable of (row among them, (P, P, 3) uint8 patch) in rising
    order; rows it leaves out (unreadable) are left out of the store. patch_px is P, margin included.

    Raises:
        SettingsError: folder holds something else than a slide's group.
    """
    find_slide(folder)
    with whole_folder(folder, known_by="zarr.json") as partial:
        group = zarr.create_group(partial, zarr_format=3)
        counts = {}
        for name, (rows, patches) in classes.items():
            counts[name] = _write_class(group.create_group(name), rows, patches, patch_px)
        unreadable = sum(len(rows) for rows, _ in classes.values()) - sum(counts.values())
        made = {"counts": counts, "unreadable": unreadable, "patch_px": patch_px}
        group.attrs.update({"recipe": recipe.to_json(), **made})
    return counts


def _write_class(group: zarr.Group, rows: Candidates, patches: Iterable[tuple[int, np.ndarray]], patch_px: int) -> int:
    shape = (len(rows), patch_px, patch_px, 3)
    per_shard = max(1, min(len(rows), SHARD_BYTES // (patch_px * patch_px * 3)))
    images = _create(group, "images", shape, "uint8", chunks=(1, *shape[1:]), shards=(per_shard, *shape[1:]))
    kept: list[int] = []
    waiting: list[np.ndarray] = []
    for row, patch in patches:
        kept.append(row)
        waiting.append(patch)
        if len(waiting) == per_shard:
            images[len(kept) - per_shard : len(kept)] = np.stack(waiting)
            waiting.clear()
    if waiting:
        images[len(kept) - len(waiting) : len(kept)] = np.stack(waiting)
    if len(kept) < len(rows):
        images.resize((len(kept), *shape[1:]))
    held = rows.take(np.array(kept, np.int64))
    for name in ("xy", "tumor_fraction", "tissue_fraction", "lesion"):
        values = getattr(held, name)
        array = _create(group, name, values.shape, values.dtype.name, chunks=(max(1, len(values)), *values.shape[1:]))
        array[:] = values
    return len(kept)


def stored_bytes(patches: np.ndarray) -> int:
    """What (N, P, P, 3) uint8 patches would take in a store (bytes): they are written to one in memory."""
    group = zarr.create_group(MemoryStore(), zarr_format=3)
    images = _create(group, "images", patches.shape, "uint8", chunks=(1, *patches.shape[1:]), shards=patches.shape)
    images[:] = patches
    return images.nbytes_stored()


def _create(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str, **layout: Any) -> zarr.Array:
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        compressors=[BloscCodec(cname="zstd", clevel=1), Crc32cCodec()],
        # A missing chunk would read as zeros; written always, a missing one is damage and is told as such.
        config={"write_empty_chunks": True},
        **layout,
    )


@dataclass(frozen=True, kw_only=True)
class SlidePatches:
    """What the store knows of one slide."""

    id: str
    patient: str
    split: str
    counts: dict[str, int]
    """Patches by class."""


@dataclass(frozen=True)
class PatchStore:
    """A store opened for reading; pickles as its path."""

    path: Path

    @staticmethod
    def describe(path: Path, *, settings: dict[str, Any], slides: dict[str, dict[str, str]]) -> None:
        """Write the store's own zarr.json: the settings all slides share; label, patient and split by slide id.

        Raises:
            SettingsError: path holds another Zarr group.
        """
        if (path / "zarr.json").exists() and FORMAT.split("/")[0].encode() not in (path / "zarr.json").read_bytes():
            raise SettingsError(f"{path}: holds a zarr.json that is no patch store's; give another folder")
        attributes = {"format": FORMAT, "settings": settings, "slides": slides}
        metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        with whole_file(path / "zarr.json") as partial:
            partial.write_text(json.dumps(metadata, indent=1, ensure_ascii=False), encoding="utf-8")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The store's own zarr.json.

        Raises:
            StoreError: no store there, or one of another format.
        """
        try:
            attributes = _attributes(self.path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path}: not a patch store ({error!r}); make one with gigaslide tile") from error
        if attributes.get("format") != FORMAT:
            raise StoreError(f"{self.path}: not a patch store of format {FORMAT}; tile again")
        if not (isinstance(attributes.get("settings"), dict) and isinstance(attributes.get("slides"), dict)):
            raise StoreError(f"{self.path}: a patch store without settings or slides; tile again")
        return attributes

    @property
    def settings(self) -> dict[str, Any]:
        """The `TileSettings` all slides were tiled with, as plain JSON."""
        return self.attributes["settings"]

    @cached_property
    def tile_settings(self) -> TileSettings:
        """The same, checked.

        Raises:
            StoreError: another version of gigaslide wrote settings that this one does not know.
        """
        try:
            return TileSettings.model_validate(self.settings)
        except ValidationError as error:
            raise StoreError(f"{self.path}: tiled with settings of another version ({error}); tile again") from error

    @cached_property
    def slides(self) -> tuple[SlidePatches, ...]:
        """Slides tiled with the store's settings, in the order they were listed; those that failed are not there.

        A group that other settings made, left where tiling stopped half-way, is left out with a warning.
        """
        return tuple(self._slides())

    def _slides(self) -> Iterator[SlidePatches]:
        for slide_id, row in self.attributes["slides"].items():
            if not (self.path / slide_id / "zarr.json").exists():
                continue
            found = _slide_attributes(self.path / slide_id)
            if not self._fits(found):
                logger.warning("%s: %s was tiled with other settings and is left out; tile again", self.path, slide_id)
                continue
            yield SlidePatches(id=slide_id, patient=row["patient"], split=row["split"], counts=found["counts"])

    def _fits(self, found: dict[str, Any]) -> bool:
        wanted = {name: value for name, value in self.settings.items() if name != "splits"}
        side_px = self.tile_settings.patch_px + 2 * self.tile_settings.margin_px
        return found["recipe"]["settings"] == wanted and found["patch_px"] == side_px

    def count(self, name: str, *, split: str) -> int:
        return sum(slide.counts.get(name, 0) for slide in self.slides if slide.split == split)

    def read(self, slide_id: str, name: str, indices: np.ndarray) -> np.ndarray:
        """Patches of one slide and class by index: (n, P, P, 3) uint8, margin included.

        Raises:
            StoreError: a patch is missing or its checksum is wrong; the message names the shard.
        """
        try:
            return self._array(slide_id, name)[np.asarray(indices)].read().result()
        except (ValueError, OSError, IndexError) as error:
            message = f"{self.path}: {slide_id}/{name}: patches cannot be read: {error}"
            raise StoreError(f"{message}; remove the folder {slide_id} and tile again") from error

    @cached_property
    def _opened(self) -> dict[tuple[str, str], Any]:
        return {}

    def _array(self, slide_id: str, name: str) -> Any:
        if (slide_id, name) not in self._opened:
            spec = {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": str((self.path / slide_id / name / "images").resolve())},
                "fill_missing_data_reads": False,
            }
            self._opened[slide_id, name] = tensorstore.open(spec, open=True, read=True).result()
        return self._opened[slide_id, name]

    def __reduce__(self):
        return PatchStore, (self.path,)


def find_slide(folder: Path) -> dict[str, Any] | None:
    """The attributes of one slide's group: recipe, counts, unreadable, patch_px; None where there is none yet.

    Raises:
        SettingsError: folder holds something else.
        StoreError: its zarr.json is damaged.
    """
    restore_folder(folder)
    refuse_foreign_folder(folder, known_by="zarr.json")
    return _slide_attributes(folder) if (folder / "zarr.json").exists() else None


def _slide_attributes(folder: Path) -> dict[str, Any]:
    try:
        found = _attributes(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder}: damaged group ({error!r}); remove it and tile again") from error
    if not (isinstance(found.get("recipe"), dict) and {"counts", "patch_px"} <= found.keys()):
        raise SettingsError(f"{folder}: a Zarr group, but not of patches; it is left as it is, give another store")
    return found


def _attributes(folder: Path) -> dict[str, Any]:
    attributes = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    if not isinstance(attributes, dict):
        raise TypeError("the attributes are no object")
    return attributes
