"""Detection of tissue at low resolution."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from skimage.morphology import remove_small_holes, remove_small_objects

from .geometry import floor_div
from .raster import PolygonRaster
from .settings import TissueSettings
from .slide import Slide
from .stain import OpticalDensity, find_glass_colour

__all__ = ["TissueMask", "tissue_in_image", "tissue_mask"]

GREY_LIMIT = 0.8  # Liu et al. 2017: background where grey > 0.8
PALE_CHROMA = 0.045  # below this, tissue needs texture as well, because glass may have a tint
# Of optical density: glass has 0.001, the slope of a shadow 0.002, faint mucus 0.005.
PALE_TEXTURE = 0.004
TEXTURE_UM = 40.0  # side of the square that texture is computed in
LINE_UM = 56.0  # a piece nowhere this wide is a fibre or the edge of a cover glass
INK_UM2 = 30_000.0  # a smaller piece may be a few blue nuclei or a pool of blood
INK_RIM_UM = 40.0  # side of the square by which ink grows, to remove its blurred border


@dataclass(frozen=True, kw_only=True)
class TissueMask:
    """Tissue of one slide: bool (rows, columns); px (r, c) covers a square of `scale_level0`
    level-0 px."""

    mask: np.ndarray
    scale_level0: float

    @cached_property
    def _integral(self) -> np.ndarray:
        return np.pad(self.mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def fraction(self, xy: np.ndarray, *, side_level0: float) -> np.ndarray:
        """Share of tissue in squares with top left xy (N, 2) level-0 (x, y): (N,) float32 in [0,
        1].

        Squares are rounded to whole mask px, at least one. Only the part inside the mask counts; a
        square wholly outside has 0.
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

    def share_of(self, area: MultiPolygon) -> float:
        """Return the share of an area, level-0 px, that lies on tissue.

        What lies outside the mask is not on tissue. Areas without the centre of a mask px count by
        a point of each of their polygons.
        """
        if area.is_empty:
            return 0.0
        rows, columns = self.mask.shape
        whole = shapely.box(0, 0, columns * self.scale_level0, rows * self.scale_level0)
        in_mask = shapely.intersection(area, whole).area / area.area
        inside = PolygonRaster(area).window(
            (0.0, 0.0), px_level0=self.scale_level0, shape=(rows, columns)
        )
        if inside.any():
            return float(self.mask[inside].mean()) * in_mask
        polygons = np.array(area.geoms, object)
        points = shapely.get_coordinates(shapely.point_on_surface(polygons))
        on_tissue = self.fraction(points - self.scale_level0 / 2, side_level0=self.scale_level0)
        return float(np.average(on_tissue, weights=shapely.area(polygons)))

    @property
    def is_empty(self) -> bool:
        return not self.mask.any()

    @property
    def area_level0(self) -> float:
        """Area of the tissue, level-0 px²."""
        return float(self.mask.sum()) * self.scale_level0**2


def tissue_mask(slide: Slide, settings: TissueSettings) -> TissueMask:
    """Detect the tissue of a slide. A slide without tissue gives an empty mask, not an error."""
    overview = slide.overview(settings.mpp)
    mpp = slide.info.mpp * overview.scale_level0
    found = tissue_in_image(overview.image, mpp=mpp, settings=settings)
    # Unreadable parts count as tissue, so that a stage tries them at full size and reports them.
    return TissueMask(mask=found | overview.unreadable, scale_level0=overview.scale_level0)


def tissue_in_image(image: np.ndarray, *, mpp: float, settings: TissueSettings) -> np.ndarray:
    """Detect tissue in an RGB uint8 (rows, columns, 3) image of mpp µm/px: bool (rows, columns)."""
    if settings.method == "grey":
        found = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) <= GREY_LIMIT * 255
    else:
        found = _find_stained(np.ascontiguousarray(image), mpp, settings)
    pixel_um2 = mpp * mpp
    found = remove_small_objects(found, max_size=round(settings.min_area_um2 / pixel_um2))
    return remove_small_holes(found, max_size=round(settings.min_hole_um2 / pixel_um2))


def _find_stained(image: np.ndarray, mpp: float, settings: TissueSettings) -> np.ndarray:
    density = OpticalDensity.from_image(image, find_glass_colour(image))
    found = density.is_coloured & (
        (density.chroma > PALE_CHROMA) | (_texture(density.mean, mpp) > PALE_TEXTURE)
    )
    if settings.cut_ink:
        strokes = remove_small_objects(density.is_ink, max_size=round(INK_UM2 / (mpp * mpp)))
        if strokes.any():
            ink = _keep_pieces(density.may_be_ink | strokes, seeds=strokes)
            found &= ~_dilate(ink, px=_odd(INK_RIM_UM / mpp))
    return _keep_pieces(found, seeds=_erode(found, px=_odd(LINE_UM / mpp)))


def _texture(density: np.ndarray, mpp: float) -> np.ndarray:
    """Standard deviation in a square of TEXTURE_UM.

    For normally distributed values it is the exponential of local entropy, without entropy's
    histogram, whose bin borders give flat glass an entropy of one bit.
    """
    side = (max(3, _odd(TEXTURE_UM / mpp)),) * 2
    mean, square = cv2.blur(density, side), cv2.sqrBoxFilter(density, cv2.CV_32F, side)
    return np.sqrt(np.maximum(square - mean * mean, 0))


def _keep_pieces(mask: np.ndarray, *, seeds: np.ndarray) -> np.ndarray:
    """Keep the pieces of mask, connected by sides or corners, that hold a seed; seeds lie in
    mask."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    is_kept = np.zeros(count, bool)
    is_kept[np.asarray(labels, np.int32)[seeds]] = True
    is_kept[0] = False
    return is_kept[np.asarray(labels, np.int32)]


def _erode(mask: np.ndarray, *, px: int) -> np.ndarray:
    return cv2.erode(mask.view(np.uint8), np.ones((px, px), np.uint8)).view(bool)


def _dilate(mask: np.ndarray, *, px: int) -> np.ndarray:
    return cv2.dilate(mask.view(np.uint8), np.ones((px, px), np.uint8)).view(bool)


def _odd(px: float) -> int:
    return 2 * floor_div(px, 2) + 1
