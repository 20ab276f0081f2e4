"""Lesions in a tumour mask, found as the CAMELYON16 programs do.

Frames: points are level-0 px (x, y); masks and labels are (row, column) of raster px, which are
`pixel_level0` level-0 px wide, origin (0, 0).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from shapely.geometry import MultiPolygon
from skimage.measure import regionprops

from ...wsi import PolygonRaster, ceil_div
from .measures import LesionMeasures, LesionRule

__all__ = ["SAME_SHARE", "MaskLesions", "Raster", "draw_polygons", "label_mask", "measure_labels"]

SAME_SHARE = 0.05  # a mask has the wanted downsample if it differs by less than this
STRIP_PX = 2**20  # the distance transform takes 40 bytes a px


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Size of the px of a mask."""

    pixel_level0: float
    """Level-0 px per raster px."""
    pixel_um: float
    """µm per raster px."""


@dataclass(frozen=True, kw_only=True)
class MaskLesions:
    """Labelled lesions of one slide and their measures."""

    labels: np.ndarray
    """(rows, columns) int32, 0 outside every lesion."""
    raster: Raster
    measures: LesionMeasures

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Return the label under points: (N, 2) level-0 (x, y) → (N,) int64, 0 for none."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)[:, ::-1]
        return look_up(self.labels, np.floor(points / self.raster.pixel_level0))


def look_up(labels: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the labels of cells (N, 2) (row, column), whole float64: (N,) int64, 0 outside.

    A cell just past the last row or column takes the last: a mask may lack the px that its slide
    does not fill.
    """
    cells = np.where(cells == labels.shape, np.array(labels.shape) - 1, cells)
    is_inside = ((cells >= 0) & (cells < labels.shape)).all(axis=1)
    found = np.zeros(len(cells), np.int64)
    found[is_inside] = labels[tuple(cells[is_inside].astype(np.int64).T)]
    return found


def label_mask(mask: np.ndarray, raster: Raster, rule: LesionRule) -> MaskLesions:
    """Label the lesions of a tumour mask, bool (rows, columns)."""
    labels = _grow(mask, growth_px=rule.growth_um / raster.pixel_um)
    measures = measure_labels(labels, mask, raster, rule)
    return MaskLesions(labels=labels, raster=raster, measures=measures)


def draw_polygons(
    tumor: MultiPolygon, *, pixel_level0: float, slide_size: tuple[int, int]
) -> np.ndarray:
    """Draw tumour, level-0 px, on a mask of the slide of (width, height) level-0 px: bool (rows,
    columns), True where the centre of a px is inside."""
    width, height = (ceil_div(side, pixel_level0) for side in slide_size)
    return PolygonRaster(tumor).window((0, 0), px_level0=pixel_level0, shape=(height, width))


def measure_labels(
    labels: np.ndarray, mask: np.ndarray, raster: Raster, rule: LesionRule
) -> LesionMeasures:
    """Measure labels (rows, columns) int32 that were grown from a mask, bool."""
    regions = regionprops(labels)
    centre = np.array([region.centroid for region in regions]).reshape(-1, 2)[:, ::-1]
    drawn = np.bincount(labels[mask], minlength=len(regions) + 1)[1:]
    return LesionMeasures(
        area_um2=np.array([region.area for region in regions], float) * raster.pixel_um**2,
        drawn_um2=drawn * raster.pixel_um**2,
        major_axis_um=np.array([one.axis_major_length for one in regions], float) * raster.pixel_um,
        centre_level0=(centre + 0.5) * raster.pixel_level0,
        rule=rule,
        raster_um=raster.pixel_um,
    )


def _grow(mask: np.ndarray, *, growth_px: float) -> np.ndarray:
    """Label the mask grown by less than growth_px, holes filled, 8-connected: int32."""
    if not mask.any():  # SciPy would measure the distance to a px beyond the corner
        return np.zeros(mask.shape, np.int32)
    grown, reach = mask.copy(), ceil_div(growth_px, 1) + 1
    for start, end in _strips(mask.shape):
        first = max(0, start - reach)
        part = mask[first : end + reach]
        if part.any():
            distance = np.asarray(ndimage.distance_transform_edt(~part))
            grown[start:end] |= distance[start - first : end - first] < growth_px
    labels, _ = ndimage.label(ndimage.binary_fill_holes(grown), structure=np.ones((3, 3)))  # pyright: ignore
    return labels


def _strips(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Rows [start, end) of about STRIP_PX px."""
    rows = max(64, STRIP_PX // max(1, shape[1]))
    for start in range(0, shape[0], rows):
        yield start, min(shape[0], start + rows)
