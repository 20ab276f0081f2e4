"""Lesions from annotated tumour, exactly: outlines grown, merged, holes filled, isolated tumour
cells set aside.

The rules are CAMELYON16's, held by polygons in place of a mask: no raster, so no scale to dispute.

Frame: level-0 px (x, y) throughout; lengths that are told are µm.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon

from ..settings import EvaluateSettings
from .mask_lesions import MaskLesions, Raster, lesions_on_raster
from .measures import LesionMeasures, LesionRule

__all__ = ["AnyLesions", "Lesions", "lesions_of_annotation"]

SMOOTHED_UM = 0.25  # outlines may be off by this, one px at 40X: growing takes half the time
QUARTER_SEGMENTS = (
    16  # of the circles by which outlines grow: at most 0.05 µm inside the true circle
)
MOST_VERTICES = 200_000  # of smoothed outlines: some ten seconds; more are labelled on a raster


class AnyLesions(Protocol):
    """Lesions of one slide, however they are held; labels are 1..N."""

    @property
    def measures(self) -> LesionMeasures: ...

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Label under points: (N, 2) level-0 (x, y) → (N,) int64, 0 outside every lesion and
        outside the slide."""
        ...


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """Lesions of one slide as outlines."""

    outlines: np.ndarray
    """(N,) object: a shapely polygon each, or several that touch in points; growth included,
    without holes."""
    measures: LesionMeasures

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Label under points: (N, 2) level-0 (x, y) → (N,) int64, 0 outside every lesion; the
        outline is inside."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)
        found = np.zeros(len(points), np.int64)
        point, lesion = shapely.STRtree(self.outlines).query(shapely.points(points))
        for index in np.unique(lesion):
            some = point[lesion == index]
            shapely.prepare(self.outlines[index])
            found[some[shapely.intersects_xy(self.outlines[index], *points[some].T)]] = index + 1
        return found


def lesions_of_annotation(
    tumor: MultiPolygon,
    *,
    slide_size: tuple[int, int],
    slide_mpp: float,
    settings: EvaluateSettings,
) -> Lesions | MaskLesions:
    """Lesions of outlined tumour, level-0 px; on a raster of `settings.lesion_mpp` where it is too
    detailed.

    slide_size is (width, height) in level-0 px: as in a mask of the slide, lesions end at its
    border.
    """
    slide = shapely.box(0, 0, *slide_size)
    parts = _polygons(_within(shapely.get_parts(tumor), slide))
    smooth = shapely.simplify(parts, SMOOTHED_UM / slide_mpp, preserve_topology=False)
    smooth = np.where(shapely.is_empty(smooth) | ~shapely.is_valid(smooth), parts, smooth)
    rule = LesionRule(growth_um=settings.growth_um, itc_um=settings.itc_um)
    if shapely.get_num_coordinates(smooth).sum() > MOST_VERTICES:
        raster = Raster(pixel_level0=settings.lesion_mpp / slide_mpp, pixel_um=settings.lesion_mpp)
        return lesions_on_raster(parts, raster, rule, slide_size=slide_size)
    outlines = _grown(smooth, slide, growth_level0=rule.growth_um / slide_mpp)
    return Lesions(
        outlines=outlines, measures=_measured(outlines, parts, rule, slide_mpp=slide_mpp)
    )


def _polygons(geometries: np.ndarray) -> np.ndarray:
    parts = shapely.get_parts(shapely.get_parts(geometries))
    return parts[
        (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > 0)
    ]


def _within(polygons: np.ndarray, slide: shapely.Polygon) -> np.ndarray:
    reaches_out = ~shapely.contains_properly(slide, polygons)
    kept = polygons.copy()
    kept[reaches_out] = shapely.intersection(polygons[reaches_out], slide)
    return kept


def _grown(parts: np.ndarray, slide: shapely.Polygon, *, growth_level0: float) -> np.ndarray:
    """Outlines of lesions, from top to bottom."""
    # What fills a hole of the drawing fills it after growth too, and there is less to grow.
    full = shapely.polygons(shapely.get_exterior_ring(parts))
    grown = (
        shapely.buffer(full, growth_level0, quad_segs=QUARTER_SEGMENTS) if growth_level0 else full
    )
    inside = _polygons(_within(shapely.get_parts(shapely.union_all(grown)), slide))
    filled = shapely.get_parts(
        shapely.union_all(shapely.polygons(shapely.get_exterior_ring(inside)))
    )
    # Pieces that meet in a corner are one lesion: 8-connected, as in a mask.
    one, other = shapely.STRtree(filled).query(filled, predicate="intersects")
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(filled), len(filled)))
    count, member = connected_components(graph, directed=False)
    lesions = (
        [shapely.union_all(filled[member == index]) for index in range(count)]
        if count < len(filled)
        else filled
    )
    outlines = np.array(list(lesions), object)
    bounds = shapely.bounds(outlines).reshape(-1, 4)
    return outlines[np.lexsort((bounds[:, 0], bounds[:, 1]))]


def _measured(
    outlines: np.ndarray, drawn: np.ndarray, rule: LesionRule, *, slide_mpp: float
) -> LesionMeasures:
    area, centre, largest = _moments(outlines)
    drawn_area = np.zeros(len(outlines))
    lesion, part = (
        shapely.STRtree(drawn).query(outlines) if len(drawn) else np.zeros((2, 0), np.int64)
    )
    inner = shapely.point_on_surface(drawn[part])
    is_its = shapely.intersects(outlines[lesion], inner) if len(part) else np.zeros(0, bool)
    np.add.at(drawn_area, lesion[is_its], shapely.area(drawn[part[is_its]]))
    return LesionMeasures(
        area_um2=area * slide_mpp**2,
        drawn_um2=drawn_area * slide_mpp**2,
        major_axis_um=4 * np.sqrt(largest) * slide_mpp,
        centre_level0=centre,
        rule=rule,
        raster_um=0.0,
    )


def _moments(outlines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area (N,), centre of mass (N, 2) and largest eigenvalue of the second central moments (N,),
    by Green's theorem.

    Level-0 px, to the power that belongs to each.
    """
    parts, lesion = shapely.get_parts(outlines, return_index=True)
    parts = shapely.normalize(parts)  # all rings run one way
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(parts), return_index=True)
    corner = shapely.bounds(outlines).reshape(-1, 4)[:, :2]
    same = ring[1:] == ring[:-1]
    of = lesion[ring[1:][same]]
    (x0, y0), (x1, y1) = (points[:-1][same] - corner[of]).T, (points[1:][same] - corner[of]).T
    cross = x0 * y1 - x1 * y0

    def total(value: np.ndarray) -> np.ndarray:
        return np.bincount(of, value * cross, len(outlines))

    twice = total(np.ones(len(of)))
    x, y = total(x0 + x1) / (3 * twice), total(y0 + y1) / (3 * twice)
    xx = total(x0 * x0 + x0 * x1 + x1 * x1) / (6 * twice) - x * x
    yy = total(y0 * y0 + y0 * y1 + y1 * y1) / (6 * twice) - y * y
    xy = total(2 * x0 * y0 + x0 * y1 + x1 * y0 + 2 * x1 * y1) / (12 * twice) - x * y
    largest = (xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.abs(twice) / 2, np.stack([x, y], axis=1) + corner, largest
