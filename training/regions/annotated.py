"""Annotation of a slide to learn from: the wanted regions, the area that a person looked at, and
the places that crops are drawn around."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ...cohort import CohortSlide
from ...storage import AnnotationError, file_identity, location_exists
from ...wsi import (
    STAIN_PATCHES,
    Annotation,
    PolygonRaster,
    Scale,
    Slide,
    StainFit,
    fit_stain_to_patches,
    is_region,
    polygons_in,
    tissue_mask,
)
from .settings import RegionSettings

__all__ = ["AnnotatedSlide", "identify_slide", "load_annotated"]

PLACES_PX = 16
"""Distance of neighbouring places, px of the network."""
IGNORED = "ignore"
"""Beginning of the classes in which nothing is learnt, in lower case, as in QuPath."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedSlide:
    """One slide to learn from."""

    row: CohortSlide
    scale: Scale
    wanted: PolygonRaster
    looked_at: PolygonRaster | None
    """Area in which a person looked at everything; None: the whole slide."""
    positive: np.ndarray
    """(N, 2) float64 places inside the wanted regions that were looked at, level-0 (x, y)."""
    anywhere: np.ndarray
    """(N, 2) float64 places on tissue that was looked at."""
    stain: StainFit | None = None

    @property
    def id(self) -> str:
        return self.row.id

    def truth(self, corner: tuple[float, float], *, side_px: int) -> np.ndarray:
        """Draw the annotation of a square: (S, S, 2) uint8, wanted and looked at, 0 or 1; corner is
        its top left (x, y), level-0 px."""
        shape, px_level0 = (side_px, side_px), self.scale.level0
        known = np.ones((*shape, 2), np.uint8)
        if self.looked_at is not None:
            known[..., 1] = self.looked_at.window(corner, px_level0=px_level0, shape=shape)
        known[..., 0] = self.wanted.window(corner, px_level0=px_level0, shape=shape)
        known[..., 0] &= known[..., 1]
        return known


def load_annotated(
    row: CohortSlide, opened: Slide, settings: RegionSettings
) -> AnnotatedSlide | None:
    """Load what is known of a slide; None if nothing is.

    A person looked inside the outlines of the class Region*; without any, everywhere where the
    cohort says that all is outlined, else inside the outlines only. Outlines of a class Ignore*
    were not looked at. A slide without an annotation whose label is normal is normal everywhere.

    Raises:
        AnnotationError: the annotation is missing or cannot be read, or contradicts the label.
        SpacingError: the slide is coarser than the settings' µm/px.
    """
    annotation = row.load_annotation(settings.groups, slide=opened)
    if annotation is None and row.label == "tumor":
        raise AnnotationError(
            f"{row.path}: labelled tumor but has no annotation; give one in the cohort, or leave "
            "the label empty"
        )
    if annotation is None and row.label != "normal":
        return None
    scale = opened.scale(settings.mpp, allow_upsampling=settings.allow_upsampling)
    wanted = annotation.tumor if annotation is not None else MultiPolygon()
    looked_at = _looked_at(annotation, row, opened) if annotation is not None else None
    inside = wanted if looked_at is None else polygons_in(wanted.intersection(looked_at))
    places = _Places(opened, scale)
    on_tissue = places.on_tissue(settings)
    return AnnotatedSlide(
        row=row,
        scale=scale,
        wanted=PolygonRaster(wanted),
        looked_at=None if looked_at is None else PolygonRaster(looked_at),
        positive=np.concatenate([places.within(inside), _points_in(inside)]),
        anywhere=on_tissue
        if looked_at is None
        else on_tissue[shapely.contains_xy(looked_at, *on_tissue.T)],
        stain=_fit_stain(opened, on_tissue, scale, settings),
    )


def _looked_at(annotation: Annotation, row: CohortSlide, opened: Slide) -> MultiPolygon | None:
    """Area in which a person looked at everything; None: the whole slide."""
    whole = shapely.box(0, 0, *opened.size)
    ignored = shapely.union_all(
        [o.polygon for o in annotation.outlines if o.group.casefold().startswith(IGNORED)]
    )
    if not annotation.regions.is_empty:
        area = annotation.regions
    elif row.exhaustive:
        if ignored.is_empty:
            return None
        area = whole
    else:
        outlined = [o.polygon for o in annotation.outlines if not is_region(o.group)]
        area = shapely.union_all(outlined)
    return polygons_in(area.intersection(whole).difference(ignored))


def _points_in(area: MultiPolygon) -> np.ndarray:
    """A point in each polygon, (N, 2): small ones may hold none of the other places."""
    points = shapely.point_on_surface(np.array(area.geoms, object))
    return shapely.get_coordinates(points).reshape(-1, 2)


@dataclass(frozen=True)
class _Places:
    """Places `PLACES_PX` apart over a whole slide."""

    opened: Slide
    scale: Scale

    @property
    def step_level0(self) -> float:
        return PLACES_PX * self.scale.level0

    @property
    def shape(self) -> tuple[int, int]:
        width, height = self.opened.size
        return int(height / self.step_level0), int(width / self.step_level0)

    def within(self, area: MultiPolygon) -> np.ndarray:
        """Places inside an area, (N, 2) level-0 (x, y)."""
        inside = PolygonRaster(area).window(
            (0.0, 0.0), px_level0=self.step_level0, shape=self.shape
        )
        return self._middles(np.argwhere(inside))

    def on_tissue(self, settings: RegionSettings) -> np.ndarray:
        """Places with enough tissue, (N, 2) level-0 (x, y)."""
        tissue = tissue_mask(self.opened, settings.tissue)
        cells = np.argwhere(np.ones(self.shape, bool))
        corners = self._middles(cells) - self.step_level0 / 2
        share = tissue.fraction(corners, side_level0=self.step_level0)
        return self._middles(cells[share >= max(settings.min_tissue, 1e-6)])

    def _middles(self, cells: np.ndarray) -> np.ndarray:
        return (cells[:, ::-1] + 0.5) * self.step_level0


def _fit_stain(
    opened: Slide, places: np.ndarray, scale: Scale, settings: RegionSettings
) -> StainFit | None:
    """Fit the stain normalisation to crops spread over a slide's tissue."""
    if settings.stain is None:
        return None
    spread = np.linspace(0, max(0, len(places) - 1), min(len(places), STAIN_PATCHES))
    corners = places[np.unique(spread.astype(np.int64))] - settings.crop_px * scale.level0 / 2
    windows = opened.read_windows(
        np.rint(corners).astype(np.int64),
        size=settings.crop_px,
        mpp=settings.mpp,
        allow_upsampling=settings.allow_upsampling,
    )
    found = {index: np.array(window) for index, window in windows if window is not None}
    return fit_stain_to_patches((found[index] for index in sorted(found)), settings.stain)


def identify_slide(row: CohortSlide) -> dict[str, Any]:
    """Return what a training takes of a slide, for its recipe."""
    annotation = row.annotation
    return {
        "split": row.split,
        "label": row.label,
        "mpp": row.mpp,
        "exhaustive": row.exhaustive,
        "slide": file_identity(row.path) if location_exists(row.path) else str(row.path),
        "annotation": file_identity(annotation) if annotation and annotation.exists() else None,
    }
