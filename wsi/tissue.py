"""Where on a slide there is tissue, at low resolution."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from .settings import TissueSettings
from .slide import Slide

__all__ = ["TissueMask", "tissue_in_image", "tissue_mask"]

GREY_LIMIT = 0.8  # Liu et al. 2017: background where grey > 0.8
GLASS_GREY = 0.75  # pixels at least this bright may be glass
DENSITY_LIMITS = (0.05, 0.12)  # below, the shadow of glass; above, nobody doubts it is tissue


@dataclass(frozen=True, kw_only=True)
class TissueMask:
    """Tissue of one slide: bool (rows, columns); pixel (r, c) covers a square of `scale_level0` level-0 px."""

    mask: np.ndarray
    scale_level0: float

    @cached_property
    def _integral(self) -> np.ndarray:
        return np.pad(self.mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def fraction(self, xy: np.ndarray, *, side_level0: float) -> np.ndarray:
        """Share of tissue in squares with top left xy (N, 2) level-0 (x, y): (N,) float32 in [0, 1].

        Counted in whole mask pixels, at least one, of the part inside the mask; 0 where no part is.
        """
        start = np.floor(np.asarray(xy, np.float64).reshape(-1, 2) / self.scale_level0 + 0.5).astype(np.int64)
        side = max(1, round(side_level0 / self.scale_level0))
        limit = np.array(self.mask.shape[::-1])
        x0, y0 = np.clip(start, 0, limit).T
        x1, y1 = np.clip(start + side, 0, limit).T
        total = self._integral
        inside = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
        return (inside / np.maximum(1, (x1 - x0) * (y1 - y0))).astype(np.float32)

    @property
    def is_empty(self) -> bool:
        return not self.mask.any()


def tissue_mask(slide: Slide, settings: TissueSettings) -> TissueMask:
    """The tissue of a slide. A slide without any gives an empty mask: a result, not an error."""
    overview = slide.overview(settings.mpp)
    mpp = slide.info.mpp * overview.scale_level0
    found = tissue_in_image(overview.image, mpp=mpp, settings=settings)
    # Damage counts as tissue: whoever reads there at full size learns whether it can be read, and says so.
    return TissueMask(mask=found | overview.unreadable, scale_level0=overview.scale_level0)


def tissue_in_image(image: np.ndarray, *, mpp: float, settings: TissueSettings) -> np.ndarray:
    """Tissue in an RGB uint8 (rows, columns, 3) image of mpp µm/px: bool (rows, columns)."""
    found = _dense(image) if settings.method == "density" else _grey(image) <= GREY_LIMIT
    pixel_um2 = mpp * mpp
    found = remove_small_objects(found, max_size=round(settings.min_area_um2 / pixel_um2))
    return remove_small_holes(found, max_size=round(settings.min_hole_um2 / pixel_um2))


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _dense(image: np.ndarray) -> np.ndarray:
    bright = image[_grey(image) >= GLASS_GREY]
    # A field cut out of tissue has no glass at all: then white is the best guess.
    has_glass = len(bright) >= 0.005 * image.shape[0] * image.shape[1]
    glass = np.percentile(bright, 90, axis=0) if has_glass else np.full(3, 255.0)
    density = -np.log10((image.astype(np.float32) + 1) / (glass.astype(np.float32) + 1)).mean(axis=2)
    density = cv2.GaussianBlur(density, (0, 0), 1.0)
    otsu = threshold_otsu(density) if density.min() < density.max() else 0.0
    return density > np.clip(otsu, *DENSITY_LIMITS)
