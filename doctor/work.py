"""How much work the stages have with one slide: counted by their own rules, bytes and seconds tried
on a few patches.

Frames: as in patching and inference.
"""

import time
from dataclasses import dataclass

import numpy as np
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..inference import heatmap_grid, tissue_cells
from ..patching import Candidates, candidates, choose, slide_rng, stored_bytes
from ..wsi import CellStatus, Slide, TissueMask, ceil_div
from .settings import DoctorSettings

__all__ = ["PredictWork", "TileWork", "predict_work", "tile_work"]

RUNS = 4  # of the patches that are tried


@dataclass(frozen=True, kw_only=True)
class TileWork:
    """Patches that tiling draws from a slide, and what one costs."""

    tumor_patches: int
    normal_patches: int
    patch_bytes: float | None
    """Mean of some that were compressed as in the store; None where none could be read."""
    patch_seconds: float | None
    """Mean of the same, reading and compressing, on one core."""
    search_seconds: float
    """Finding the candidates, on one core."""

    @property
    def patches(self) -> int:
        return self.tumor_patches + self.normal_patches


@dataclass(frozen=True, kw_only=True)
class PredictWork:
    """Windows that prediction scores on a slide, and cells of its heatmap."""

    windows: int
    cells: int
    read_mpx: float
    """Million px under the windows, each counted once, at the level they are read from."""


def tile_work(
    slide: Slide,
    row: CohortSlide,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: DoctorSettings,
) -> TileWork:
    """The very patches that `gigaslide tile` takes; some of them are read and compressed."""
    start = time.perf_counter()
    found = candidates(slide, tissue, tumor, settings.tile)
    chosen = choose(found, slide_rng(settings.tile.seed, row.id), settings.tile)
    searched = time.perf_counter()
    patches = _read(slide, _some(chosen, settings.sample.patches), settings)
    size = stored_bytes(np.stack(patches)) if patches else None
    seconds = time.perf_counter() - searched
    return TileWork(
        tumor_patches=len(chosen["tumor"]),
        normal_patches=len(chosen["normal"]),
        patch_bytes=None if size is None else size / len(patches),
        patch_seconds=seconds / len(patches) if patches else None,
        search_seconds=searched - start,
    )


def _some(chosen: dict[str, Candidates], count: int) -> np.ndarray:
    """(N, 2) places of up to count patches of both classes: runs of neighbours, which share tiles
    as in tiling."""
    xy = np.concatenate([found.xy for found in chosen.values()])
    run = min(len(xy), ceil_div(count, RUNS))
    starts = np.linspace(0, len(xy) - run, RUNS).astype(np.int64)
    rows = np.unique(starts[:, None] + np.arange(run))
    return xy[rows][:count]


def _read(slide: Slide, xy: np.ndarray, settings: DoctorSettings) -> list[np.ndarray]:
    tile = settings.tile
    side = tile.patch_px + 2 * tile.margin_px
    windows = slide.read_windows(
        xy, size=side, mpp=tile.mpp, allow_upsampling=tile.allow_upsampling
    )
    return [window for _, window in windows if window is not None]


def predict_work(slide: Slide, tissue: TissueMask, settings: DoctorSettings) -> PredictWork:
    """For a model that was trained on patches of these settings."""
    grid = heatmap_grid(slide, settings.predict, settings.tile.input_spec)
    status = tissue_cells(grid, tissue, settings.predict)
    windows = int((status == CellStatus.NOT_YET).sum())
    stride_level_px = grid.spec.stride_px * grid.scale.resample
    return PredictWork(
        windows=windows, cells=status.size, read_mpx=windows * stride_level_px**2 / 1e6
    )
