"""Lesions from polygons, against other ways to find them."""

import time
import tracemalloc

import numpy as np
import pytest
import shapely
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    EvaluateSettings,
    LesionRule,
    Raster,
    Truth,
    find_lesions,
    label_mask,
)
from gigaslide.eval.camelyon16.lesions import LevelFive, label_level_5
from gigaslide.eval.camelyon16.programs import PROGRAMS
from gigaslide.eval.truth.mask_lesions import draw_polygons
from gigaslide.wsi import Annotation, Outline
from scipy import ndimage
from shapely import affinity
from shapely.geometry import MultiPolygon, Point, Polygon, box

SETTINGS = EvaluateSettings()
MPP = 0.42
SIZE = (9000, 6500)  # level-0 px, neither square nor a multiple of the raster's px


def lesions_of(*polygons: Polygon, size=SIZE, settings=SETTINGS):
    return find_lesions(_multi(polygons), slide_size=size, slide_mpp=MPP, settings=settings)


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
        star = Polygon(
            centre + np.stack([radius * np.cos(angle), 0.6 * radius * np.sin(angle)], axis=1)
        )
        star = star.buffer(0)
        found.append(
            star.difference(star.centroid.buffer(radius.mean() / 3)) if index % 3 == 0 else star
        )
    return found


def by_points(polygons: MultiPolygon, pixel_level0: float) -> np.ndarray:
    """The mask of the whole slide, one question a pixel."""
    columns, rows = (int(np.ceil(side / pixel_level0)) for side in SIZE)
    x, y = np.meshgrid(
        (np.arange(columns) + 0.5) * pixel_level0, (np.arange(rows) + 0.5) * pixel_level0
    )
    shapely.prepare(polygons)
    mask = shapely.contains_xy(polygons, x, y)
    return mask


@pytest.mark.parametrize(("seed", "count"), [(0, 3), (1, 12), (2, 60)])
def test_a_px_is_tumour_if_its_centre_is(seed, count):
    polygons = _multi(random_polygons(np.random.default_rng(seed), count))
    drawn = draw_polygons(polygons, pixel_level0=7.776 / MPP, slide_size=SIZE)
    assert (drawn == by_points(polygons, 7.776 / MPP)).all()


@pytest.mark.parametrize(("seed", "count"), [(0, 3), (1, 12), (2, 40)])
def test_outlines_are_what_ever_finer_masks_come_to(seed, count):
    """Two implementations that agree: polygons, and the distance transform of a mask of 0.8
    µm/px."""
    size = (3000, 2100)
    polygons = _multi(
        [affinity.scale(p, 1 / 3, 1 / 3, origin=(0, 0)) for p in _random(seed, count)]
    )
    exact = find_lesions(polygons, slide_size=size, slide_mpp=MPP, settings=SETTINGS)
    fine = Raster(pixel_level0=2.0, pixel_um=2 * MPP)
    drawn = draw_polygons(polygons, pixel_level0=2.0, slide_size=size)
    mask = label_mask(drawn, fine, LesionRule())
    assert len(exact.measures) == len(mask.measures)
    distance = np.linalg.norm(
        exact.measures.centre_level0[:, None] - mask.measures.centre_level0, axis=2
    )
    twin = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 4
    assert len(set(twin.tolist())) == len(twin)
    for name, tolerance in (("area_um2", 0.05), ("drawn_um2", 0.06), ("major_axis_um", 0.03)):
        fine_one = getattr(mask.measures, name)[twin]
        assert getattr(exact.measures, name) == pytest.approx(fine_one, rel=tolerance), name
    points = np.random.default_rng(seed).uniform((0, 0), size, (4000, 2))
    agree = (exact.at(points) > 0) == (mask.at(points) > 0)
    assert agree.mean() > 0.995
    near = shapely.distance(
        shapely.boundary(shapely.union_all(exact.outlines)), shapely.points(points[~agree])
    )
    assert near.max(initial=0) < 5


def _random(seed: int, count: int) -> list[Polygon]:
    return random_polygons(np.random.default_rng(seed), count)


