"""The pixels of planned patches, read from their slide."""

from collections.abc import Iterator

import numpy as np

from ..wsi import Slide
from .augment import draw_augmentation, patch_rng
from .normalise import StainFit, fit_stain
from .plan import SlidePlan
from .sampling import Candidates
from .settings import TileSettings
from .write import Pixels, rows_per_stack

__all__ = ["augmented_copies", "fitted_stains", "read_pixels"]

STAIN_PATCHES, STAIN_STEP = (
    48,
    4,
)  # so many patches, and every so many px of them, tell a slide's stain


def read_pixels(
    slide: Slide, rows: Candidates, settings: TileSettings, *, group: str, first: int = 0
) -> Iterator[tuple[int, Pixels]]:
    """(row, pixels) of rows, in the order that `write_rows` takes; unreadable ones are left out.

    group, slide/class, is where the rows will lie in the store, the first of them as its row
    `first`. No row's pixels depend on the other rows. They are views that share memory: copy them
    before asking for the next.
    """
    at_once = rows_per_stack(len(rows), settings.arrays)
    finest, *others = settings.scales.items()
    for start in range(0, len(rows), at_once):
        xy = rows.xy[start : start + at_once]
        further = {name: dict(_windows(slide, xy, settings, mpp=mpp)) for name, mpp in others}
        for index, window in _windows(slide, xy, settings, mpp=finest[1]):
            pixels = {
                finest[0]: window,
                **{name: windows[index] for name, windows in further.items()},
            }
            readable = {name: window for name, window in pixels.items() if window is not None}
            # A patch of several scales is read whole or not at all.
            if len(readable) == len(pixels):
                row = first + start + index
                yield row, _of_row(readable, settings, group=group, row=row)
        del further  # before those of the next stack are read


def _windows(
    slide: Slide, xy: np.ndarray, settings: TileSettings, *, mpp: float
) -> Iterator[tuple[int, np.ndarray | None]]:
    """(index, window), windows of mpp µm/px around the centres of those of the settings' mpp at
    level-0 xy."""
    scales = [
        slide.scale(value, allow_upsampling=settings.allow_upsampling)
        for value in (settings.mpp, mpp)
    ]
    reach = settings.stored_px * (scales[1].level0 - scales[0].level0) / 2
    corners = np.rint(xy - reach).astype(np.int64)
    return slide.read_windows(
        corners, size=settings.stored_px, mpp=mpp, allow_upsampling=settings.allow_upsampling
    )


def _of_row(
    windows: dict[str, np.ndarray], settings: TileSettings, *, group: str, row: int
) -> Pixels:
    if not settings.copies:
        return windows
    return {
        **windows,
        "augmented": augmented_copies(windows["images"], settings, group=group, row=row),
    }


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
    found = {index: window for index, window in windows if window is not None}
    pixels = [
        np.array(found[index][::STAIN_STEP, ::STAIN_STEP]).reshape(-1, 3) for index in sorted(found)
    ]
    sample = np.concatenate([np.zeros((0, 3), np.uint8), *pixels])
    return [fit_stain(sample, method) for method in settings.stain]


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
