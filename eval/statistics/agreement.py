"""Agreement of two models' heatmaps, cell by cell."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...wsi import Heatmap

__all__ = ["HeatmapAgreement", "measure_agreement"]

GEOMETRY = ("stride_level0", "origin_level0", "slide_size")


@dataclass(frozen=True, kw_only=True)
class HeatmapAgreement:
    """Agreement of two models' probabilities, over the cells that both have scored."""

    slides: int
    cells: int
    correlation: float | None
    """Pearson's, over all cells together; None if one model gives every cell the same value."""
    mean_difference: float
    """Mean of the absolute differences."""
    largest_difference: float
    largest_on: str
    """Slide with the largest absolute difference."""
    largest_at: tuple[int, int]
    """(x, y) of the centre of its cell, level-0 px."""
    not_comparable: tuple[str, ...] = ()
    """Slides whose heatmaps have other cells (stride, origin or slide size)."""


def measure_agreement(pairs: Iterable[tuple[Heatmap, Heatmap]]) -> HeatmapAgreement | None:
    """Compare heatmaps, a pair for each slide; None if there is nothing to say of any."""
    slides, cells, sums, absolute = 0, 0, np.zeros(5), 0.0
    largest, where, others = -1.0, ("", (0, 0)), []
    for one, two in pairs:
        if not _has_same_cells(one, two):
            others.append(one.slide)
            continue
        both = one.scored & two.scored
        if not both.any():
            continue
        a, b = (heatmap.probability[both].astype(np.float64) for heatmap in (one, two))
        differences = np.abs(a - b)
        slides, cells, absolute = slides + 1, cells + a.size, absolute + differences.sum()
        # Less 0.5, so that little is lost where all probabilities are alike.
        a, b = a - 0.5, b - 0.5
        sums += (a.sum(), b.sum(), a @ a, b @ b, a @ b)
        highest = int(differences.argmax())
        if differences[highest] > largest:
            x, y = one.cell_centres(np.argwhere(both)[[highest]])[0]
            largest, where = float(differences[highest]), (one.slide, (int(x), int(y)))
    if not cells and not others:
        return None
    return HeatmapAgreement(
        slides=slides,
        cells=cells,
        correlation=_correlation(sums, cells),
        mean_difference=float(absolute / max(1, cells)),
        largest_difference=max(0.0, largest),
        largest_on=where[0],
        largest_at=where[1],
        not_comparable=tuple(others),
    )


def _has_same_cells(one: Heatmap, two: Heatmap) -> bool:
    return one.probability.shape == two.probability.shape and all(
        np.allclose(getattr(one, name), getattr(two, name), rtol=1e-6, atol=1e-3)
        for name in GEOMETRY
    )


def _correlation(sums: np.ndarray, cells: int) -> float | None:
    a, b, aa, bb, ab = sums / max(1, cells)
    variances = (aa - a * a, bb - b * b)
    if min(variances) <= 1e-14:
        return None
    return float(np.clip((ab - a * b) / np.sqrt(variances[0] * variances[1]), -1, 1))
