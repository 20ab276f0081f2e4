"""One slide to one heatmap, with any `predict(patches) -> probabilities`. No network is imported
here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..wsi import (
    ORIENTATIONS,
    CellGrid,
    CellStatus,
    Heatmap,
    Slide,
    TissueMask,
    WindowSpec,
    orient,
    tissue_mask,
)
from .settings import PredictSettings

__all__ = [
    "Predict",
    "WindowModel",
    "heatmap_grid",
    "orientation_mean",
    "score_slide",
    "tissue_cells",
]

Predict = Callable[[np.ndarray], np.ndarray]
"""(N, side_px, side_px, 3) uint8 RGB → (N,) probabilities in [0, 1], NaN where it cannot say."""


@dataclass(frozen=True, kw_only=True)
class WindowModel:
    """A model as this room sees it: what it wants to see, and the function."""

    predict: Predict
    side_px: int
    centre_px: int
    mpp: float
    hash: str


def score_slide(
    slide: Slide,
    model: WindowModel,
    settings: PredictSettings,
    *,
    slide_id: str,
    on_slide: Callable[[int], object] | None = None,
    on_windows: Callable[[int], object] | None = None,
) -> Heatmap:
    """Slide the model over the tissue of a slide. Windows at the border are padded with the slide's
    background.

    on_slide hears how many windows there are, on_windows how many were scored now. Cells without
    tissue, cells that cannot be read and cells where the model gave NaN are marked as such and have
    no probability.

    Raises:
        SpacingError: the slide is coarser than the model's µm/px.
    """
    grid = heatmap_grid(
        slide, settings, side_px=model.side_px, centre_px=model.centre_px, mpp=model.mpp
    )
    status = tissue_cells(grid, tissue_mask(slide, settings.tissue), settings)
    probability = np.full(status.shape, np.nan, np.float32)
    cells = np.argwhere(status == CellStatus.NOT_YET)
    if on_slide is not None:
        on_slide(len(cells))
    windows = slide.read_windows(
        grid.windows_xy(cells),
        size=model.side_px,
        mpp=model.mpp,
        allow_upsampling=settings.allow_upsampling,
    )
    per_call = max(1, settings.batch // settings.orientations)
    for rows, patches in _batches(windows, per_call):
        readable = np.array([patch is not None for patch in patches])
        scores = np.full(len(rows), np.nan, np.float32)
        if readable.any():
            stack = np.stack([patch for patch in patches if patch is not None])
            scores[readable] = orientation_mean(model.predict, stack, settings, per_call=per_call)
        at = tuple(cells[rows].T)
        probability[at] = scores
        failed = np.where(readable, CellStatus.FAILED, CellStatus.UNREADABLE)
        status[at] = np.where(np.isnan(scores), failed, CellStatus.SCORED)
        if on_windows is not None:
            on_windows(len(rows))
    return Heatmap(
        slide=slide_id,
        probability=probability,
        status=status,
        origin_level0=(0.0, 0.0),
        stride_level0=grid.stride_level0,
        centre_level0=grid.centre_level0,
        centre_px=model.centre_px,
        slide_size=slide.size,
        slide_mpp=slide.info.mpp,
        model_hash=model.hash,
    )


def heatmap_grid(
    slide: Slide, settings: PredictSettings, *, side_px: int, centre_px: int, mpp: float
) -> CellGrid:
    """The cells of a slide's heatmap for a model of that geometry.

    Raises:
        SpacingError: the slide is coarser than mpp.
    """
    scale = slide.scale(mpp, allow_upsampling=settings.allow_upsampling)
    stride = settings.stride_px or centre_px
    spec = WindowSpec(side_px=side_px, centre_px=centre_px, stride_px=stride, mpp=scale.mpp)
    return spec.grid(width_level0=slide.info.width, height_level0=slide.info.height, scale=scale)


def tissue_cells(grid: CellGrid, tissue: TissueMask, settings: PredictSettings) -> np.ndarray:
    """Status of every cell before any is scored: (rows, columns) uint8, not yet over tissue, else
    background."""
    fraction = tissue.fraction(grid.centres_xy(grid.cells()), side_level0=grid.centre_level0)
    has_tissue = fraction.reshape(grid.rows, grid.columns) >= max(settings.min_tissue, 1e-6)
    return np.where(has_tissue, CellStatus.NOT_YET, CellStatus.BACKGROUND).astype(np.uint8)


def _batches(
    windows: Iterator[tuple[int, np.ndarray | None]], size: int
) -> Iterator[tuple[list[int], list[np.ndarray | None]]]:
    rows: list[int] = []
    patches: list[np.ndarray | None] = []
    for row, patch in windows:
        rows.append(row)
        patches.append(patch)
        if len(rows) == size:
            yield rows, patches
            rows, patches = [], []
    if rows:
        yield rows, patches


def orientation_mean(
    predict: Predict, windows: np.ndarray, settings: PredictSettings, *, per_call: int
) -> np.ndarray:
    """Arithmetic mean over the orientations of each window, from one read: (n, S, S, 3) uint8 →
    (n,) float32.

    The network always sees per_call × orientations windows (the last are repeated), so it is
    compiled once.
    """
    full = np.resize(windows, (per_call, *windows.shape[1:]))
    count = ORIENTATIONS if settings.orientations == ORIENTATIONS else 1
    scores = predict(np.concatenate([orient(full, k) for k in range(count)]))
    mean = np.asarray(scores, np.float64).reshape(count, per_call).mean(axis=0)
    return mean[: len(windows)].astype(np.float32)
