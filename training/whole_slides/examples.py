"""Batches of whole slides and of patches: balanced, turned, blurred or sharpened, padded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ...models import CELL_PX
from ...storage import SettingsError
from ...wsi import ORIENTATIONS, orient
from .picture import UNKNOWN, SlidePicture
from .settings import WholeSlideSettings

__all__ = ["PictureBatch", "Pictures", "blur_or_sharpen", "pad_picture"]

WHITE = 255
MOST_BLUR_PX = 1.5


@dataclass(frozen=True, kw_only=True)
class PictureBatch:
    """Pictures of one training step."""

    images: np.ndarray
    """(B, S, S, 3) uint8."""
    cells: np.ndarray
    """(B, S/16, S/16) float32: 1 for cells that count."""
    labels: np.ndarray
    """(B, F) float32: 1, 0, or -1 unknown."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Slides that a training learns from."""

    slides: Sequence[SlidePicture]
    settings: WholeSlideSettings
    side_px: int
    """Side of the square that whole slides are padded to."""
    has_blur: bool
    """Pictures are blurred or sharpened at random."""

    def refuse_one_class(self, *, has_patches: bool) -> None:
        """Pass if both classes can be learnt from.

        Raises:
            SettingsError: otherwise.
        """
        labels = [int(slide.findings[0]) for slide in self.slides]
        for value, word in ((1, "tumour"), (0, "normal")):
            if value not in labels:
                raise SettingsError(
                    f"training needs tumour and normal slides, and has no {word} one; check labels "
                    "and splits"
                )
            if has_patches and not len(self._places[value]):
                what = "outlined tumour" if value else "tissue known to be normal"
                raise SettingsError(
                    f"a curriculum begins with patches, and its training slides have no {what}; "
                    "give annotations"
                )

    @cached_property
    def _places(self) -> dict[int, np.ndarray]:
        """Cells to centre patches on by class, (M, 3) int64 (slide, row, column)."""
        found: dict[int, list[np.ndarray]] = {0: [], 1: []}
        for number, slide in enumerate(self.slides):
            for value in found:
                cells = np.argwhere((slide.tumor == value) & (slide.tissue | (value == 1)))
                found[value].append(np.insert(cells, 0, number, axis=1))
        return {value: np.concatenate(parts) for value, parts in found.items()}

    def whole(self, rng: np.random.Generator) -> Iterator[PictureBatch]:
        """Yield batches of whole slides without end: half with tumour, each class shuffled over and
        over."""
        labels = np.array([slide.findings[0] for slide in self.slides])
        streams = [_shuffle(np.flatnonzero(labels == value), rng) for value in (1, 0)]
        while True:
            count = self.settings.slides_per_step
            chosen = [next(streams[place % 2]) for place in range(count)]
            parts = [self._one_whole(self.slides[number], rng) for number in chosen]
            yield _stack(parts)

    def _one_whole(self, slide: SlidePicture, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        image, cells = pad_picture(slide, self.side_px)
        turn = int(rng.integers(ORIENTATIONS))
        image, cells = orient(image, turn), orient(cells[..., None], turn)[..., 0]
        return self._augment(image, rng), cells, slide.findings

    def patches(self, rng: np.random.Generator) -> Iterator[PictureBatch]:
        """Yield batches of patches without end: half centred on tumour, half on normal tissue."""
        while True:
            parts = []
            for place in range(self.settings.patches_per_step):
                places = self._places[(place + 1) % 2]
                slide, row, column = places[rng.integers(len(places))].tolist()
                parts.append(self._one_patch(self.slides[slide], row, column, rng))
            yield _stack(parts)

    def _one_patch(
        self, slide: SlidePicture, row: int, column: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, ...]:
        side = self.settings.patch_px // CELL_PX
        first = [
            min(max(0, place - side // 2), max(0, size - side))
            for place, size in zip((row, column), slide.tumor.shape, strict=True)
        ]
        inside = tuple(slice(start, start + side) for start in first)
        pixels = tuple(slice(CELL_PX * one.start, CELL_PX * one.stop) for one in inside)
        image = _pad(slide.image[pixels], self.settings.patch_px, WHITE)
        cells = _pad(np.ones_like(slide.tumor[inside], np.float32), side, 0)
        truth = slide.tumor[inside]
        labels = np.full(len(slide.findings), UNKNOWN)  # other findings have no outlines
        labels[0] = 1 if (truth == 1).any() else UNKNOWN if (truth == UNKNOWN).any() else 0
        turn = int(rng.integers(ORIENTATIONS))
        image, cells = orient(image, turn), orient(cells[..., None], turn)[..., 0]
        return self._augment(image, rng), cells, labels

    def _augment(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return blur_or_sharpen(image, rng) if self.has_blur else image


def pad_picture(slide: SlidePicture, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad a picture to a square: (S, S, 3) uint8, and (S/16, S/16) float32, 1 for its cells with
    tissue."""
    image = _pad(slide.image, side_px, WHITE)
    return image, _pad(slide.tissue.astype(np.float32), side_px // CELL_PX, 0)


def blur_or_sharpen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a third of the pictures, sharpen a third, leave a third: (H, W, 3) uint8."""
    kind, sigma = int(rng.integers(3)), float(rng.uniform(0.5, MOST_BLUR_PX))
    if kind == 0:
        return image
    image = np.ascontiguousarray(image)
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    return blurred if kind == 1 else cv2.addWeighted(image, 2.0, blurred, -1.0, 0.0)


def _shuffle(members: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(members).tolist()


def _pad(array: np.ndarray, side: int, value: int) -> np.ndarray:
    """Pad rows and columns to a side, at the end."""
    wanted = [(0, side - array.shape[axis]) for axis in (0, 1)] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, wanted, constant_values=value)


def _stack(parts: Sequence[tuple[np.ndarray, ...]]) -> PictureBatch:
    images, cells, labels = zip(*parts, strict=True)
    return PictureBatch(
        images=np.stack(images), cells=np.stack(cells), labels=np.stack(labels).astype(np.float32)
    )
