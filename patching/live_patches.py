"""Patches of a cohort, read from its slides whenever they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..cohort import CohortSlide
from ..storage import SlideError, StoreError, file_identity, format_location
from ..wsi import Slide, TileCache, open_slide
from .open_slides import OpenSlides
from .pixels import augmented_copies
from .settings import TileSettings
from .store import PatchStore
from .tile import store_row

__all__ = ["LivePatches"]

CACHE_BYTES = 512 * 2**20
"""Decoded tiles of all slides together."""
MOST_OPEN = 64
"""Slides that are open at a time."""


@dataclass(frozen=True)
class LivePatches(PatchStore):
    """The patches that a store of these slides would hold: the same rows and the same pixels.

    An index at `path` holds their positions; see `index_cohort`. Several threads may read. Pickles
    as its fields; slides are closed with it.
    """

    tiles: TileSettings
    cohort: tuple[CohortSlide, ...]
    """Slides of the index, with their files."""

    def __post_init__(self) -> None:
        self._open  # noqa: B018  (made before several threads ask for it)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Settings and slides, as a store lists them."""
        rows = {slide.id: store_row(slide) for slide in self.cohort}
        return {"settings": self.tiles.model_dump(mode="json"), "slides": rows}

    def read_many(
        self,
        wanted: Sequence[tuple[str, str, int]],
        *,
        array: str = "images",
        copies: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Read patches by (slide id, class, index), as from a store.

        Raises:
            StoreError: no such patch or array.
            SlideError: a slide changed since its patches were chosen, or cannot be read any more.
        """
        shape = self.tiles.arrays.get(array)
        if shape is None:
            raise StoreError(
                f"{self.path}: holds no {array}; ask for it with --tile.copies or "
                "--tile.further-mpp"
            )
        places = [self.place(*one) for one in wanted]
        scale = "images" if array == "augmented" else array
        patches = self._read_scale(places, self.tiles.scales[scale])
        if array != "augmented":
            return patches
        found = np.empty((len(places), *(shape if copies is None else shape[1:])), np.uint8)
        for number, ((group, row), patch) in enumerate(zip(places, patches, strict=True)):
            made = augmented_copies(patch, self.tiles, group=group, row=row)
            found[number] = made if copies is None else made[copies[number]]
        return found

    def _read_scale(self, places: Sequence[tuple[str, int]], mpp: float) -> np.ndarray:
        """Read (group, row) at one scale: (n, P, P, 3) uint8, margin included."""
        side = self.tiles.stored_px
        found = np.empty((len(places), side, side, 3), np.uint8)
        of_slide: dict[str, list[int]] = {}
        for number, (group, _) in enumerate(places):
            of_slide.setdefault(group.split("/")[0], []).append(number)
        for slide_id, numbers in of_slide.items():
            xy = np.stack([self._xy(places[number][0])[places[number][1]] for number in numbers])
            missing = self._read_slide(slide_id, xy, mpp, found, numbers)
            if missing:  # an error of the disk or the network may have passed
                self._open.forget(slide_id)
                missing = self._read_slide(slide_id, xy, mpp, found, numbers)
            if missing:
                raise SlideError(
                    f"{self._name(slide_id)}: {missing} of its patches cannot be read any more; "
                    "check the file and its disk, and run the same command again to continue"
                )
        return found

    def _read_slide(
        self, slide_id: str, xy: np.ndarray, mpp: float, found: np.ndarray, numbers: Sequence[int]
    ) -> int:
        """Read windows of one slide into rows of found; return the number of unreadable ones."""
        self._refuse_change(slide_id)
        missing = 0
        with self._open.borrow(slide_id) as slide:
            windows = slide.read_windows(
                slide.concentric_xy(
                    xy,
                    size=self.tiles.stored_px,
                    mpp=mpp,
                    finest_mpp=self.tiles.mpp,
                    allow_upsampling=self.tiles.allow_upsampling,
                ),
                size=self.tiles.stored_px,
                mpp=mpp,
                allow_upsampling=self.tiles.allow_upsampling,
            )
            for index, window in windows:
                if window is None:
                    missing += 1
                else:
                    found[numbers[index]] = window
        return missing

    def _refuse_change(self, slide_id: str) -> None:
        """Pass if the slide's file is the one whose patches were chosen, by size and time."""
        location = self._rows_of_cohort[slide_id].path
        if not isinstance(location, Path):
            return  # a request for every batch would take longer than the pixels
        before = self._by_id[slide_id].attributes["recipe"]["inputs"]["slide"]
        try:
            now = file_identity(location)
        except OSError as error:
            raise SlideError(
                f"{self._name(slide_id)}: cannot be read any more ({error.strerror}); check the "
                "path and its disk, and run the same command again to continue"
            ) from error
        if now != before:
            raise SlideError(
                f"{self._name(slide_id)}: changed since its patches were chosen ({before} → {now});"
                " bring the file back to continue, or run the same command again to train anew"
            )

    def _name(self, slide_id: str) -> str:
        return format_location(self._rows_of_cohort[slide_id].path)

    def _xy(self, group: str) -> np.ndarray:
        """Corners of a group's windows, (N, 2) int64, level-0 (x, y)."""
        if group not in self._corners:
            part = next(part for part in self._parts if part.group == group)
            self._corners[group] = self.read_rows(part, "xy", slice(None))
        return self._corners[group]

    @cached_property
    def _parts(self):
        return [part for slide in self.slides for parts in slide.parts.values() for part in parts]

    @cached_property
    def _corners(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _rows_of_cohort(self) -> dict[str, CohortSlide]:
        return {slide.id: slide for slide in self.cohort}

    @cached_property
    def _open(self) -> OpenSlides:
        cache = TileCache(CACHE_BYTES)

        def open_one(slide_id: str) -> Slide:
            row = self._rows_of_cohort[slide_id]
            return open_slide(row.path, mpp=row.mpp, fallback_mpp=self.tiles.slide_mpp, cache=cache)

        return OpenSlides(open_one, most=MOST_OPEN)

    def __reduce__(self) -> Any:
        return LivePatches, (self.path, self.tiles, self.cohort)
