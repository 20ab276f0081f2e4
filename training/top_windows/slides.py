"""Slides to learn from: their windows with tissue, read straight from the slides."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import available_cores
from ...cohort import CohortSlide
from ...inference import fit_slide_stain, heatmap_grid, tissue_cells
from ...patching import OpenSlides
from ...storage import SettingsError, file_identity, location_exists
from ...wsi import CellStatus, Slide, StainFit, TileCache, ceil_div, open_slide, tissue_mask
from .settings import TopWindowSettings

__all__ = ["SlideWindows", "WindowSource", "identify_slide"]

logger = logging.getLogger(__name__)

MOST_OPEN = 32  # slides
CACHE_BYTES = 256 * 2**20  # of decoded tiles, of all slides together
READING_THREADS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideWindows:
    """Windows of one slide."""

    row: CohortSlide
    xy: np.ndarray
    """(N, 2) int64 top left corners, level-0 (x, y)."""
    stain: StainFit | None

    @property
    def is_tumor(self) -> bool:
        """True if the slide's label is tumor."""
        return self.row.label == "tumor"


class WindowSource:
    """Labelled slides whose windows are those that gigaslide predict scores."""

    def __init__(self, rows: Sequence[CohortSlide], settings: TopWindowSettings) -> None:
        """Find the windows of labelled slides; those without tissue are left out with a warning.

        Raises:
            SlideError, SpacingError: a slide cannot be used.
        """
        self.settings, self.spec = settings, settings.input_spec
        self._cache = TileCache(CACHE_BYTES)
        self._rows = {row.id: row for row in rows if row.label}
        self._open = OpenSlides(self._open_row, most=MOST_OPEN)
        found = [self._find(row) for row in self._rows.values()]
        self.slides = [slide for slide in found if len(slide.xy)]
        for slide in found:
            if not len(slide.xy):
                logger.warning("%s: has no window with tissue and is left out", slide.row.id)

    def check(self) -> None:
        """Raise SettingsError if a class has no slide."""
        for is_tumor, word in ((True, "tumour"), (False, "normal")):
            if not any(slide.is_tumor == is_tumor for slide in self.slides):
                raise SettingsError(
                    f"training from slide labels needs tumour and normal slides, and has no {word} "
                    "one with the split train; check labels and splits of the cohort"
                )

    def read(self, slide: SlideWindows, chosen: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield windows of a slide, by their indices: index and pixels (1, P, P, 3) uint8 RGB, in
        an order that suits its tiles. Those that cannot be read are passed over."""
        with self._open.borrow(slide.row.id) as opened:
            for place, scales in opened.read_concentric(
                slide.xy[chosen],
                self.spec,
                allow_upsampling=self.settings.allow_upsampling,
                threads=min(READING_THREADS, available_cores()),
            ):
                if scales is not None:
                    pixels = np.stack(scales)
                    fit = slide.stain
                    yield int(chosen[place]), pixels if fit is None else fit.apply(pixels)

    def normal_windows(self, count: int) -> np.ndarray:
        """Read up to so many windows of normal slides, spread over slides and tissue:
        (N, 1, P, P, 3) uint8; none if there is no such slide."""
        normal = [slide for slide in self.slides if not slide.is_tumor]
        found = []
        for slide in normal[:count]:
            each = min(len(slide.xy), ceil_div(count, len(normal)))
            spread = np.linspace(0, len(slide.xy) - 1, each).round().astype(np.int64)
            found += [np.array(pixels) for _, pixels in self.read(slide, spread)]
        side = self.settings.patch_px
        return np.stack(found[:count]) if found else np.zeros((0, 1, side, side, 3), np.uint8)

    def _find(self, row: CohortSlide) -> SlideWindows:
        predict = self.settings.predict_settings
        with self._open.borrow(row.id) as opened:
            grid = heatmap_grid(opened, predict, self.spec)
            status = tissue_cells(grid, tissue_mask(opened, predict.tissue), predict)
            xy = grid.windows_xy(np.argwhere(status == CellStatus.NOT_YET))
            stain = fit_slide_stain(opened, xy, self.spec, predict) if len(xy) else None
        return SlideWindows(row=row, xy=xy, stain=stain)

    def _open_row(self, slide_id: str) -> Slide:
        row = self._rows[slide_id]
        return open_slide(
            row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp, cache=self._cache
        )


def identify_slide(row: CohortSlide) -> dict[str, Any]:
    """Return what a training takes of a slide, for its recipe."""
    return {
        "split": row.split,
        "label": row.label,
        "mpp": row.mpp,
        "slide": file_identity(row.path) if location_exists(row.path) else str(row.path),
    }
