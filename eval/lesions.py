"""Lesions from annotated tumour, as CAMELYON16 counts them: grown, merged, isolated tumour cells set aside.

Frames: level-0 px (x, y) outside; inside, raster px (row, column) of `pixel_level0` level-0 px, origin (0, 0).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from shapely.geometry import MultiPolygon

from ..wsi import ceil_div, row_column
from .raster import clusters, rasterise
from .settings import EvaluateSettings

__all__ = ["LesionMeasures", "Lesions", "label_lesions", "lesions_of_annotation"]


@dataclass(frozen=True, kw_only=True)
class LesionMeasures:
    """One row a lesion, in the order of the labels 1..N. Lengths in raster px, `pixel_um` µm wide."""

    area_px: np.ndarray
    """(N,) int64, growth and filled holes included."""
    drawn_px: np.ndarray
    """(N,) int64, as annotated."""
    major_axis_px: np.ndarray
    """(N,) float64, 4 √(largest eigenvalue of the second central moments), growth included."""
    centre_level0: np.ndarray
    """(N, 2) float64 level-0 (x, y), centre of mass."""
    pixel_um: float
    itc_um: float

    def __len__(self) -> int:
        return len(self.area_px)

    @property
    def is_itc(self) -> np.ndarray:
        """(N,) bool: isolated tumour cells, too small to count as found or missed."""
        return self.major_axis_px < self.itc_um / self.pixel_um

    @property
    def drawn_mm2(self) -> np.ndarray:
        return self.drawn_px * (self.pixel_um**2 / 1e6)

    @property
    def major_axis_um(self) -> np.ndarray:
        return self.major_axis_px * self.pixel_um


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """Lesions of one slide: labels (rows, columns) int32, 0 where there is none, and what each measures."""

    labels: np.ndarray
    pixel_level0: float
    measures: LesionMeasures

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Label under points: (N, 2) level-0 (x, y) → (N,) int64, 0 outside every lesion and outside the slide."""
        cells = row_column(xy, origin_level0=(0.0, 0.0), stride_level0=self.pixel_level0)
        inside = ((cells >= 0) & (cells < self.labels.shape)).all(axis=1)
        found = np.zeros(len(cells), np.int64)
        found[inside] = self.labels[tuple(cells[inside].T)]
        return found


def label_lesions(mask: np.ndarray, *, pixel_level0: float, slide_mpp: float, settings: EvaluateSettings) -> Lesions:
    """Lesions in a tumour mask, bool (rows, columns), as the CAMELYON16 programs find them; none in an empty mask."""
    pixel_um = slide_mpp * pixel_level0
    labels = _grown(mask, growth_px=settings.growth_um / pixel_um)
    return _measured(labels, mask, pixel_level0=pixel_level0, pixel_um=pixel_um, itc_um=settings.itc_um)


def lesions_of_annotation(
    tumor: MultiPolygon, *, slide_size: tuple[int, int], slide_mpp: float, settings: EvaluateSettings
) -> Lesions:
    """The same from polygons in level-0 px, at `settings.lesion_mpp`; only the surroundings of tumour are computed.

    slide_size is (width, height) in level-0 px: as in a mask of the slide, lesions end at its border.
    """
    pixel_level0 = settings.lesion_mpp / slide_mpp
    shape = (ceil_div(slide_size[1], pixel_level0), ceil_div(slide_size[0], pixel_level0))
    labels, drawn = np.zeros(shape, np.int32), np.zeros(shape, bool)
    parts = np.asarray(tumor.geoms)
    growth_px = settings.growth_um / settings.lesion_mpp
    bounds = np.array([part.bounds for part in parts]).reshape(-1, 4) / pixel_level0
    count = 0
    for members, window in clusters(bounds, margin_px=ceil_div(growth_px, 1) + 1, shape=shape) if len(parts) else []:
        mask = rasterise(parts[members], window, pixel_level0=pixel_level0)
        found = _grown(mask, growth_px=growth_px)
        drawn[window.slices] |= mask
        labels[window.slices] += np.where(found > 0, found + count, 0).astype(np.int32)
        count += int(found.max(initial=0))
    return _measured(labels, drawn, pixel_level0=pixel_level0, pixel_um=settings.lesion_mpp, itc_um=settings.itc_um)


def _grown(mask: np.ndarray, *, growth_px: float) -> np.ndarray:
    """Labels (rows, columns) int32 of the mask grown by less than growth_px, holes filled, 8-connected."""
    if not mask.any():  # the distance to nothing would be measured to the corner: a lesion that nobody drew
        return np.zeros(mask.shape, np.int32)
    distance = np.asarray(ndimage.distance_transform_edt(~mask))
    grown = mask | (distance < growth_px)
    labels, _ = ndimage.label(ndimage.binary_fill_holes(grown), structure=np.ones((3, 3)))  # pyright: ignore
    return labels


def _measured(labels: np.ndarray, mask: np.ndarray, *, pixel_level0: float, pixel_um: float, itc_um: float) -> Lesions:
    row, column = np.nonzero(labels)
    label = labels[row, column]
    count = int(labels.max(initial=0))
    area = np.bincount(label, minlength=count + 1)[1:]

    def mean(value: np.ndarray) -> np.ndarray:
        return np.bincount(label, value, count + 1)[1:] / np.maximum(area, 1)

    y, x = mean(row), mean(column)
    dy, dx = row - y[label - 1], column - x[label - 1]
    yy, xx, xy = mean(dy * dy), mean(dx * dx), mean(dx * dy)
    largest = (yy + xx) / 2 + np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    measures = LesionMeasures(
        area_px=area,
        drawn_px=np.bincount(labels[mask], minlength=count + 1)[1:],
        major_axis_px=4 * np.sqrt(largest),
        centre_level0=(np.stack([x, y], axis=1) + 0.5) * pixel_level0,
        pixel_um=pixel_um,
        itc_um=itc_um,
    )
    return Lesions(labels=labels, pixel_level0=pixel_level0, measures=measures)
