"""Pixels of planned patches, read from their slide."""

from collections.abc import Iterator

import numpy as np

from ..wsi import STAIN_PATCHES, Slide, StainFit, fit_stain_to_patches
from .augment import draw_augmentation, patch_rng
from .plan import SlidePlan
from .sampling import Candidates
from .settings import TileSettings
from .write import Pixels, rows_per_stack

__all__ = ["augmented_copies", "fitted_stains", "read_pixels"]


def read_pixels(
    slide: Slide, rows: Candidates, settings: TileSettings, *, group: str, first: int = 0
) -> Iterator[tuple[int, Pixels]]:
    """Read the pixels of rows: yields (row, pixels) in the order that `write_rows` takes.

    Unreadable rows are left out; a patch of several scales is read whole or not at all. group,
    slide/class, is where the rows will lie in the store, the first of them as its row `first`. No
    row's pixels depend on the other rows. They are views that share memory: copy them before
    asking for the next.
    """
    at_once = rows_per_stack(len(rows), settings.arrays)
    for start in range(0, len(rows), at_once):
        patches = slide.read_concentric(
            rows.xy[start : start + at_once],
            settings.input_spec,
            margin_px=settings.margin_px,
            allow_upsampling=settings.allow_upsampling,
        )
        for index, windows in patches:
            if windows is not None:
                row = first + start + index
                pixels = dict(zip(settings.scales, windows, strict=True))
                yield row, _add_copies(pixels, settings, group=group, row=row)


def _add_copies(
    pixels: dict[str, np.ndarray], settings: TileSettings, *, group: str, row: int
) -> Pixels:
    if not settings.copies:
        return pixels
    copies = augmented_copies(pixels["images"], settings, group=group, row=row)
    return {**pixels, "augmented": copies}


def fitted_stains(slide: Slide, plan: SlidePlan, settings: TileSettings) -> list[StainFit]:
    """The settings' stain normalisations, fitted to px of planned patches that are spread evenly
    over the slide."""
    if not settings.stain:
        return []
    xy = np.concatenate([rows.xy for rows in plan.chosen.values()])
    spread = np.unique(
        np.linspace(0, max(0, len(xy) - 1), min(len(xy), STAIN_PATCHES)).astype(np.int64)
    )
    windows = slide.read_windows(
        xy[spread],
        size=settings.stored_px,
        mpp=settings.mpp,
        allow_upsampling=settings.allow_upsampling,
    )
    # In the order of the plan, for the slide's own order is not promised to stay.
    found = {index: np.array(window) for index, window in windows if window is not None}
    patches = [found[index] for index in sorted(found)]
    return [fit_stain_to_patches(patches, method) for method in settings.stain]


def augmented_copies(
    window: np.ndarray, settings: TileSettings, *, group: str, row: int
) -> np.ndarray:
    """Copies 0 to K - 1 of one stored patch (P, P, 3): (K, patch_px, patch_px, 3) uint8."""
    draws = (
        draw_augmentation(
            patch_rng(seed=settings.seed, group=group, row=row, copy=copy), settings.augment
        )
        for copy in range(settings.copies)
    )
    return np.stack([draw.apply(window, side_px=settings.patch_px) for draw in draws])
