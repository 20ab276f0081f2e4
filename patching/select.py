"""Which windows of a slide become patches: tissue, label, quota. Arrays in, arrays out."""

import hashlib
from dataclasses import dataclass

import numpy as np
from shapely.geometry import MultiPolygon

from ..wsi import CellGrid, Slide, TissueMask, WindowSpec, tumor_fractions
from .settings import TileSettings

__all__ = ["Candidates", "candidates", "choose", "slide_rng"]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Windows of one slide that may become patches, N rows each."""

    xy: np.ndarray
    """(N, 2) int64, level-0 (x, y) top left of the stored patch, margin included."""
    tumor_fraction: np.ndarray
    """(N,) float32, share of tumour in the centre square."""
    tissue_fraction: np.ndarray
    """(N,) float32, share of tissue in the centre square."""

    @property
    def is_tumor(self) -> np.ndarray:
        """(N,) bool: at least one pixel of the centre square is tumour (Liu et al. 2017)."""
        return self.tumor_fraction > 0

    def take(self, rows: np.ndarray) -> "Candidates":
        return Candidates(
            xy=self.xy[rows], tumor_fraction=self.tumor_fraction[rows], tissue_fraction=self.tissue_fraction[rows]
        )

    def __len__(self) -> int:
        return len(self.xy)


def slide_rng(seed: int, slide_id: str) -> np.random.Generator:
    """The generator of one slide: the same for any number of workers, in any order."""
    digest = hashlib.sha256(slide_id.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def candidates(slide: Slide, tissue: TissueMask, tumor: MultiPolygon, settings: TileSettings) -> Candidates:
    """Windows wholly inside the slide over tissue, labelled; finer and finer strides until the quotas are full.

    A slide smaller than one stored patch has none.
    """
    strides = [settings.stride_px] if settings.stride_px else [max(1, settings.centre_px // k) for k in (1, 2, 4)]
    found = _at_stride(slide, tissue, tumor, settings, strides[0])
    for stride in strides[1:]:
        is_tumor = found.is_tumor
        # A slide that has no tumour on the finest useful grid will not fill that quota on any.
        enough_tumor = tumor.is_empty or is_tumor.sum() >= settings.tumor_per_slide
        if enough_tumor and (~is_tumor).sum() >= settings.normal_per_slide:
            break
        found = _at_stride(slide, tissue, tumor, settings, stride)
    return found


def _at_stride(
    slide: Slide, tissue: TissueMask, tumor: MultiPolygon, settings: TileSettings, stride: int
) -> Candidates:
    scale = slide.scale(settings.mpp, allow_upsampling=settings.allow_upsampling)
    spec = WindowSpec(side_px=settings.patch_px, centre_px=settings.centre_px, stride_px=stride, mpp=scale.mpp)
    grid = spec.grid(width_level0=slide.info.width, height_level0=slide.info.height, scale=scale)
    least = max(settings.min_tissue, 1e-6)
    kept, shares = [], []
    # Most of a slide is glass: in parts, so that memory goes with the tissue.
    for cells in grid.cells_in_parts():
        share = tissue.fraction(grid.centres_xy(cells), side_level0=grid.centre_level0)
        over_tissue = np.flatnonzero(share >= least)
        rows = over_tissue[_inside(slide, grid, cells[over_tissue], margin_px=settings.margin_px)]
        kept.append(cells[rows])
        shares.append(share[rows])
    cells = np.concatenate(kept)
    corners = grid.centres_xy(cells)
    return Candidates(
        xy=grid.windows_xy(cells, margin_px=settings.margin_px),
        tumor_fraction=tumor_fractions(tumor, corners, side_level0=grid.centre_level0, side_px=settings.centre_px),
        tissue_fraction=np.concatenate(shares),
    )


def _inside(slide: Slide, grid: CellGrid, cells: np.ndarray, *, margin_px: int) -> np.ndarray:
    start = grid.windows_xy(cells, margin_px=margin_px)
    end = start + (grid.spec.side_px + 2 * margin_px) * grid.scale.level0
    return np.all((start >= 0) & (end <= (slide.info.width, slide.info.height)), axis=1)


def choose(found: Candidates, rng: np.random.Generator, settings: TileSettings) -> dict[str, Candidates]:
    """At most the quota of each class, uniformly without replacement, in the slide's own order (row by row)."""
    chosen = {}
    for name, rows, quota in (
        ("tumor", np.flatnonzero(found.is_tumor), settings.tumor_per_slide),
        ("normal", np.flatnonzero(~found.is_tumor), settings.normal_per_slide),
    ):
        drawn = rng.choice(rows, size=min(quota, len(rows)), replace=False)
        chosen[name] = found.take(np.sort(drawn))
    return chosen
