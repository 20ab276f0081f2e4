"""Work that tiling and prediction have with one slide.

Patches and windows are counted by the rules of the stages; bytes and seconds are measured on a few
patches.
"""

import time
from dataclasses import dataclass

import numpy as np
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..inference import heatmap_grid, tissue_cells
from ..patching import Candidates, plan_patches, stored_bytes
from ..wsi import CellStatus, Slide, TissueMask, ceil_div
from .settings import DoctorSettings

__all__ = ["PredictWorkload", "TileWorkload", "measure_prediction", "measure_tiling"]

RUNS = 4  # runs of neighbouring patches that are measured


@dataclass(frozen=True, kw_only=True)
class TileWorkload:
    """Number of patches that tiling draws from a slide, and the cost of one."""

    tumor_patches: int
    normal_patches: int
    patch_bytes: float | None
    """Mean size of the measured patches, compressed as in the store; None if none is readable."""
    patch_seconds: float | None
    """Mean time to read and compress them, on one core."""
    search_seconds: float
    """Time to find the candidates, on one core."""
    no_tumor: str
    """Reason why a tumour slide gives no tumour patch, and so no patch at all; else empty."""

    @property
    def patches(self) -> int:
        return self.tumor_patches + self.normal_patches


@dataclass(frozen=True, kw_only=True)
class PredictWorkload:
    """Number of windows that prediction scores on a slide, and of cells in its heatmap."""

    windows: int
    cells: int
    read_mpx: float
    """Million px under the windows at the level they are read from, each counted once."""


def measure_tiling(
    slide: Slide,
    row: CohortSlide,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: DoctorSettings,
) -> TileWorkload:
    """Choose the patches that `gigaslide tile` takes; read and compress some of them."""
    start = time.perf_counter()
    plan = plan_patches(slide, row, tissue, tumor, settings.tile)
    chosen = plan.chosen
    searched = time.perf_counter()
    patches = _read_patches(slide, _choose_some(chosen, settings.sample.patches), settings)
    size = stored_bytes(np.stack(patches)) if patches else None
    seconds = time.perf_counter() - searched
    return TileWorkload(
        tumor_patches=len(chosen["tumor"]),
        normal_patches=len(chosen["normal"]),
        patch_bytes=None if size is None else size / len(patches),
        patch_seconds=seconds / len(patches) if patches else None,
        search_seconds=searched - start,
        no_tumor=plan.no_tumor,
    )


def _choose_some(chosen: dict[str, Candidates], count: int) -> np.ndarray:
    """(N, 2) corners of up to count patches, in runs of neighbours, which share tiles as in
    tiling."""
    xy = np.concatenate([found.xy for found in chosen.values()])
    run = min(len(xy), ceil_div(count, RUNS))
    starts = np.linspace(0, len(xy) - run, RUNS).astype(np.int64)
    rows = np.unique(starts[:, None] + np.arange(run))
    return xy[rows][:count]


def _read_patches(slide: Slide, xy: np.ndarray, settings: DoctorSettings) -> list[np.ndarray]:
    tile = settings.tile
    side = tile.patch_px + 2 * tile.margin_px
    windows = slide.read_windows(
        xy, size=side, mpp=tile.mpp, allow_upsampling=tile.allow_upsampling
    )
    return [window for _, window in windows if window is not None]


def measure_prediction(
    slide: Slide, tissue: TissueMask, settings: DoctorSettings
) -> PredictWorkload:
    """Count windows for a model trained on patches of these settings."""
    grid = heatmap_grid(slide, settings.predict, settings.tile.input_spec)
    status = tissue_cells(grid, tissue, settings.predict)
    windows = int((status == CellStatus.NOT_YET).sum())
    stride_level_px = grid.spec.stride_px * grid.scale.resample
    return PredictWorkload(
        windows=windows, cells=status.size, read_mpx=windows * stride_level_px**2 / 1e6
    )
