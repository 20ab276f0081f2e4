"""Lesions from annotated tumour as polygons: outlines grown, merged and measured exactly.

The rules are CAMELYON16's, on polygons instead of a mask, so that no raster affects the result.
Frame: level-0 px (x, y); measures are in µm.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon

from ..settings import EvaluateSettings
from .mask_lesions import MaskLesions, Raster, draw_polygons, label_mask
from .measures import LesionMeasures, LesionRule

__all__ = ["AnyLesions", "Lesions", "find_lesions"]

SMOOTHED_UM = 0.25  # outlines may move by this, one px at 40X: growing takes half the time
QUARTER_SEGMENTS = 16  # of the circles of growth: at most 0.05 µm inside the true circle
MOST_VERTICES = 200_000  # after smoothing, some ten seconds; more are labelled on a raster


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """Lesions of one slide as polygons."""

    outlines: np.ndarray
    """(N,) object: a polygon without holes each, or several that touch in points; growth
    included."""
    measures: LesionMeasures

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Return the label under points: (N, 2) level-0 (x, y) → (N,) int64, 0 for none; an
        outline belongs to its lesion."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)
        found = np.zeros(len(points), np.int64)
        point, lesion = shapely.STRtree(self.outlines).query(shapely.points(points))
        for index in np.unique(lesion):
            some = point[lesion == index]
            shapely.prepare(self.outlines[index])
            found[some[shapely.intersects_xy(self.outlines[index], *points[some].T)]] = index + 1
        return found


AnyLesions = Lesions | MaskLesions
"""Lesions of one slide, as polygons or as a mask; labels are 1..N."""


def find_lesions(
    tumor: MultiPolygon,
    *,
    slide_size: tuple[int, int],
    slide_mpp: float,
    settings: EvaluateSettings,
) -> AnyLesions:
    """Find the lesions of outlined tumour, level-0 px; on a raster of `settings.lesion_mpp` where
    the outlines have too many vertices.

    slide_size is (width, height) in level-0 px; lesions end at the slide's border.
    """
    slide = shapely.box(0, 0, *slide_size)
    parts = _polygons(_cut(shapely.get_parts(tumor), slide))
    smooth = shapely.simplify(parts, SMOOTHED_UM / slide_mpp, preserve_topology=False)
    smooth = np.where(shapely.is_empty(smooth) | ~shapely.is_valid(smooth), parts, smooth)
    rule = LesionRule(growth_um=settings.growth_um, itc_um=settings.itc_um)
    if shapely.get_num_coordinates(smooth).sum() > MOST_VERTICES:
        raster = Raster(pixel_level0=settings.lesion_mpp / slide_mpp, pixel_um=settings.lesion_mpp)
        whole = MultiPolygon(list(parts))
        mask = draw_polygons(whole, pixel_level0=raster.pixel_level0, slide_size=slide_size)
        return label_mask(mask, raster, rule)
    outlines = _grow(smooth, slide, growth_level0=rule.growth_um / slide_mpp)
    return Lesions(outlines=outlines, measures=_measure(outlines, parts, rule, slide_mpp=slide_mpp))


def _polygons(geometries: np.ndarray) -> np.ndarray:
    parts = shapely.get_parts(shapely.get_parts(geometries))
    is_polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return parts[is_polygon & (shapely.area(parts) > 0)]


def _cut(polygons: np.ndarray, slide: shapely.Polygon) -> np.ndarray:
    reaches_out = ~shapely.contains_properly(slide, polygons)
    kept = polygons.copy()
    kept[reaches_out] = shapely.intersection(polygons[reaches_out], slide)
    return kept


def _grow(parts: np.ndarray, slide: shapely.Polygon, *, growth_level0: float) -> np.ndarray:
    """Outlines of lesions, from top to bottom."""
    # A hole in the annotation is filled before growth, which leaves fewer vertices to grow.
    grown = shapely.polygons(shapely.get_exterior_ring(parts))
    if growth_level0:
        grown = shapely.buffer(grown, growth_level0, quad_segs=QUARTER_SEGMENTS)
    inside = _polygons(_cut(shapely.get_parts(shapely.union_all(grown)), slide))
    filled = shapely.union_all(shapely.polygons(shapely.get_exterior_ring(inside)))
    pieces = shapely.get_parts(filled)
    # Pieces that meet in a corner are one lesion: 8-connected, as in a mask.
    one, other = shapely.STRtree(pieces).query(pieces, predicate="intersects")
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(pieces), len(pieces)))
    count, member = connected_components(graph, directed=False)
    lesions = list(pieces)
    if count < len(pieces):
        lesions = [shapely.union_all(pieces[member == index]) for index in range(count)]
    outlines = np.array(lesions, object)
    bounds = shapely.bounds(outlines).reshape(-1, 4)
    return outlines[np.lexsort((bounds[:, 0], bounds[:, 1]))]


def _measure(
    outlines: np.ndarray, drawn: np.ndarray, rule: LesionRule, *, slide_mpp: float
) -> LesionMeasures:
    area, centre, largest = _moments(outlines)
    drawn_area = np.zeros(len(outlines))
    if len(drawn):
        lesion, part = shapely.STRtree(drawn).query(outlines)
        inner = shapely.point_on_surface(drawn[part])
        belongs = shapely.intersects(outlines[lesion], inner)
        np.add.at(drawn_area, lesion[belongs], shapely.area(drawn[part[belongs]]))
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
    by Green's theorem, in level-0 px."""
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
