"""Cells of a slide, and the probabilities of their windows by any `Predictor`."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models import Predictor
from ..wsi import (
    STAIN_PATCHES,
    CellGrid,
    CellStatus,
    InputSpec,
    Region,
    Slide,
    StainFit,
    TissueMask,
    WindowSpec,
    fit_stain_to_patches,
    orient,
    tissue_mask,
)
from .read_ahead import read_ahead
from .settings import PredictSettings, WindowSettings

__all__ = [
    "WindowScores",
    "cells_per_call",
    "find_cells",
    "fit_slide_stain",
    "heatmap_fields",
    "heatmap_grid",
    "leave_out_cells",
    "score_windows",
    "tissue_cells",
]


def find_cells(
    slide: Slide, spec: InputSpec, settings: PredictSettings
) -> tuple[CellGrid, np.ndarray]:
    """Return the cells of a slide's heatmap, and their status before any is scored, see
    `tissue_cells`.

    Raises:
        SpacingError: the slide is coarser than the finest scale.
    """
    grid = heatmap_grid(slide, settings, spec)
    return grid, tissue_cells(grid, tissue_mask(slide, settings.tissue), settings)


def fit_slide_stain(
    slide: Slide, xy: np.ndarray, spec: InputSpec, settings: WindowSettings
) -> StainFit | None:
    """Fit the stain normalisation of a network to windows spread over a slide; None where it takes
    pixels as scanned.

    xy: top left corners of all windows, (N, 2) integer level-0 (x, y) of the finest scale.
    """
    if spec.stain is None:
        return None
    spread = np.linspace(0, max(0, len(xy) - 1), min(len(xy), STAIN_PATCHES)).astype(np.int64)
    windows = slide.read_windows(
        xy[np.unique(spread)],
        size=spec.patch_px,
        mpp=spec.mpp,
        allow_upsampling=settings.allow_upsampling,
    )
    found = {index: np.array(window) for index, window in windows if window is not None}
    return fit_stain_to_patches((found[index] for index in sorted(found)), spec.stain)


def heatmap_grid(slide: Slide, settings: PredictSettings, spec: InputSpec) -> CellGrid:
    """Return the cells of a slide's heatmap for a network of that input.

    Raises:
        SpacingError: the slide is coarser than the finest scale.
    """
    scale = slide.scale(spec.mpp, allow_upsampling=settings.allow_upsampling, network="model")
    windows = WindowSpec(
        side_px=spec.patch_px,
        centre_px=spec.centre_px,
        stride_px=settings.stride_px or spec.centre_px,
        mpp=scale.mpp,
    )
    return windows.grid(width_level0=slide.info.width, height_level0=slide.info.height, scale=scale)


def tissue_cells(grid: CellGrid, tissue: TissueMask, settings: WindowSettings) -> np.ndarray:
    """Return the status of every cell before any is scored, (rows, columns) uint8: NOT_YET where
    there is enough tissue, else BACKGROUND."""
    fraction = tissue.fraction(grid.centres_xy(grid.cells()), side_level0=grid.centre_level0)
    has_tissue = fraction.reshape(grid.rows, grid.columns) >= max(settings.min_tissue, 1e-6)
    return np.where(has_tissue, CellStatus.NOT_YET, CellStatus.BACKGROUND).astype(np.uint8)


def leave_out_cells(grid: CellGrid, status: np.ndarray, within: Region) -> np.ndarray:
    """Return a status in which cells whose centre lies outside a part of the slide are BACKGROUND;
    (rows, columns) uint8 as status."""
    x, y = (grid.centres_xy(grid.cells()) + grid.centre_level0 / 2).T
    inside = (x >= within.x) & (x < within.x + within.width)
    inside &= (y >= within.y) & (y < within.y + within.height)
    return np.where(inside.reshape(status.shape), status, CellStatus.BACKGROUND).astype(np.uint8)


def heatmap_fields(slide: Slide, grid: CellGrid) -> dict[str, Any]:
    """Return the fields of `Heatmap` that are known before any cell is scored."""
    return {
        "origin_level0": (0.0, 0.0),
        "stride_level0": grid.stride_level0,
        "centre_level0": grid.centre_level0,
        "centre_px": grid.spec.centre_px,
        "slide_size": slide.size,
        "slide_mpp": slide.info.mpp,
    }


def cells_per_call(settings: PredictSettings) -> int:
    """Number of cells that one call of the network scores, in all their orientations."""
    return max(1, settings.batch_size // settings.orientations)


@dataclass(frozen=True, kw_only=True)
class WindowScores:
    """Scores of N windows; NaN for those without."""

    probability: np.ndarray
    """(N,) float32, the mean over orientations and members."""
    status: np.ndarray
    """(N,) uint8, values of `CellStatus`."""
    spread: np.ndarray | None = None
    """(N,) float32, see `Heatmap.spread`."""


def score_windows(
    slide: Slide,
    xy: np.ndarray,
    predictor: Predictor,
    settings: PredictSettings,
    *,
    stain: StainFit | None = None,
    threads: int = 1,
) -> WindowScores:
    """Score windows with top left corners xy, (N, 2) integer level-0 (x, y) of the finest scale.

    stain is the fit of the slide, for a network that takes normalised pixels.

    A thread reads the next batches, decoding tiles on up to `threads` threads, while the network
    computes. At most four batches are in memory.
    """
    probability = np.full(len(xy), np.nan, np.float32)
    spread = np.full(len(xy), np.nan, np.float32) if predictor.members else None
    status = np.full(len(xy), CellStatus.UNREADABLE, np.uint8)
    patches = slide.read_concentric(
        xy, predictor.spec, allow_upsampling=settings.allow_upsampling, threads=threads
    )
    fill = predictor.compiles_each_size
    with closing(read_ahead(_batches(patches, settings, stain, fill=fill))) as batches:
        for batch in batches:
            scores = predictor.score_members(batch.windows)[..., predictor.spec.tumor]
            by_turn = scores.astype(np.float64).reshape(len(scores), settings.orientations, -1)
            of_members = by_turn.mean(axis=1)[:, : len(batch.indices)]
            mean = of_members.mean(axis=0)
            probability[batch.indices] = mean
            if spread is not None:
                spread[batch.indices] = of_members.std(axis=0)
            status[batch.indices] = np.where(np.isnan(mean), CellStatus.FAILED, CellStatus.SCORED)
    return WindowScores(probability=probability, status=status, spread=spread)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Input of one call of the network."""

    indices: list[int]
    """Cells that were read."""
    windows: np.ndarray
    """(orientations × cells, scales, P, P, 3) uint8 RGB, one orientation after the other."""


def _batches(
    patches: Iterator[tuple[int, tuple[np.ndarray, ...] | None]],
    settings: PredictSettings,
    stain: StainFit | None,
    *,
    fill: bool,
) -> Iterator[_Batch]:
    """Batches of patches. fill: all have one size, so that the network is compiled once, and a
    short one repeats its cells."""
    side = cells_per_call(settings)
    count, read = 0, dict[int, np.ndarray]()
    for index, patch in patches:
        count += 1
        if patch is not None:
            windows = np.stack(patch)
            read[index] = windows if stain is None else stain.apply(windows)
        if count == side:
            if read:
                yield _batch(read, settings.orientations, side if fill else len(read))
            count, read = 0, {}
    if read:
        yield _batch(read, settings.orientations, side if fill else len(read))


def _batch(read: dict[int, np.ndarray], orientations: int, side: int) -> _Batch:
    """Batch of patches in all orientations, side cells of each."""
    patches = list(read.values())
    windows = np.empty((orientations * side, *patches[0].shape), np.uint8)
    for number in range(len(windows)):
        orientation, cell = divmod(number, side)
        windows[number] = orient(patches[cell % len(patches)], orientation)
    return _Batch(indices=list(read), windows=windows)
