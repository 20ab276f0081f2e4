"""Heatmap of a slide from values of its windows, on the grid that the windows lie on."""

import logging

import numpy as np

from ...wsi import CellStatus, Heatmap, SlideFeatures, ceil_div

__all__ = ["draw_windows"]

logger = logging.getLogger(__name__)


def draw_windows(
    features: SlideFeatures, values: np.ndarray, *, slide_score: float | None, model_hash: str
) -> Heatmap:
    """Return a heatmap with a cell for each window, concentric with it and one stride wide. Cells
    without a window are background. Where two windows share a cell, it has the higher value.

    values: (N,) in [0, 1]. slide_score: see `Heatmap.whole_slide_score`.
    """
    stride = features.stride_level0
    corners = features.xy + (features.side_level0 - stride) / 2
    origin = _find_origin(corners, stride)
    cells = np.floor((corners - origin) / stride + 0.5).astype(np.int64)
    first = np.minimum(cells.min(axis=0), 0) if len(cells) else np.zeros(2, np.int64)
    origin, cells = origin + first * stride, cells - first
    width, height = features.slide_size
    columns, rows = (
        max(1, ceil_div(size - start, stride), *(along + 1))
        for size, start, along in zip((width, height), origin, cells.T, strict=True)
    )
    probability = np.full((rows, columns), -1.0, np.float32)
    np.maximum.at(probability, (cells[:, 1], cells[:, 0]), values.astype(np.float32))
    is_scored = probability >= 0
    if is_scored.sum() < len(cells):
        logger.warning(
            "%s: %d of %d windows lie nearer to each other than one stride; of those in one cell, "
            "the highest is shown",
            features.slide,
            len(cells) - is_scored.sum(),
            len(cells),
        )
    return Heatmap(
        slide=features.slide,
        probability=np.where(is_scored, probability, np.float32(np.nan)),
        status=np.where(is_scored, CellStatus.SCORED, CellStatus.BACKGROUND).astype(np.uint8),
        origin_level0=(float(origin[0]), float(origin[1])),
        stride_level0=stride,
        centre_level0=min(stride, features.side_level0),
        centre_px=max(1, round(features.patch_px * min(1.0, stride / features.side_level0))),
        slide_size=features.slide_size,
        slide_mpp=features.slide_mpp,
        model_hash=model_hash,
        whole_slide_score=slide_score,
    )


def _find_origin(corners: np.ndarray, stride: float) -> np.ndarray:
    """Return the corner of a cell near (0, 0), level-0 (x, y): that of the slide, unless the grid
    of the windows has another phase."""
    if not len(corners):
        return np.zeros(2)
    angles = np.exp(2j * np.pi * corners / stride)
    phase = np.angle(angles.mean(axis=0)) / (2 * np.pi) * stride
    return np.where(np.abs(phase) <= 1, 0.0, phase)
