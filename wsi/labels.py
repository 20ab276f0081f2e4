"""Share of tumour in squares, computed from polygons without a mask of the slide.

The rule is that of `raster`: a window px is tumour if its centre lies inside the annotated tumour.
"""

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from .raster import AT_ONCE_PX, PolygonRaster

__all__ = ["tumor_fractions"]

AT_ONCE = 100_000  # squares tested at a time: about 50 MB


def tumor_fractions(
    tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float, side_px: int
) -> np.ndarray:
    """Share of tumour px in squares: (N,) float32 in [0, 1]; above 0 means at least one px.

    tumor is in level-0 px; xy is (N, 2) float level-0 (x, y) of the top left corners; each square
    is side_level0 wide and holds side_px × side_px window px. Squares in rows of equal y are faster
    than scattered ones.
    """
    corners = np.asarray(xy, np.float64).reshape(-1, 2)
    fractions = np.zeros(len(corners), np.float32)
    if tumor.is_empty or not len(corners):
        return fractions
    raster = PolygonRaster(tumor)
    start, end = np.reshape(tumor.bounds, (2, 2))
    near = np.flatnonzero(((corners <= end) & (corners + side_level0 >= start)).all(axis=1))
    for first in range(0, len(near), AT_ONCE):
        rows = near[first : first + AT_ONCE]
        fractions[rows] = _fractions(
            raster, corners[rows], side_level0=side_level0, side_px=side_px
        )
    return fractions


def _fractions(
    raster: PolygonRaster, corners: np.ndarray, *, side_level0: float, side_px: int
) -> np.ndarray:
    on_line = raster.near_lines(shapely.box(*corners.T, *(corners + side_level0).T))
    fractions = np.zeros(len(corners), np.float32)
    # A square that meets no line is uniform, so its centre decides.
    fractions[~on_line] = shapely.contains_xy(
        raster.polygons, *(corners[~on_line] + side_level0 / 2).T
    )
    order = np.flatnonzero(on_line)
    order = order[np.argsort(corners[order, 1], kind="stable")]
    rows = np.split(order, np.flatnonzero(np.diff(corners[order, 1])) + 1) if len(order) else []
    many = max(1, AT_ONCE_PX // side_px**2)
    for row in rows:
        for first in range(0, len(row), many):
            some = row[first : first + many]
            x, y = corners[some, 0], float(corners[some[0], 1])
            mask = raster.windows(x, y, px_level0=side_level0 / side_px, shape=(side_px, side_px))
            counts = (
                mask.transpose(2, 0, 1)
                .view(np.uint8)
                .sum(axis=0, dtype=np.uint16)
                .sum(axis=1, dtype=np.int64)
            )
            fractions[some] = counts / side_px**2
    return fractions
