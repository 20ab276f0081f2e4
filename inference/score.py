"""One slide to one heatmap, with any `Predictor`. No network is imported here."""

from collections.abc import Callable, Iterator

import numpy as np

from ..models import Predictor
from ..wsi import (
    ORIENTATIONS,
    CellGrid,
    CellStatus,
    Heatmap,
    InputSpec,
    Slide,
    TissueMask,
    WindowSpec,
    orient,
    tissue_mask,
)
from .settings import PredictSettings

__all__ = [
    "heatmap_grid",
    "orientation_mean",
    "score_slide",
    "tissue_cells",
]


def score_slide(
    slide: Slide,
    predictor: Predictor,
    settings: PredictSettings,
    *,
    slide_id: str,
    on_slide: Callable[[int], object] | None = None,
    on_windows: Callable[[int], object] | None = None,
) -> Heatmap:
    """Slide a predictor over the tissue of a slide; windows at the border are padded with the
    slide's background.

    on_slide hears how many windows there are, on_windows how many were scored now. Cells without
    tissue, cells that cannot be read and cells where the model gave NaN are marked as such and have
    no probability.

    Raises:
        SpacingError: the slide is coarser than the model's µm/px.
    """
    grid = heatmap_grid(slide, settings, predictor.spec)
    status = tissue_cells(grid, tissue_mask(slide, settings.tissue), settings)
    probability = np.full(status.shape, np.nan, np.float32)
    cells = np.argwhere(status == CellStatus.NOT_YET)
    if on_slide is not None:
        on_slide(len(cells))
    windows = slide.read_concentric(
        grid.windows_xy(cells), predictor.spec, allow_upsampling=settings.allow_upsampling
    )
    per_call = max(1, settings.batch_size // settings.orientations)
    for rows, patches in _batches(windows, per_call):
        readable = np.array([patch is not None for patch in patches])
        scores = np.full(len(rows), np.nan, np.float32)
        if readable.any():
            stack = np.stack([np.stack(patch) for patch in patches if patch is not None])
            scores[readable] = orientation_mean(predictor, stack, settings, per_call=per_call)
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
        centre_px=predictor.spec.centre_px,
        slide_size=slide.size,
        slide_mpp=slide.info.mpp,
        model_hash=predictor.hash,
    )


def heatmap_grid(slide: Slide, settings: PredictSettings, spec: InputSpec) -> CellGrid:
    """Return the cells of a slide's heatmap for a network of that input.

    Raises:
        SpacingError: the slide is coarser than the finest scale.
    """
    scale = slide.scale(spec.mpp, allow_upsampling=settings.allow_upsampling)
    windows = WindowSpec(
        side_px=spec.patch_px,
        centre_px=spec.centre_px,
        stride_px=settings.stride_px or spec.centre_px,
        mpp=scale.mpp,
    )
    return windows.grid(width_level0=slide.info.width, height_level0=slide.info.height, scale=scale)


def tissue_cells(grid: CellGrid, tissue: TissueMask, settings: PredictSettings) -> np.ndarray:
    """Status of every cell before any is scored: (rows, columns) uint8, not yet over tissue, else
    background."""
    fraction = tissue.fraction(grid.centres_xy(grid.cells()), side_level0=grid.centre_level0)
    has_tissue = fraction.reshape(grid.rows, grid.columns) >= max(settings.min_tissue, 1e-6)
    return np.where(has_tissue, CellStatus.NOT_YET, CellStatus.BACKGROUND).astype(np.uint8)


def _batches(
    windows: Iterator[tuple[int, tuple[np.ndarray, ...] | None]], size: int
) -> Iterator[tuple[list[int], list[tuple[np.ndarray, ...] | None]]]:
    rows: list[int] = []
    patches: list[tuple[np.ndarray, ...] | None] = []
    for row, patch in windows:
        rows.append(row)
        patches.append(patch)
        if len(rows) == size:
            yield rows, patches
            rows, patches = [], []
    if rows:
        yield rows, patches


def orientation_mean(
    predictor: Predictor, patches: np.ndarray, settings: PredictSettings, *, per_call: int
) -> np.ndarray:
    """Average the tumour probability over orientations: (n, scales, S, S, 3) uint8 → (n,) float32.

    The network always takes per_call × orientations patches (the last are repeated), so that it is
    compiled once.
    """
    full = np.resize(patches, (per_call, *patches.shape[1:]))
    count = ORIENTATIONS if settings.orientations == ORIENTATIONS else 1
    scores = predictor(np.concatenate([orient(full, k) for k in range(count)]))
    tumor = scores[:, predictor.spec.tumor].astype(np.float64)
    return tumor.reshape(count, per_call).mean(axis=0)[: len(patches)].astype(np.float32)
