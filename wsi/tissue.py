"""Where on a slide there is tissue, at low resolution."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .geometry import floor_div
from .settings import TissueSettings
from .slide import Slide
from .stain import OpticalDensity, glass_colour

__all__ = ["TissueMask", "tissue_in_image", "tissue_mask"]

GREY_LIMIT = 0.8  # Liu et al. 2017: background where grey > 0.8
PALE_CHROMA = 0.045  # below, colour alone does not tell tissue from a tint, and texture must
PALE_TEXTURE = (
    0.004  # of density; glass has 0.001 and the slope of a shadow 0.002, faint mucus 0.005
)
TEXTURE_UM = 40.0  # side of the square in which texture is looked for
LINE_UM = 56.0  # a piece nowhere this wide is a fibre or the edge of a cover glass
INK_UM2 = 30_000.0  # a pen is broader; less may be a few blue nuclei or a pool of blood
INK_RIM_UM = 40.0  # side of the square by which ink grows: its blurred border is no tissue


@dataclass(frozen=True, kw_only=True)
class TissueMask:
    """Tissue of one slide: bool (rows, columns); pixel (r, c) covers a square of `scale_level0`
    level-0 px."""

    mask: np.ndarray
    scale_level0: float

    @cached_property
    def _integral(self) -> np.ndarray:
        return np.pad(self.mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def fraction(self, xy: np.ndarray, *, side_level0: float) -> np.ndarray:
        """Share of tissue in squares with top left xy (N, 2) level-0 (x, y): (N,) float32 in [0,
        1].

        Counted in whole mask pixels, at least one, of the part inside the mask; 0 where no part is.
        """
        start = np.floor(
            np.asarray(xy, np.float64).reshape(-1, 2) / self.scale_level0 + 0.5
        ).astype(np.int64)
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
    # Damage counts as tissue: whoever reads there at full size learns whether it can be read, and
    # says so.
    return TissueMask(mask=found | overview.unreadable, scale_level0=overview.scale_level0)


def tissue_in_image(image: np.ndarray, *, mpp: float, settings: TissueSettings) -> np.ndarray:
    """Tissue in an RGB uint8 (rows, columns, 3) image of mpp µm/px: bool (rows, columns)."""
    if settings.method == "grey":
        found = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) <= GREY_LIMIT * 255
    else:
        found = _stained(np.ascontiguousarray(image), mpp, settings)
    pixel_um2 = mpp * mpp
    found = _without_small(found, max_px=round(settings.min_area_um2 / pixel_um2))
    return ~_without_small(~found, max_px=round(settings.min_hole_um2 / pixel_um2))


def _stained(image: np.ndarray, mpp: float, settings: TissueSettings) -> np.ndarray:
    density = OpticalDensity.of(image, glass_colour(image))
    found = density.is_coloured & (
        (density.chroma > PALE_CHROMA) | (_texture(density.mean, mpp) > PALE_TEXTURE)
    )
    if settings.cut_ink:
        strokes = _without_small(density.is_ink, max_px=round(INK_UM2 / (mpp * mpp)))
        if strokes.any():
            ink = _pieces_with(strokes, density.may_be_ink | strokes)
            found &= ~_dilated(ink, px=_odd(INK_RIM_UM / mpp))
    return _pieces_with(_eroded(found, px=_odd(LINE_UM / mpp)), found)


def _texture(density: np.ndarray, mpp: float) -> np.ndarray:
    """Standard deviation in a square of TEXTURE_UM.

    Its logarithm is the local entropy of values spread normally, without the bins whose borders,
    crossed by noise, give flat glass an entropy of one bit.
    """
    side = (max(3, _odd(TEXTURE_UM / mpp)),) * 2
    mean, square = cv2.blur(density, side), cv2.sqrBoxFilter(density, cv2.CV_32F, side)
    return np.sqrt(np.maximum(square - mean * mean, 0))


def _without_small(mask: np.ndarray, *, max_px: int) -> np.ndarray:
    """The pieces, connected by sides, of more than max_px pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    is_kept = stats[:, cv2.CC_STAT_AREA] > max_px
    is_kept[0] = False
    return is_kept[np.asarray(labels, np.int32)]


def _pieces_with(seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The pieces of mask, connected by sides or corners, that hold a seed; seeds lie in mask."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    is_kept = np.zeros(count, bool)
    is_kept[np.asarray(labels, np.int32)[seeds]] = True
    is_kept[0] = False
    return is_kept[np.asarray(labels, np.int32)]


def _eroded(mask: np.ndarray, *, px: int) -> np.ndarray:
    return cv2.erode(mask.view(np.uint8), np.ones((px, px), np.uint8)).view(bool)


def _dilated(mask: np.ndarray, *, px: int) -> np.ndarray:
    return cv2.dilate(mask.view(np.uint8), np.ones((px, px), np.uint8)).view(bool)


def _odd(px: float) -> int:
    return 2 * floor_div(px, 2) + 1
