"""Balanced batches from a patch store: class, then slide, then patch, drawn on the fly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..patching import (
    AugmentSettings,
    PatchStore,
    SlidePatches,
    centre_crop,
    draw_augmentation,
    is_corrected,
    patch_rng,
)
from ..storage import SettingsError
from ..wsi import (
    CLASSES,
    STAIN_PATCHES,
    InputSpec,
    StainFit,
    StainMethod,
    fit_stain_to_patches,
)

__all__ = ["CORRECTED_SHARE", "Batch", "Place", "Sampler"]

CORRECTED_SHARE = 0.25
"""Share of a training batch that comes from patches of corrections, where nothing else is said."""

Place = tuple[str, str, int]
"""Place of a patch in the store: slide id, class, index."""


@dataclass(frozen=True)
class Batch:
    """Input of one training step: patches (N, scales, P, P, 3) uint8, labels (N,) int64 (0 normal,
    1 tumour)."""

    patches: np.ndarray
    labels: np.ndarray
    slides: tuple[str, ...] = ()
    """Id of the slide of each patch."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws batches from one split of a store.

    Batch `number` depends on its number and these fields alone, so any thread may draw it at any
    time.
    """

    store: PatchStore
    split: str
    spec: InputSpec
    """Patches of the network; its scales must be among the store's."""
    batch_size: int
    seed: int
    augment: AugmentSettings | None
    """None: the middle of the stored patch, unchanged."""
    warm_up: int = 0
    """Number of the batch at which colour changes reach their full size; they grow from none at
    batch 0."""
    stain: StainMethod | None = None
    """Stain normalisation of the patches, fitted to each slide; None: pixels as scanned."""
    copies: int = 0
    """0: patches are augmented anew each time they are drawn, by their place in the store and the
    number of the example. Otherwise the number of augmented copies that the store holds of each
    patch; one of them is taken unchanged."""
    corrected: float = 0.0
    """Share of a batch that is drawn from patches of corrections; where a class has none, all its
    patches count alike."""

    def check(self) -> None:
        """Raise SettingsError if a class has no patches in this split."""
        for name in CLASSES:
            if not self._slides(name):
                raise SettingsError(
                    f"{self.store.path}: no {name} patch in split {self.split!r}; both classes are "
                    "needed: check the cohort's labels and splits, and the summary.csv there"
                )

    def draw(self, number: int) -> Batch:
        """Draw batch `number`: as many tumour as normal patches, slides uniformly, patches of a
        slide uniformly."""
        rng = np.random.default_rng([self.seed, number])
        places, labels = self._draw_places(rng)
        slides = tuple(slide for slide, *_ in places)
        if self.copies:
            copies = rng.integers(self.copies, size=self.batch_size).tolist()
            stored = self.store.read_many(places, array="augmented", copies=copies)
            return Batch(self._normalise(stored, places)[:, None], labels, slides)
        augment = self._augment_of(number)
        if augment is None:
            return Batch(self.read(places), labels, slides)
        patches = np.empty((self.batch_size, *self.spec.shape), np.uint8)
        for position, (place, *scales) in enumerate(self._stored(places)):
            example = number * self.batch_size + position
            patches[position] = self._augment(scales, place, example, augment)
        return Batch(patches, labels, slides)

    def draw_places(self, number: int) -> tuple[list[Place], np.ndarray]:
        """Draw the patches of batch `number` without their pixels: places and labels (N,)."""
        return self._draw_places(np.random.default_rng([self.seed, number]))

    def read(self, places: Sequence[Place]) -> np.ndarray:
        """Read the middle of stored patches, not augmented: (N, scales, P, P, 3) uint8."""
        side = self.spec.patch_px
        patches = np.empty((len(places), *self.spec.shape), np.uint8)
        for position, (_, *scales) in enumerate(self._stored(places)):
            patches[position] = [centre_crop(stored, side_px=side) for stored in scales]
        return patches

    def _draw_places(self, rng: np.random.Generator) -> tuple[list[Place], np.ndarray]:
        labels = rng.permutation(np.arange(self.batch_size) % len(CLASSES))
        if not (self.corrected and any(self._corrected)):
            return [self._draw_place(rng, label) for label in labels], labels
        order = rng.permutation(self.batch_size)
        wanted = order < round(self.corrected * self.batch_size)
        return [
            self._draw_corrected(rng, label)
            if of_corrections and self._corrected[label]
            else self._draw_place(rng, label)
            for label, of_corrections in zip(labels, wanted, strict=True)
        ], labels

    @cached_property
    def _corrected(self) -> list[list[tuple[str, np.ndarray]]]:
        """By label, the slides that have patches of corrections, and their indices."""
        found: list[list[tuple[str, np.ndarray]]] = []
        for name, slides in zip(CLASSES, self._slides_by_label, strict=True):
            of_slides = [(slide.id, _corrected_indices(slide, name)) for slide in slides]
            found.append([(slide, indices) for slide, indices in of_slides if len(indices)])
        return found

    def _draw_corrected(self, rng: np.random.Generator, label: int) -> Place:
        slides = self._corrected[label]
        slide, indices = slides[rng.integers(len(slides))]
        return slide, CLASSES[label], int(indices[rng.integers(len(indices))])

    def _stored(self, places: Sequence[Place]) -> Iterator[tuple[Any, ...]]:
        """Yield each place and its stored patches, one for each scale, in the colours of the
        reference."""
        arrays = [self._arrays[mpp] for mpp in self.spec.mpps]
        scales = [
            self._normalise(self.store.read_many(places, array=name), places) for name in arrays
        ]
        return zip(places, *scales, strict=True)

    def _slides(self, name: str) -> list[SlidePatches]:
        slides = self.store.slides
        return [slide for slide in slides if slide.split == self.split and slide.counts.get(name)]

    @cached_property
    def _slides_by_label(self) -> list[list[SlidePatches]]:
        return [self._slides(name) for name in CLASSES]

    @cached_property
    def _arrays(self) -> dict[float, str]:
        """Names of the store's arrays by µm/px."""
        return {mpp: name for name, mpp in self.store.tile_settings.scales.items()}

    def _normalise(self, patches: np.ndarray, places: Sequence[Place]) -> np.ndarray:
        """Bring patches (N, rows, columns, 3) to the colours of the reference."""
        if self.stain is None:
            return patches
        fits = [self._stains[slide] for slide, *_ in places]
        return np.stack([fit.apply(patch) for fit, patch in zip(fits, patches, strict=True)])

    @cached_property
    def _stains(self) -> dict[str, StainFit]:
        """Fit of each slide of the split, to patches of both classes spread over its group."""
        slides = [slide for slide in self.store.slides if slide.split == self.split]
        return {slide.id: self._fit_stain(slide) for slide in slides}

    def _fit_stain(self, slide: SlidePatches) -> StainFit:
        """Fit to the stored patches, not to windows of the slide's tissue as prediction does: no
        store need hold such fits, and they change results by less than another seed."""
        assert self.stain is not None
        places = [(slide.id, name, n) for name in CLASSES for n in range(slide.counts.get(name, 0))]
        spread = np.linspace(0, len(places) - 1, min(len(places), STAIN_PATCHES)).astype(np.int64)
        patches = self.store.read_many([places[position] for position in np.unique(spread)])
        return fit_stain_to_patches(patches, self.stain)

    def _draw_place(self, rng: np.random.Generator, label: int) -> Place:
        slides = self._slides_by_label[label]
        slide = slides[rng.integers(len(slides))]
        name = CLASSES[label]
        return slide.id, name, int(rng.integers(slide.counts[name]))

    def _augment_of(self, number: int) -> AugmentSettings | None:
        if self.augment is None or number >= self.warm_up:
            return self.augment
        return self.augment.milder(number / self.warm_up)

    def _augment(
        self, scales: list[np.ndarray], place: Place, example: int, augment: AugmentSettings
    ) -> np.ndarray:
        """Cut the network's input out of a stored patch, augmented: (scales, P, P, 3) uint8."""
        side = self.spec.patch_px
        group, row = self.store.place(*place)
        rng = patch_rng(seed=self.seed, group=group, row=row, copy=example)
        drawn = draw_augmentation(rng, augment)
        coarser = [mpp / self.spec.mpp for mpp in self.spec.mpps]
        return np.stack(
            [
                drawn.apply(stored, side_px=side, coarser=factor)
                for stored, factor in zip(scales, coarser, strict=True)
            ]
        )


def _corrected_indices(slide: SlidePatches, name: str) -> np.ndarray:
    """Indices of a slide's patches of a class that lie in groups of corrections, (N,) int64."""
    found, first = [np.zeros(0, np.int64)], 0
    for part in slide.parts.get(name, ()):
        if is_corrected(part):
            found.append(np.arange(first, first + part.count))
        first += part.count
    return np.concatenate(found)
