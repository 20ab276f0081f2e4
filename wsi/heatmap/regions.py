"""Regions of a heatmap: cells above a threshold that touch at an edge or a corner, and their
measures."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .heatmap import Heatmap

__all__ = ["HeatmapRegions", "find_regions"]


@dataclass(frozen=True, kw_only=True)
class HeatmapRegions:
    """Regions of one heatmap, R of them; label n is at index n - 1 of the measures."""

    labels: np.ndarray
    """(rows, columns) int32: 1..R, 0 outside of every region."""
    area_um2: np.ndarray
    """(R,) float64, without what lies past the slide's edges."""
    longest_um: np.ndarray
    """(R,) float64: 4 √(largest second central moment) of the cells as squares, which is the length
    of an ellipse and 1.15 sides of a square."""
    highest: np.ndarray
    """(R,) float64: highest probability."""
    mean: np.ndarray
    """(R,) float64: mean probability of the cells."""
    peaks: np.ndarray
    """(R, 2) int64 (row, column): the first cell of the highest probability."""

    def __len__(self) -> int:
        return len(self.area_um2)


def find_regions(heatmap: Heatmap, *, threshold: float) -> HeatmapRegions:
    """Find the regions of cells whose probability exceeds a threshold."""
    above = heatmap.probability > threshold  # False for NaN
    labels = np.empty(above.shape, np.int32)
    ndimage.label(above, np.ones((3, 3)), output=labels)
    count = int(labels.max(initial=0))
    cells = np.argwhere(above)
    region = labels[above] - 1
    probability = heatmap.probability[above].astype(np.float64)
    size = np.bincount(region, minlength=count)
    return HeatmapRegions(
        labels=labels,
        area_um2=np.bincount(region, heatmap.cell_areas_um2()[above], minlength=count),
        longest_um=_longest_axes(cells, region, size) * heatmap.stride_level0 * heatmap.slide_mpp,
        mean=np.bincount(region, probability, minlength=count) / size,
        **_find_peaks(cells, region, probability),
    )


def _find_peaks(
    cells: np.ndarray, region: np.ndarray, probability: np.ndarray
) -> dict[str, np.ndarray]:
    order = np.lexsort((-probability, region))  # stable: the first cell among equals
    first = order[np.unique(region[order], return_index=True)[1]]
    return {"highest": probability[first], "peaks": cells[first].astype(np.int64)}


def _longest_axes(cells: np.ndarray, region: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Longest axis of each region, in cells: the larger eigenvalue of the 2 × 2 second moments."""

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(region, values, minlength=len(size)) / size

    row, column = cells.T.astype(np.float64)
    row = row - mean(row)[region]
    column = column - mean(column)[region]
    # A cell is a square, whose own second moment is 1 / 12.
    down, across, mixed = mean(row**2) + 1 / 12, mean(column**2) + 1 / 12, mean(row * column)
    return 4 * np.sqrt((down + across) / 2 + np.hypot((down - across) / 2, mixed))
