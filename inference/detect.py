"""Detections of a heatmap: its peaks, or its regions above a threshold."""

import numpy as np

from ..wsi import Detections, Heatmap, find_regions, floor_div
from .settings import PredictSettings

__all__ = ["find_detections", "find_peaks"]


def find_detections(heatmap: Heatmap, settings: PredictSettings) -> Detections:
    """Return the detections of one slide, the most probable first, with the area and the longest
    axis of the region above the threshold that each lies in.

    Peaks as in Liu et al. 2017, or one detection a region. A detection lies at the centre of its
    cell. The centre of a border cell may lie past the slide's edge; such a detection is moved onto
    the slide.
    """
    regions = find_regions(heatmap, threshold=settings.threshold)
    if settings.detect == "components":
        cells = regions.peaks[np.lexsort((*regions.peaks.T[::-1], -regions.highest))]
    else:
        radius_cells = settings.radius_um / (heatmap.stride_level0 * heatmap.slide_mpp)
        cells = find_peaks(
            heatmap.probability, radius_cells=radius_cells, threshold=settings.threshold
        )
    at = tuple(cells.T)
    region = regions.labels[at] - 1
    xy = np.clip(heatmap.cell_centres(cells), 0, np.asarray(heatmap.slide_size) - 1)
    return Detections.of_slide(
        heatmap.slide,
        xy,
        heatmap.probability[at],
        area_um2=np.round(regions.area_um2[region], 3),
        longest_um=np.round(regions.longest_um[region], 3),
    )


def find_peaks(probability: np.ndarray, *, radius_cells: float, threshold: float) -> np.ndarray:
    """Return peaks as (N, 2) int64 (row, column), by falling probability; NaN cells are never
    peaks.

    Equals this slow method: while a cell exceeds threshold, take the highest (the first in row
    order among equals) and set every cell within radius_cells of it, that distance included, to 0.
    """
    cells = np.argwhere(probability > threshold)
    order = np.argsort(-probability[tuple(cells.T)], kind="stable")
    radius_cells += 1e-6  # 6 cells that come out as 5.9999999 are 6
    reach = floor_div(radius_cells, 1)
    offset = np.arange(-reach, reach + 1)
    disc = np.hypot(*np.meshgrid(offset, offset)) <= radius_cells
    suppressed = np.zeros(np.add(probability.shape, 2 * reach), bool)
    peaks = []
    for row, column in cells[order]:
        if not suppressed[row + reach, column + reach]:
            peaks.append((row, column))
            suppressed[row : row + 2 * reach + 1, column : column + 2 * reach + 1] |= disc
    return np.array(peaks, np.int64).reshape(-1, 2)
