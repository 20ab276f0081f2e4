"""Lesions from polygons, against other ways to find them."""

import numpy as np
import pytest
import shapely
from gigaslide.eval import EvaluateSettings, label_lesions, lesions_of_annotation
from scipy import ndimage
from shapely import affinity
from shapely.geometry import MultiPolygon, Point, Polygon, box

SETTINGS = EvaluateSettings()
MPP = 0.42
SIZE = (9000, 6500)  # level-0 px, neither square nor a multiple of the raster's px


def lesions_of(*polygons: Polygon, size=SIZE, settings=SETTINGS):
    return lesions_of_annotation(_multi(polygons), slide_size=size, slide_mpp=MPP, settings=settings)


def _multi(polygons) -> MultiPolygon:
    union = shapely.union_all(polygons)
    return MultiPolygon([p for p in shapely.get_parts(union) if isinstance(p, Polygon)])


def random_polygons(rng: np.random.Generator, count: int) -> list[Polygon]:
    """Stars with a hole in every third, some reaching over the slide's border."""
    found = []
    for index in range(count):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 17))
        radius = rng.uniform(60, 500) * rng.uniform(0.5, 1, 17)
        centre = rng.uniform((-100, -100), (SIZE[0] + 100, SIZE[1] + 100))
        star = Polygon(centre + np.stack([radius * np.cos(angle), 0.6 * radius * np.sin(angle)], axis=1))
        star = star.buffer(0)
        found.append(star.difference(star.centroid.buffer(radius.mean() / 3)) if index % 3 == 0 else star)
    return found


def by_points(polygons: MultiPolygon, pixel_level0: float) -> np.ndarray:
    """The mask of the whole slide, one question a pixel."""
    columns, rows = (int(np.ceil(side / pixel_level0)) for side in SIZE)
    x, y = np.meshgrid((np.arange(columns) + 0.5) * pixel_level0, (np.arange(rows) + 0.5) * pixel_level0)
    shapely.prepare(polygons)
    mask = shapely.contains_xy(polygons, x, y)
    for part in polygons.geoms:
        inner = part.point_on_surface()
        column, row = int(np.floor(inner.x / pixel_level0)), int(np.floor(inner.y / pixel_level0))
        if 0 <= row < rows and 0 <= column < columns:
            mask[row, column] = True
    return mask


@pytest.mark.parametrize(("seed", "count"), [(0, 3), (1, 12), (2, 60)])
def test_windows_of_neighbours_give_the_lesions_of_the_whole_mask(seed, count):
    polygons = _multi(random_polygons(np.random.default_rng(seed), count))
    found = lesions_of_annotation(polygons, slide_size=SIZE, slide_mpp=MPP, settings=SETTINGS)
    pixel_level0 = SETTINGS.lesion_mpp / MPP
    twin = label_lesions(by_points(polygons, pixel_level0), pixel_level0=pixel_level0, slide_mpp=MPP, settings=SETTINGS)
    assert found.labels.shape == twin.labels.shape
    assert ((found.labels > 0) == (twin.labels > 0)).all()
    assert len(found.measures) == len(twin.measures)
    pairs = set(zip(found.labels.ravel().tolist(), twin.labels.ravel().tolist(), strict=True))
    assert len(pairs) == len(found.measures) + 1  # the same lesions, whatever their numbers
    assert sorted(found.measures.area_px) == sorted(twin.measures.area_px)
    assert sorted(found.measures.drawn_px) == sorted(twin.measures.drawn_px)


def test_areas_and_axes_are_those_of_buffered_polygons():
    ellipse = affinity.rotate(affinity.scale(Point(3000, 1500).buffer(1, 64), 900, 400), 30)
    square = box(6000, 4000, 7000, 4500)
    lesions = lesions_of(ellipse, square)
    order = np.argsort(lesions.measures.centre_level0[:, 0])
    area_mm2 = lesions.measures.area_px[order] * SETTINGS.lesion_mpp**2 / 1e6
    # Measured between centres of pixels, 37.5 µm is four whole pixels across a straight border and more on a slant.
    for area, shape in zip(area_mm2, (ellipse, square), strict=True):
        least, most = (shape.buffer(um / MPP, 64).area * MPP**2 / 1e6 for um in (3.7 * SETTINGS.lesion_mpp, 37.5))
        assert least < area < most
    assert lesions.measures.drawn_mm2[order] == pytest.approx(
        [shape.area * MPP**2 / 1e6 for shape in (ellipse, square)], rel=0.02
    )
    assert lesions.measures.centre_level0[order] == pytest.approx(np.array([[3000, 1500], [6500, 4250]]), abs=10)
    assert lesions.measures.major_axis_um[order][0] == pytest.approx(2 * (900 * MPP + 37.5), rel=0.02)


def test_pieces_closer_than_75_um_are_one_lesion():
    for gap_um, count in ((60, 1), (95, 2)):
        right = 2000 + gap_um / MPP
        assert len(lesions_of(box(1000, 1000, 2000, 1400), box(right, 1000, right + 800, 1400)).measures) == count


def test_isolated_tumour_cells_are_told_by_the_longest_axis_growth_included():
    thin = box(1000, 1000, 1020, 1700)  # 8 × 294 µm
    round_ = Point(5000, 3000).buffer(150)  # 126 µm across, 201 µm grown
    lesions = lesions_of(thin, round_)
    order = np.argsort(lesions.measures.centre_level0[:, 0])
    assert lesions.measures.is_itc[order].tolist() == [False, True]


def test_holes_are_filled_and_a_lesion_inside_a_hole_belongs_to_the_ring():
    ring = Point(4000, 3000).buffer(2000).difference(Point(4000, 3000).buffer(1500))
    lesions = lesions_of(ring, Point(4000, 3000).buffer(50))
    assert len(lesions.measures) == 1
    assert lesions.at(np.array([[4000.0, 3900.0]])).tolist() == [1]


def test_an_outline_smaller_than_a_pixel_is_still_a_lesion():
    for x in np.linspace(2000, 2018, 7):
        assert len(lesions_of(box(x, 1000, x + 3, 1002)).measures) == 1


def test_points_are_looked_up_x_first():
    lesions = lesions_of(box(7000, 500, 8000, 1500))
    points = np.array([[7500, 1000], [1000, 7500], [7500, -1], [-5, 1000], [1e7, 1e7], [6950, 1000], [6800, 1000]])
    assert lesions.at(points.astype(np.float64)).tolist() == [1, 0, 0, 0, 0, 1, 0]


def test_no_tumour_no_lesion():
    lesions = lesions_of()
    assert len(lesions.measures) == 0
    assert not lesions.labels.any()
    empty = label_lesions(np.zeros((30, 40), bool), pixel_level0=32, slide_mpp=0.243, settings=SETTINGS)
    assert len(empty.measures) == 0  # E1 makes one in the corner


def test_tumour_wholly_outside_the_slide_makes_no_lesion():
    assert len(lesions_of(box(20_000, 100, 21_000, 900)).measures) == 0


def test_growth_is_strictly_less_than_the_limit():
    mask = np.zeros((9, 12), bool)
    mask[4, 5] = True
    settings = EvaluateSettings(growth_um=20.0)
    lesions = label_lesions(mask, pixel_level0=20, slide_mpp=0.5, settings=settings)  # 10 µm/px: a distance of 2 px
    distance = ndimage.distance_transform_edt(~mask)
    assert (lesions.labels.astype(bool) == (distance < 2)).all()
    assert lesions.measures.area_px.tolist() == [9]
