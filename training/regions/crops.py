"""Crops of outlined slides, read straight from the slides, with what is known of their px."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...cohort import CohortSlide
from ...patching import Augmentation, OpenSlides, draw_augmentation
from ...storage import SettingsError, SlideError
from ...wsi import Slide, TileCache, open_slide, orient
from .annotated import AnnotatedSlide, load_annotated
from .settings import RegionSettings

__all__ = ["CropSource", "Crops"]

MOST_OPEN = 32  # slides
CACHE_BYTES = 256 * 2**20  # of decoded tiles, of all slides together
OFF_CENTRE = 0.375
"""Share of a crop by which it may lie beside its place, in x and y; the place is still inside."""
ATTEMPTS = 20
FIXED = 2**31  # seeds of crops that are always the same; steps of a training stay below


@dataclass(frozen=True)
class Crops:
    """Crops (N, S, S, 3) uint8 RGB, what is known of them (N, S, S, 2) uint8, wanted and looked at,
    0 or 1, and the ids of their slides."""

    images: np.ndarray
    known: np.ndarray
    slides: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


class CropSource:
    """Draws crops from outlined slides. What it draws depends on a number and its arguments alone,
    so a training that was stopped sees the same crops."""

    def __init__(
        self, rows: Sequence[CohortSlide], settings: RegionSettings, *, seed: int = 0
    ) -> None:
        """Load what is known of slides; those of which nothing is are left out.

        Raises:
            SlideError, AnnotationError, SpacingError: see `load_annotated`.
        """
        self.settings, self.seed = settings, seed
        self._cache = TileCache(CACHE_BYTES)
        self._rows = {row.id: row for row in rows}
        self._open = OpenSlides(self._open_row, most=MOST_OPEN)
        self.slides: list[AnnotatedSlide] = []
        for row in rows:
            with self._open.borrow(row.id) as opened:
                found = load_annotated(row, opened, settings)
            if found is not None and len(found.positive) + len(found.anywhere):
                self.slides.append(found)

    def with_seed(self, seed: int) -> "CropSource":
        """Return the same slides with another seed."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def __len__(self) -> int:
        return len(self.slides)

    def check(self) -> None:
        """Raise SettingsError if nothing wanted is outlined on any slide."""
        if any(len(slide.positive) for slide in self.slides):
            return
        raise SettingsError(
            "no training slide has an outline of what is to be learnt; outline some, give the "
            "split train, or name the class with --regions.groups, such as --regions.groups.Gland "
            "tumor"
        )

    def draw(self, number: int) -> Crops:
        """Draw batch `number`: a share of its crops around places in the wanted regions, slides
        uniformly, places uniformly, each in a random orientation and colours."""
        settings = self.settings
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(settings.batch_size)
        wanted = order < round(settings.positive * settings.batch_size)
        return self._stack([self._draw_one(rng, bool(one)) for one in wanted])

    def fixed(self, count: int, *, positive: bool) -> Crops:
        """Return up to that many crops that are always the same and not augmented, one slide after
        the other; around places in the wanted regions where there are any, or anywhere."""
        rng = np.random.default_rng([self.seed, FIXED])
        found, tried = [], 0
        while self.slides and len(found) < count and tried < ATTEMPTS * count:
            slide = self.slides[tried % len(self.slides)]
            tried += 1
            places = slide.positive if positive and len(slide.positive) else slide.anywhere
            if not len(places):
                continue
            crop = self._read(slide, places[rng.integers(len(places))], np.zeros(2))
            if crop is not None:
                found.append((slide.id, *crop))
        return self._stack(found)

    def _draw_one(
        self, rng: np.random.Generator, positive: bool
    ) -> tuple[str, np.ndarray, np.ndarray]:
        def places_of(slide: AnnotatedSlide) -> np.ndarray:
            return slide.positive if positive else slide.anywhere

        slides = [slide for slide in self.slides if len(places_of(slide))]
        slides = slides or [slide for slide in self.slides if len(slide.positive)]
        for _ in range(ATTEMPTS):
            slide = slides[rng.integers(len(slides))]
            places = places_of(slide) if len(places_of(slide)) else slide.positive
            place = places[rng.integers(len(places))]
            offset = rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2)
            drawn = draw_augmentation(rng, self.settings.augment)
            crop = self._read(slide, place, offset)
            if crop is not None:
                return slide.id, *_augment(*crop, drawn)
        raise SlideError(
            f"{slides[0].row.path}: none of {ATTEMPTS} crops of this and other slides could be "
            "read; copy the files again"
        )

    def _read(
        self, slide: AnnotatedSlide, place: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Read the crop around a place, level-0 (x, y), moved by a share of its side; None where
        it cannot be read."""
        side, px = self.settings.crop_px, slide.scale.level0
        corner = np.rint(place / px + (offset - 0.5) * side) * px
        with self._open.borrow(slide.id) as opened:
            windows = opened.read_windows(
                np.rint(corner).astype(np.int64)[None],
                size=side,
                mpp=self.settings.mpp,
                allow_upsampling=self.settings.allow_upsampling,
            )
            window = next(iter(windows))[1]
            if window is None:
                return None
            image = np.array(window) if slide.stain is None else slide.stain.apply(window)
        return image, slide.truth((float(corner[0]), float(corner[1])), side_px=side)

    def _stack(self, crops: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Crops:
        side = self.settings.crop_px
        return Crops(
            images=np.stack([image for _, image, _ in crops])
            if crops
            else np.zeros((0, side, side, 3), np.uint8),
            known=np.stack([known for *_, known in crops])
            if crops
            else np.zeros((0, side, side, 2), np.uint8),
            slides=tuple(slide for slide, *_ in crops),
        )

    def _open_row(self, slide_id: str) -> Slide:
        row = self._rows[slide_id]
        return open_slide(
            row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp, cache=self._cache
        )


def _augment(
    image: np.ndarray, known: np.ndarray, drawn: Augmentation
) -> tuple[np.ndarray, np.ndarray]:
    """Change a crop, and turn what is known of it alike."""
    changed = drawn.apply(image, side_px=len(image))
    return changed, np.ascontiguousarray(orient(known, drawn.orientation))
