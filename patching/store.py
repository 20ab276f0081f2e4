"""Patch store: one Zarr v3 group per slide, each written by one owner, read at random through
TensorStore.

STORE/zarr.json                     settings; patient, split and label of every slide
STORE/<slide>/zarr.json             the slide's recipe and counts
STORE/<slide>/{tumor,normal}/images (N, P, P, 3) uint8, one patch a chunk, many a shard, checksummed
STORE/<slide>/{tumor,normal}/{xy, tumor_fraction, tissue_fraction, lesion, unreadable}
STORE/<slide>/<further>/…           the same for patches added later; the store's zarr.json lists
                                    these groups

Indices count readable patches only, from 0 to count - 1; patches added later come last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from pydantic import ValidationError

from ..storage import Location, StoreError, join_location, kvstore_spec, wait_for
from ..wsi import InputSpec, StainFit, StainMethod
from .metadata import Part, SlidePatches, attributes_of, describe, slides_of
from .sampling import Candidates
from .settings import TileSettings

__all__ = ["PatchStore"]

CACHE_BYTES = {Path: 2**20, str: 64 * 2**20}
"""Cache of shard indices and some patches. In a bucket a cached index saves a request. In a folder
reads are as fast without, and a large cache fragments the memory over millions of reads."""


@dataclass(frozen=True)
class PatchStore:
    """Store opened for reading, in a folder or at a URL (s3://, gs://); pickles as its path."""

    path: Location

    describe = staticmethod(describe)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the store's own zarr.json.

        Raises:
            StoreError: no store is there, or one of another format; a patient is on two sides of
                the split.
        """
        return attributes_of(self.path)

    @property
    def settings(self) -> dict[str, Any]:
        """`TileSettings` of all slides, as plain JSON."""
        return self.attributes["settings"]

    @cached_property
    def tile_settings(self) -> TileSettings:
        """Settings of all slides.

        Raises:
            StoreError: another version of gigaslide wrote settings that this one does not know.
        """
        try:
            return TileSettings.model_validate(self.settings)
        except ValidationError as error:
            raise StoreError(
                f"{self.path}: tiled with settings of another version ({error}); tile again"
            ) from error

    @property
    def input_spec(self) -> InputSpec:
        """Geometry of the stored patches, margin excluded, at all scales.

        Raises:
            StoreError: as for `tile_settings`.
        """
        return self.tile_settings.input_spec

    @cached_property
    def slides(self) -> tuple[SlidePatches, ...]:
        """Slides tiled with the store's settings, in the order of the cohort; failed slides are not
        listed.

        A group of other settings, from tiling that was stopped, is left out with a warning.
        """
        return tuple(slides_of(self.path, self.attributes["slides"], self.tile_settings))

    @cached_property
    def _by_id(self) -> dict[str, SlidePatches]:
        return {slide.id: slide for slide in self.slides}

    def parts(self, slide_id: str, name: str) -> tuple[Part, ...]:
        """Return the groups of a slide's patches of a class.

        Raises:
            StoreError: the store has no such slide or class.
        """
        try:
            return self._by_id[slide_id].parts[name]
        except KeyError as error:
            raise StoreError(
                f"{self.path}: {slide_id}/{name}: no such slide or class in the store"
            ) from error

    def count(self, name: str, *, split: str) -> int:
        return sum(slide.counts.get(name, 0) for slide in self.slides if slide.split == split)

    def read(
        self, slide_id: str, name: str, indices: np.ndarray, *, array: str = "images"
    ) -> np.ndarray:
        """Read patches of one slide and class by index, negative ones from the end: (n, P, P, 3)
        uint8, margin included.

        Raises:
            StoreError: no such patch, or its file is missing or damaged; the message names the
                shard.
        """
        wanted = np.asarray(indices)
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise StoreError(
                f"{self.path}: {slide_id}/{name}: indices must be one row of integers, not "
                f"{wanted!r}"
            )
        self.parts(slide_id, name)
        return self.read_many([(slide_id, name, index) for index in wanted.tolist()], array=array)

    def read_many(
        self,
        wanted: Sequence[tuple[str, str, int]],
        *,
        array: str = "images",
        copies: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Read patches by (slide id, class, index), all at once: (n, P, P, 3) uint8, margin
        included.

        copies: number of the stored copy of each patch, with the array "augmented".

        Raises:
            StoreError: as for `read`, or no such array.
        """
        shape = self.tile_settings.arrays.get(array)
        if shape is None:
            raise StoreError(
                f"{self.path}: holds no {array}; tile again, with --copies for augmented patches"
            )
        places = [self.place(slide_id, name, index) for slide_id, name, index in wanted]
        at = (
            [row for _, row in places]
            if copies is None
            else [(row, k) for (_, row), k in zip(places, copies, strict=True)]
        )
        # One by one: index arrays of several rows are no faster and copy the pixels once more.
        reading = [
            self._array(group, array)[row].read()
            for (group, _), row in zip(places, at, strict=True)
        ]
        found = np.empty(
            (len(places), *shape[-3:]) if copies is not None else (len(places), *shape), np.uint8
        )
        for position, ((group, _), future) in enumerate(zip(places, reading, strict=True)):
            found[position] = self._settled(future, group)
        return found

    def windows(self, slide_id: str, name: str) -> Candidates:
        """Read position, fractions and lesion of a slide's patches of one class, by the same index.

        Raises:
            StoreError: as for `read`.
        """
        found: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Candidates)}
        for part in self.parts(slide_id, name):
            for field, arrays in found.items():
                arrays.append(self.read_rows(part, field, slice(None))[self._readable(part)])
        return Candidates(**{field: np.concatenate(arrays) for field, arrays in found.items()})

    def stain(self, slide_id: str, method: StainMethod) -> StainFit:
        """Return the stain fit that normalises a slide's patches.

        Raises:
            StoreError: none was fitted.
        """
        slide = self._by_id.get(slide_id)
        fits = slide.attributes.get("stain", {}) if slide else {}
        if method not in fits:
            raise StoreError(
                f"{self.path}: {slide_id}: no {method} stain fit; tile again with --stain {method}"
            )
        return StainFit.from_json(fits[method])

    def read_rows(self, part: Part, array: str, rows: slice) -> np.ndarray:
        """Read rows of one array as they lie on disk, with unreadable ones.

        Raises:
            StoreError: as for `read`.
        """
        return self._settled(self._array(part.group, array)[rows].read(), part.group)

    def place(self, slide_id: str, name: str, index: int) -> tuple[str, int]:
        """Return (group, row) of a patch on disk; its random augmentation is drawn from them.

        Raises:
            StoreError: no such patch.
        """
        parts = self.parts(slide_id, name)
        count = sum(part.count for part in parts)
        if not -count <= index < count:
            raise StoreError(
                f"{self.path}: {slide_id}/{name}: patch {index} was asked for, there are {count}"
            )
        place = index % count
        for part in parts:
            if place < part.count:
                return part.group, int(self._readable(part)[place]) if part.unreadable else place
            place -= part.count
        raise AssertionError("the parts add up to the count")

    def _readable(self, part: Part) -> np.ndarray:
        """Rows of the group's readable patches, ascending."""
        if not part.unreadable:
            return np.arange(part.rows)
        if part.group not in self._rows:
            rows = np.flatnonzero(~self.read_rows(part, "unreadable", slice(None)))
            if len(rows) != part.count:
                raise StoreError(
                    f"{self.path}: {part.group}: {len(rows)} readable patches, expected "
                    f"{part.count}"
                )
            self._rows[part.group] = rows
        return self._rows[part.group]

    def _settled(self, future: Any, group: str) -> np.ndarray:
        try:
            return wait_for(future, f"{self.path}: {group}: patches cannot be read")
        except StoreError as error:
            raise StoreError(
                f"{error}; remove the folder {group.split('/')[0]} and tile again"
            ) from error

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _opened(self) -> dict[tuple[str, str], Any]:
        return {}

    @cached_property
    def _context(self) -> Any:
        limit = CACHE_BYTES[Path if isinstance(self.path, Path) else str]
        return tensorstore.Context({"cache_pool": {"total_bytes_limit": limit}})

    def _array(self, group: str, array: str) -> Any:
        if (group, array) not in self._opened:
            spec = {
                "driver": "zarr3",
                "kvstore": kvstore_spec(join_location(self.path, group, array)),
                "fill_missing_data_reads": False,
                # Written files do not change; checking each one for every patch costs a sixth of
                # the time.
                "recheck_cached_data": "open",
                "recheck_cached_metadata": "open",
            }
            future = tensorstore.open(spec, open=True, read=True, context=self._context)
            self._opened[group, array] = self._settled(future, group)
        return self._opened[group, array]

    def __reduce__(self) -> Any:
        return PatchStore, (self.path,)
