"""Balanced batches from a patch store: class → slide → patch, drawn on the fly, the same for any
number of threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..patching import (
    AugmentSettings,
    PatchStore,
    SlidePatches,
    centre_crop,
    draw_augmentation,
    patch_rng,
)
from ..storage import SettingsError
from ..wsi import CLASSES

__all__ = ["Batch", "Sampler", "prefetched"]


@dataclass(frozen=True)
class Batch:
    """Network input: patches (N, P, P, 3) uint8, labels (N,) int64 (0 normal, 1 tumour)."""

    patches: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws batches from one side of the split. Batch `number` depends on its number and these
    fields alone."""

    store: PatchStore
    split: str
    batch: int
    patch_px: int
    seed: int
    augment: AugmentSettings | None
    """None: the middle of the patch as it is."""
    warm_up: int = 0
    """The colour changes grow from none at batch 0 to their full size at this batch."""
    copies: int = 0
    """0: patches are changed anew each time they are drawn, by their place in the store and the
    number of the example. Else one of so many copies that the store holds of each is taken as it
    is."""

    def check(self) -> None:
        """Raises SettingsError unless both classes have patches on this side of the split."""
        for name in CLASSES:
            if not self._slides(name):
                raise SettingsError(
                    f"{self.store.path}: no {name} patch in split {self.split!r}; both classes are "
                    "needed: check the cohort's labels and splits, and the table of gigaslide tile"
                )

    def _slides(self, name: str) -> list[SlidePatches]:
        return [
            slide
            for slide in self.store.slides
            if slide.split == self.split and slide.counts.get(name)
        ]

    def draw(self, number: int) -> Batch:
        """Batch `number`: as many tumour as normal patches, slides uniformly, patches of a slide
        uniformly."""
        rng = np.random.default_rng([self.seed, number])
        labels = rng.permutation(np.arange(self.batch) % len(CLASSES))
        augment = self._augment_of(number)
        wanted = []
        for label in labels:
            slides = self._by_class[label]
            slide = slides[rng.integers(len(slides))]
            wanted.append(
                (slide.id, CLASSES[label], int(rng.integers(slide.counts[CLASSES[label]])))
            )
        if self.copies:
            drawn = rng.integers(self.copies, size=self.batch).tolist()
            return Batch(self.store.read_many(wanted, array="augmented", copies=drawn), labels)
        patches = np.empty((self.batch, self.patch_px, self.patch_px, 3), np.uint8)
        for position, (patch, stored) in enumerate(
            zip(wanted, self.store.read_many(wanted), strict=True)
        ):
            patches[position] = self._prepared(
                stored, patch, number * self.batch + position, augment
            )
        return Batch(patches, labels)

    @cached_property
    def _by_class(self) -> list[list[SlidePatches]]:
        return [self._slides(name) for name in CLASSES]

    def _augment_of(self, number: int) -> AugmentSettings | None:
        if self.augment is None or number >= self.warm_up:
            return self.augment
        return self.augment.milder(number / self.warm_up)

    def _prepared(
        self,
        stored: np.ndarray,
        patch: tuple[str, str, int],
        copy: int,
        augment: AugmentSettings | None,
    ) -> np.ndarray:
        if augment is None:
            return centre_crop(stored, side_px=self.patch_px)
        group, row = self.store.place(*patch)
        rng = patch_rng(seed=self.seed, group=group, row=row, copy=copy)
        return draw_augmentation(rng, augment).apply(stored, side_px=self.patch_px)


def prefetched(sampler: Sampler, *, start: int, stop: int, threads: int = 2) -> Iterator[Batch]:
    """Batches start to stop - 1 in order, drawn ahead on threads (decoding and OpenCV release the
    GIL)."""
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(
            pool.submit(sampler.draw, number)
            for number in range(start, min(stop, start + 2 * threads))
        )
        following = start + len(ahead)
        while ahead:
            batch = ahead.popleft().result()
            if following < stop:
                ahead.append(pool.submit(sampler.draw, following))
                following += 1
            yield batch
