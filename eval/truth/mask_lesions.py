"""Lesions in a tumour mask, as the CAMELYON16 programs find them: for their definitions, and for
outlines too detailed.

Frames: level-0 px (x, y) outside; inside, raster px (row, column) of `pixel_level0` level-0 px,
origin (0, 0).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from ...wsi import ceil_div
from .measures import LesionMeasures, LesionRule
from .raster import clusters, rasterise

__all__ = ["MaskLesions", "Raster", "label_lesions", "lesions_on_raster"]

STRIP_PX = 2**20  # looked at together


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Px of a mask, and how a point finds its px."""

    pixel_level0: float
    """Level-0 px per raster px."""
    pixel_um: float
    """µm per raster px, or what a program takes for it."""
    lookup: Literal["truncate", "half to even"] = "truncate"
    """(x, y) / px is truncated; or (x, y) is cut to whole level-0 px, and then rounded, halves to
    the even px."""


@dataclass(frozen=True, kw_only=True)
class MaskLesions:
    """Lesions of one slide: labels (rows, columns) int32, 0 where there is none, and what each
    measures."""

    labels: np.ndarray
    raster: Raster
    measures: LesionMeasures

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Label under points: (N, 2) level-0 (x, y) → (N,) int64, 0 outside every lesion and
        outside the slide.

        One that finds its px just past the last row or column takes the last: see `past_the_end`.
        """
        cells = self._cells(xy)
        cells = np.where(self._is_past(cells), np.array(self.labels.shape) - 1, cells)
        inside = ((cells >= 0) & (cells < self.labels.shape)).all(axis=1)
        found = np.zeros(len(cells), np.int64)
        found[inside] = self.labels[tuple(cells[inside].astype(np.int64).T)]
        return found

    def past_the_end(self, xy: np.ndarray) -> np.ndarray:
        """Which points (N, 2) find their px just past the last row or column, an error in the
        program: (N,) bool.

        By rounding; or because a mask's level lacks the px that its slide does not fill.
        """
        return np.any(self._is_past(self._cells(xy)), axis=1)

    def _cells(self, xy: np.ndarray) -> np.ndarray:
        """(N, 2) (row, column), whole numbers held as float64."""
        points, px = np.asarray(xy, np.float64).reshape(-1, 2)[:, ::-1], self.raster.pixel_level0
        return (
            np.floor(points / px)
            if self.raster.lookup == "truncate"
            else np.rint(np.floor(points) / px)
        )

    def _is_past(self, cells: np.ndarray) -> np.ndarray:
        return cells == self.labels.shape


def label_lesions(mask: np.ndarray, raster: Raster, rule: LesionRule) -> MaskLesions:
    """Lesions in a tumour mask, bool (rows, columns)."""
    growth_px = rule.growth_um / raster.pixel_um
    if rule.has_phantom and not mask.any():
        labels = _phantom(mask.shape, growth_px=growth_px)
    else:
        labels = _grown(mask, growth_px=growth_px)
    return MaskLesions(labels=labels, raster=raster, measures=_measured(labels, mask, raster, rule))


def lesions_on_raster(
    parts: np.ndarray, raster: Raster, rule: LesionRule, *, slide_size: tuple[int, int]
) -> MaskLesions:
    """The same from polygons (N,), level-0 px: a px is tumour if its centre is; only surroundings
    are computed.

    slide_size is (width, height) in level-0 px: as in a mask of the slide, lesions end at its
    border.
    """
    shape = (
        ceil_div(slide_size[1], raster.pixel_level0),
        ceil_div(slide_size[0], raster.pixel_level0),
    )
    labels, drawn = np.zeros(shape, np.int32), np.zeros(shape, bool)
    growth_px = rule.growth_um / raster.pixel_um
    bounds = np.array([part.bounds for part in parts]).reshape(-1, 4) / raster.pixel_level0
    count = 0
    for members, window in (
        clusters(bounds, margin_px=ceil_div(growth_px, 1) + 1, shape=shape) if len(parts) else []
    ):
        mask = rasterise(parts[members], window, pixel_level0=raster.pixel_level0)
        found = _grown(mask, growth_px=growth_px)
        drawn[window.slices] |= mask
        labels[window.slices] += np.where(found > 0, found + count, 0).astype(np.int32)
        count += int(found.max(initial=0))
    if rule.has_phantom and not drawn.any():
        labels = _phantom(shape, growth_px=growth_px)
    return MaskLesions(
        labels=labels, raster=raster, measures=_measured(labels, drawn, raster, rule)
    )


def _grown(mask: np.ndarray, *, growth_px: float) -> np.ndarray:
    """Labels (rows, columns) int32 of the mask grown by less than growth_px, holes filled,
    8-connected."""
    if not mask.any():  # the distance to nothing is no distance: see _phantom
        return np.zeros(mask.shape, np.int32)
    grown, reach = mask.copy(), ceil_div(growth_px, 1) + 1
    # Distances take 40 bytes a px, and only those to tumour nearby matter.
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


def _phantom(shape: tuple[int, ...], *, growth_px: float) -> np.ndarray:
    """The lesion that nobody drew: SciPy measures the distance to nothing to a px above the top
    left one."""
    labels, reach = np.zeros(shape, np.int32), ceil_div(growth_px, 1)
    row, column = np.ogrid[:reach, :reach]
    labels[:reach, :reach] = (np.hypot(row + 1, column) < growth_px)[: shape[0], : shape[1]]
    return labels


def _measured(
    labels: np.ndarray, mask: np.ndarray, raster: Raster, rule: LesionRule
) -> LesionMeasures:
    count = int(labels.max(initial=0))
    drawn, sums = np.zeros(count + 1, np.int64), np.zeros((6, count + 1))
    for start, end in _strips(labels.shape):
        strip = labels[start:end]
        drawn += np.bincount(strip[mask[start:end]], minlength=count + 1)
        row, column = np.nonzero(strip)
        label, row = strip[row, column], row + start
        # Whole numbers below 2**53: the sums are exact.
        for total, value in zip(
            sums, (None, row, column, row * row, column * column, row * column), strict=True
        ):
            total += np.bincount(label, value, count + 1)
    area, y, x, yy, xx, xy = _means(sums[:, 1:])
    largest = (yy + xx) / 2 + np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    return LesionMeasures(
        area_um2=area * raster.pixel_um**2,
        drawn_um2=drawn[1:] * raster.pixel_um**2,
        major_axis_um=4 * np.sqrt(largest) * raster.pixel_um,
        centre_level0=(np.stack([x, y], axis=1) + 0.5) * raster.pixel_level0,
        rule=rule,
        raster_um=raster.pixel_um,
    )


def _means(sums: np.ndarray) -> tuple[np.ndarray, ...]:
    """Area, means and second central moments (yy, xx, xy) from sums (6, N) of 1, y, x, y²,
    x², xy."""
    area = sums[0]
    y, x, yy, xx, xy = sums[1:] / np.maximum(area, 1)
    return area, y, x, yy - y * y, xx - x * x, xy - x * y
