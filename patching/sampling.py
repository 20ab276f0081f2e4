"""Choice of the windows of a slide that become patches: tissue, label, lesion, quota. No pixel is
read.

A lesion is one polygon of the annotated tumour. Polygons and squares are in level-0 px, squares by
their top left.
"""

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..wsi import CellGrid, Slide, TissueMask, WindowSpec, ceil_div, tumor_fractions
from .settings import TileSettings

__all__ = [
    "NO_LESION",
    "ROW",
    "Candidates",
    "candidates",
    "choose",
    "near_border",
    "share_quota",
    "slide_rng",
]

NO_LESION = -1
ROW = np.dtype(
    [("xy", "<i8", 2), ("tumor_fraction", "<f4"), ("tissue_fraction", "<f4"), ("lesion", "<i4")]
)
"""One window of `Candidates` in a file."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Windows of one slide that may become patches, N rows."""

    xy: np.ndarray
    """(N, 2) int64, level-0 (x, y) top left of the stored patch, margin included."""
    tumor_fraction: np.ndarray
    """(N,) float32, share of tumour in the centre square."""
    tissue_fraction: np.ndarray
    """(N,) float32, share of tissue in the centre square."""
    lesion: np.ndarray
    """(N,) int32, index of the smallest lesion that the centre square meets; -1 for none."""

    @property
    def is_tumor(self) -> np.ndarray:
        """(N,) bool. A window with too little tumour for the settings' rule is no candidate."""
        return self.tumor_fraction > 0

    def take(self, rows: np.ndarray) -> "Candidates":
        """Return some rows, by index or mask."""
        return Candidates(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def to_bytes(self) -> bytes:
        """Return one ROW after the other, so that some can be read without the others."""
        rows = np.empty(len(self), ROW)
        for field in fields(self):
            rows[field.name] = getattr(self, field.name)
        return rows.tobytes()

    @classmethod
    def of_bytes(cls, content: bytes) -> "Candidates":
        rows = np.frombuffer(content, ROW)
        return cls(**{field.name: np.ascontiguousarray(rows[field.name]) for field in fields(cls)})

    def __len__(self) -> int:
        return len(self.xy)


def slide_rng(seed: int, slide_id: str) -> np.random.Generator:
    """Return the random generator of one slide: the same for any workers and any order."""
    digest = hashlib.sha256(slide_id.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def candidates(
    slide: Slide,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: TileSettings,
    *,
    normal_in: MultiPolygon | None = None,
) -> Candidates:
    """Find and label windows inside the slide over tissue, with finer strides until the quotas are
    full.

    normal_in: areas that the centre squares of normal windows lie in; None: the whole slide.
    A slide smaller than one stored patch has none.
    """
    strides = (
        [settings.stride_px]
        if settings.stride_px
        else [max(1, settings.centre_px // k) for k in (1, 2, 4)]
    )

    def find(stride: int) -> Candidates:
        labelled = _at_stride(slide, tissue, tumor, settings, stride)
        return labelled if normal_in is None else _within(labelled, slide, settings, normal_in)

    found = find(strides[0])
    for stride in strides[1:]:
        is_tumor = found.is_tumor
        # A slide that has no tumour on the finest useful grid will not fill that quota on any.
        enough_tumor = tumor.is_empty or is_tumor.sum() >= settings.tumor_per_slide
        if enough_tumor and (~is_tumor).sum() >= settings.normal_per_slide:
            break
        found = find(stride)
    return found


def _within(
    found: Candidates, slide: Slide, settings: TileSettings, areas: MultiPolygon
) -> Candidates:
    """Keep the tumour windows, and the normal ones whose centre squares lie in the areas."""
    scale = slide.scale(settings.mpp, allow_upsampling=settings.allow_upsampling)
    start = found.xy + (settings.stored_px - settings.centre_px) / 2 * scale.level0
    squares = shapely.box(*start.T, *(start + settings.centre_px * scale.level0).T)
    shapely.prepare(areas)
    return found.take(found.is_tumor | shapely.covers(areas, squares))


def _at_stride(
    slide: Slide, tissue: TissueMask, tumor: MultiPolygon, settings: TileSettings, stride: int
) -> Candidates:
    scale = slide.scale(settings.mpp, allow_upsampling=settings.allow_upsampling)
    spec = WindowSpec(
        side_px=settings.patch_px,
        centre_px=settings.centre_px,
        stride_px=stride,
        mpp=scale.mpp,
        phase_px=(settings.phase_px[0] % stride, settings.phase_px[1] % stride),
    )
    grid = spec.grid(width_level0=slide.info.width, height_level0=slide.info.height, scale=scale)
    least = max(settings.min_tissue, 1e-6)
    kept, shares = [], []
    # In parts, because most of a slide is glass: memory then depends on the tissue.
    for cells in grid.cells_in_parts():
        share = tissue.fraction(grid.centres_xy(cells), side_level0=grid.centre_level0)
        over_tissue = np.flatnonzero(share >= least)
        rows = over_tissue[_inside(slide, grid, cells[over_tissue], margin_px=settings.margin_px)]
        kept.append(cells[rows])
        shares.append(share[rows])
    return _labelled(slide, grid, np.concatenate(kept), np.concatenate(shares), tumor, settings)


def _labelled(
    slide: Slide,
    grid: CellGrid,
    cells: np.ndarray,
    shares: np.ndarray,
    tumor: MultiPolygon,
    settings: TileSettings,
) -> Candidates:
    """Label the cells; keep those that are clearly tumour or clearly normal."""
    corners, side = grid.centres_xy(cells), grid.centre_level0
    fraction = tumor_fractions(tumor, corners, side_level0=side, side_px=settings.centre_px)
    is_clear = (fraction == 0) | (fraction > settings.tumor_above)
    if settings.border_um > 0:
        is_clear &= ~near_border(
            tumor, corners, side_level0=side, within_level0=settings.border_um / slide.info.mpp
        )
    lesion = np.full(len(cells), NO_LESION, np.int32)
    lesion[fraction > 0] = lesions_under(tumor, corners[fraction > 0], side_level0=side)
    labelled = Candidates(
        xy=grid.windows_xy(cells, margin_px=settings.margin_px),
        tumor_fraction=fraction,
        tissue_fraction=shares,
        lesion=lesion,
    )
    return labelled.take(is_clear)


def _inside(slide: Slide, grid: CellGrid, cells: np.ndarray, *, margin_px: int) -> np.ndarray:
    start = grid.windows_xy(cells, margin_px=margin_px)
    end = start + (grid.spec.side_px + 2 * margin_px) * grid.scale.level0
    return np.all((start >= 0) & (end <= (slide.info.width, slide.info.height)), axis=1)


def choose(
    found: Candidates, rng: np.random.Generator, settings: TileSettings
) -> dict[str, Candidates]:
    """Draw up to the quota of each class, uniformly without replacement, in the slide's order.

    The tumour quota is divided evenly among the lesions; what a small lesion cannot use goes to the
    larger ones. So every patch of a small lesion is kept, and large lesions have equal shares.
    """
    is_tumor = found.is_tumor
    numbers, counts = np.unique(found.lesion[is_tumor], return_counts=True)
    tumor = [
        rng.choice(np.flatnonzero(is_tumor & (found.lesion == number)), size=size, replace=False)
        for number, size in zip(numbers, share_quota(counts, settings.tumor_per_slide), strict=True)
    ]
    normal = np.flatnonzero(~is_tumor)
    drawn = {
        "tumor": np.concatenate([np.zeros(0, np.int64), *tumor]),
        "normal": rng.choice(
            normal, size=min(settings.normal_per_slide, len(normal)), replace=False
        ),
    }
    return {name: found.take(np.sort(rows)) for name, rows in drawn.items()}


def share_quota(counts: np.ndarray, quota: int) -> np.ndarray:
    """Divide a quota among groups of these sizes: (G,) int64. The smallest are used whole, the rest
    evenly."""
    shares = np.zeros(len(counts), np.int64)
    left = quota
    for served, group in enumerate(np.argsort(counts, kind="stable")):
        share = min(int(counts[group]), ceil_div(left, len(counts) - served))
        shares[group] = share
        left -= share
    return shares


def lesions_under(tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float) -> np.ndarray:
    """Find the smallest lesion that each square meets: (N,) int32, its index among the tumour's
    polygons, or NO_LESION.

    The smallest, so that a micrometastasis beside a large lesion keeps the patches that meet both.
    """
    lesion = np.full(len(xy), NO_LESION, np.int32)
    if tumor.is_empty or not len(xy):
        return lesion
    polygons = np.array(tumor.geoms, object)
    boxes = _squares(xy, side_level0)
    tree = shapely.STRtree(boxes)
    shapely.prepare(polygons)  # an outline may have 100 000 vertices
    for number in np.argsort(-shapely.area(polygons), kind="stable"):
        near = tree.query(polygons[number])
        lesion[near[shapely.intersects(polygons[number], boxes[near])]] = number
    return lesion


def near_border(
    tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float, within_level0: float
) -> np.ndarray:
    """Find squares within that distance of a lesion's outline, inside or outside: (N,) bool."""
    near = np.zeros(len(xy), bool)
    if tumor.is_empty or not len(xy):
        return near
    x0, y0, x1, y1 = tumor.bounds
    corners = np.asarray(xy, np.float64)
    low, high = np.array([x0, y0]) - within_level0 - side_level0, np.array([x1, y1]) + within_level0
    rows = np.flatnonzero(((corners >= low) & (corners <= high)).all(axis=1))
    outline = tumor.boundary
    shapely.prepare(outline)
    near[rows] = shapely.dwithin(outline, _squares(corners[rows], side_level0), within_level0)
    return near


def _squares(xy: np.ndarray, side_level0: float) -> np.ndarray:
    corners = np.asarray(xy, np.float64)
    return np.asarray(shapely.box(*corners.T, *(corners + side_level0).T), object)