def test_areas_and_axes_are_those_of_buffered_polygons():
    ellipse = affinity.rotate(affinity.scale(Point(3000, 1500).buffer(1, 64), 900, 400), 30)
    square = box(6000, 4000, 7000, 4500)
    measures = lesions_of(ellipse, square).measures
    area = [shape.buffer(37.5 / MPP, 64).area * MPP**2 for shape in (ellipse, square)]
    assert measures.area_um2 == pytest.approx(area, rel=2e-3)
    assert measures.drawn_um2 == pytest.approx([s.area * MPP**2 for s in (ellipse, square)])
    assert measures.centre_level0 == pytest.approx(np.array([[3000, 1500], [6500, 4250]]), abs=1)
    assert measures.major_axis_um[0] == pytest.approx(2 * (900 * MPP + 37.5), rel=0.02)


def test_a_rectangles_longest_axis_is_its_own_formula():
    """4 √(w² / 12) of a rectangle that does not grow, wherever it lies."""
    settings = EvaluateSettings(growth_um=0)
    lesions = lesions_of(affinity.rotate(box(4000, 3000, 5200, 3300), 25), settings=settings)
    assert lesions.measures.major_axis_um == pytest.approx([4 * 1200 * MPP / 12**0.5], rel=1e-3)


def test_pieces_that_meet_in_a_corner_are_one_lesion():
    settings = EvaluateSettings(growth_um=0)
    assert (
        len(
            lesions_of(box(100, 100, 200, 200), box(200, 200, 300, 400), settings=settings).measures
        )
        == 1
    )
    assert (
        len(
            lesions_of(box(100, 100, 200, 200), box(201, 200, 300, 400), settings=settings).measures
        )
        == 2
    )


def test_outlines_too_detailed_are_labelled_on_a_raster_and_it_is_said(monkeypatch):
    ring = Point(4000, 3000).buffer(2000).difference(Point(4000, 3000).buffer(1500))
    exact = lesions_of(ring, box(7000, 500, 8000, 1500))
    monkeypatch.setattr("gigaslide.eval.truth.lesions.MOST_VERTICES", 10)
    mask = lesions_of(ring, box(7000, 500, 8000, 1500))
    assert (exact.measures.raster_um, mask.measures.raster_um) == (0, 7.776)
    assert sorted(mask.measures.area_um2) == pytest.approx(
        sorted(exact.measures.area_um2), rel=0.06
    )


def test_a_ring_cut_open_by_the_border_is_not_filled():
    cut = lesions_of(Point(0, 3000).buffer(2000).difference(Point(0, 3000).buffer(1500)))
    assert cut.at(np.array([[200.0, 3000], [1700, 3000]])).tolist() == [0, 1]
    whole = lesions_of(Point(3000, 3000).buffer(2000).difference(Point(3000, 3000).buffer(1500)))
    assert whole.at(np.array([[3200.0, 3000], [4700, 3000]])).tolist() == [1, 1]


def test_sizes_are_macro_micro_and_isolated_cells():
    measures = lesions_of(box(500, 500, 700, 700), box(1700, 1700, 2600, 1900)).measures
    assert measures.size.tolist() == ["itc", "micro"]
    # 4 √(w² / 12) of the longer side, about 1.15 w: a macrometastasis from about 1.8 mm of a thin
    # strip on.
    assert lesions_of(box(1000, 1000, 1000 + 2100 / MPP, 1100)).measures.size.tolist() == ["macro"]


