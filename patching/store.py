"""The patch store: one Zarr v3 group per slide, each written by one owner, read at random through TensorStore.

STORE/zarr.json                     what the store is; patient, split and label of every slide
STORE/<slide>/zarr.json             the slide's recipe and counts
STORE/<slide>/{tumor,normal}/images (N, P, P, 3) uint8, one patch a chunk, many a shard, checksummed
STORE/<slide>/{tumor,normal}/{xy, tumor_fraction, tissue_fraction}
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from ..wsi import Recipe, StoreError, whole_file, whole_folder
from .select import Candidates

__all__ = ["CLASSES", "PatchStore", "SlidePatches", "write_slide"]

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
    """
    with whole_folder(folder) as partial:
        group = zarr.create_group(partial, zarr_format=3)
        counts = {}
        for name, (rows, patches) in classes.items():
            counts[name] = _write_class(group.create_group(name), rows, patches, patch_px)
        group.attrs.update({"recipe": recipe.to_json(), "counts": counts, "patch_px": patch_px})
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
    for name in ("xy", "tumor_fraction", "tissue_fraction"):
        values = getattr(held, name)
        array = _create(group, name, values.shape, values.dtype.name, chunks=(max(1, len(values)), *values.shape[1:]))
        array[:] = values
    return len(kept)


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
        """Write the store's own zarr.json: the settings all slides share; label, patient and split by slide id."""
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
            attributes = json.loads((self.path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{self.path}: not a patch store ({error}); make one with gigaslide tile") from error
        if attributes.get("format") != FORMAT:
            raise StoreError(f"{self.path}: not a patch store of format {FORMAT}; tile again")
        return attributes

    @property
    def settings(self) -> dict[str, Any]:
        """The `TileSettings` all slides were tiled with, as plain JSON."""
        return self.attributes["settings"]

    @cached_property
    def slides(self) -> tuple[SlidePatches, ...]:
        """Slides that are in the store, in the order of the cohort; those that failed are not there."""
        return tuple(self._slides())

    def _slides(self) -> Iterator[SlidePatches]:
        for slide_id, row in self.attributes["slides"].items():
            if (self.path / slide_id / "zarr.json").exists():
                counts = self._slide_attributes(slide_id)["counts"]
                yield SlidePatches(id=slide_id, patient=row["patient"], split=row["split"], counts=counts)

    def _slide_attributes(self, slide_id: str) -> dict[str, Any]:
        return slide_attributes(self.path / slide_id)

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


def slide_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of one slide's group: recipe, counts, patch_px.

    Raises:
        StoreError: its zarr.json is damaged.
    """
    try:
        return json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{folder}: damaged group ({error}); remove it and tile again") from error