def test_a_slide_of_100_000_by_200_000_px_takes_seconds_and_no_full_size_mask(tmp_path):
    """71 000 vertices in the real thing; here 40 wavy outlines of 1 000, scattered over the
    slide."""
    rng = np.random.default_rng(3)
    angle = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    outlines = []
    for index in range(40):
        radius = rng.uniform(200, 3000) * (1 + 0.2 * np.sin(9 * angle + index))
        centre = rng.uniform((4000, 4000), (96_000, 196_000))
        ring = centre + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        outlines.append(Outline(name=str(index), group="Tumor", polygon=Polygon(ring).buffer(0)))
    path = tmp_path / "a.xml"
    Annotation(outlines=tuple(outlines)).save(path)
    slide = CohortSlide(id="a", path=tmp_path / "a.tif", annotation=path, label="tumor")
    tracemalloc.start()
    start = time.process_time()
    size = (100_000, 200_000)
    truth = Truth.of_slide(slide, slide_size=size, slide_mpp=0.243, settings=SETTINGS)
    level = LevelFive(tumor=truth.tumor, downsample=32.0, mpp=0.243)
    official = [label_level_5(level, program, slide_size=size) for program in PROGRAMS.values()]
    assert time.process_time() - start < 20
    assert tracemalloc.get_traced_memory()[1] < 500e6
    tracemalloc.stop()
    counts = {len(lesions.measures) for lesions in (truth.lesions, *official)}
    assert len(counts) == 1


def test_pieces_closer_than_75_um_are_one_lesion():
    for gap_um, count in ((60, 1), (95, 2)):
        right = 2000 + gap_um / MPP
        assert (
            len(
                lesions_of(
                    box(1000, 1000, 2000, 1400), box(right, 1000, right + 800, 1400)
                ).measures
            )
            == count
        )


def test_isolated_tumour_cells_are_told_by_the_longest_axis_growth_included():
    thin = box(1000, 1000, 1020, 1700)  # 8 × 294 µm
    round_ = Point(5000, 3000).buffer(150)  # 126 µm across, 201 µm grown
    assert lesions_of(thin, round_).measures.is_itc.tolist() == [False, True]


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
    points = np.array(
        [[7500, 1000], [1000, 7500], [7500, -1], [-5, 1000], [1e7, 1e7], [6950, 1000], [6800, 1000]]
    )
    assert lesions.at(points.astype(np.float64)).tolist() == [1, 0, 0, 0, 0, 1, 0]


def test_no_tumour_no_lesion():
    lesions = lesions_of()
    assert len(lesions.measures) == 0
    assert lesions.at(np.array([[3.0, 4.0]])).tolist() == [0]
    raster = Raster(pixel_level0=32, pixel_um=32 * 0.243)
    empty = label_mask(np.zeros((30, 40), bool), raster, LesionRule())
    assert len(empty.measures) == 0  # E1 makes one in the corner


def test_tumour_wholly_outside_the_slide_makes_no_lesion():
    assert len(lesions_of(box(20_000, 100, 21_000, 900)).measures) == 0


def test_growth_in_a_mask_is_strictly_less_than_the_limit():
    mask = np.zeros((9, 12), bool)
    mask[4, 5] = True
    raster = Raster(pixel_level0=20, pixel_um=10)
    lesions = label_mask(mask, raster, LesionRule(growth_um=20.0))  # a distance of 2 px
    distance = ndimage.distance_transform_edt(~mask)
    assert (lesions.labels.astype(bool) == (distance < 2)).all()
    assert lesions.measures.area_um2.tolist() == [900]


def test_masks_looked_at_in_strips_are_those_looked_at_whole(monkeypatch):
    rng = np.random.default_rng(5)
    mask = ndimage.gaussian_filter(rng.standard_normal((611, 233)), 7) > 0.05
    raster, rule = Raster(pixel_level0=32, pixel_um=32 * 0.243), LesionRule()
    whole = label_mask(mask, raster, rule)
    monkeypatch.setattr("gigaslide.eval.truth.mask_lesions.STRIP_PX", 1)  # 64 rows: ten strips
    strips = label_mask(mask, raster, rule)
    distance = ndimage.distance_transform_edt(~mask)
    assert (
        (strips.labels > 0) == ndimage.binary_fill_holes(distance < 37.5 / raster.pixel_um)
    ).all()
    assert (strips.labels == whole.labels).all()
    assert len(whole.measures) > 2
    for name in ("area_um2", "drawn_um2", "major_axis_um", "centre_level0"):
        assert (getattr(strips.measures, name) == getattr(whole.measures, name)).all(), name
