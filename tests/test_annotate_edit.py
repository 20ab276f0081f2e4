"""Edits of outlines: areas by two ways, holes, pieces, ids, and hostile strokes in bounded time."""

import time
from dataclasses import replace

import numpy as np
import pytest
import shapely
from annotating import RING, outline
from gigaslide.annotate import (
    brush_area,
    edit_outline,
    polygon_area,
    simplify_outline,
    union_outlines,
)
from gigaslide.storage import AnnotationError
from shapely.geometry import MultiPolygon, Polygon, box


def raster_area(shape, *, step: float = 1.0) -> float:
    """Area by counting points of a grid, without shapely's own sum."""
    left, top, right, bottom = shape.bounds
    x, y = np.meshgrid(np.arange(left, right, step) + 0.5, np.arange(top, bottom, step) + 0.5)
    return float(shapely.contains_xy(shape, x, y).sum()) * step**2


def test_a_brush_adds_its_width_and_its_round_ends():
    area = brush_area(np.array([(0, 0), (300, 0), (300, 200)]), 10)
    assert area.bounds == pytest.approx((-10, -10, 310, 210), abs=0.1)
    assert area.area == pytest.approx(300 * 20 + 200 * 20 + np.pi * 100 - 100, rel=0.02)
    assert brush_area(np.array([(5.0, 7.0)]), 10).area == pytest.approx(np.pi * 100, rel=0.02)
    still = brush_area(np.array([(5.0, 7.0), (5.0, 7.0)]), 10)
    assert still.bounds == pytest.approx((-5, -3, 15, 17))


def test_add_and_cut_change_the_area_by_that_of_the_stroke():
    before = outline(RING)
    stroke = brush_area(np.array([(850, 300), (1000, 300)]), 30)
    (added,) = edit_outline(before, stroke, "add")
    assert added.id == before.id
    assert added.shape.area == pytest.approx(raster_area(RING.union(stroke)), rel=2e-3)
    (cut,) = edit_outline(added, stroke, "cut")
    assert cut.shape.area == pytest.approx(RING.area - RING.intersection(stroke).area)
    assert len(cut.shape.interiors) == 1
    inside = brush_area(np.array([(600, 350)]), 20)
    (holed,) = edit_outline(before, inside, "cut")
    assert len(holed.shape.interiors) == 2
    assert edit_outline(before, box(0, 0, 2000, 2000), "cut") == []


def test_split_loses_no_area_and_names_the_parent():
    before = outline(RING, origin="proposed")
    line = np.array([(375, 100), (380, 320), (375, 600)])
    pieces = edit_outline(before, line, "split")
    assert len(pieces) == 2
    assert sum(one.shape.area for one in pieces) == pytest.approx(RING.area)
    assert pieces[0].shape.area > pieces[1].shape.area
    assert pieces[0].id == before.id
    assert pieces[1].id != before.id
    assert pieces[1].parent == before.id
    again = edit_outline(pieces[1], np.array([(0, 230), (900, 230)]), "split")
    assert {one.parent for one in again} == {before.id}
    beside = edit_outline(before, np.array([(0, 0), (50, 900)]), "split")
    assert [one.shape.equals(RING) for one in beside] == [True]
    half = edit_outline(before, np.array([(150, 100), (150, 350)]), "split")
    assert [one.shape.area for one in half] == [pytest.approx(RING.area)]


def test_fill_removes_the_holes_that_the_stroke_meets():
    two = RING.difference(box(600, 300, 700, 400))
    before = outline(two)
    (after,) = edit_outline(before, box(320, 260, 330, 270), "fill")
    assert len(after.shape.interiors) == 1
    assert after.shape.area == two.area + 150 * 150


def test_union_merges_and_keeps_the_first_id():
    first, second = outline(box(0, 0, 100, 50)), outline(box(50, 0, 150, 50), group="Normal")
    (merged,) = union_outlines([first, second])
    assert (merged.id, merged.group, merged.shape.area) == (first.id, "Tumor", 7500)
    with pytest.raises(AnnotationError):
        union_outlines([])


@pytest.mark.parametrize("tolerance", [0.5, 3.0, 20.0])
def test_simplified_outlines_keep_their_tolerance(tolerance):
    rng = np.random.default_rng(3)
    angles = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    radius = 500 + 40 * np.sin(9 * angles) + rng.normal(0, 1, len(angles))
    ring = np.stack([600 + radius * np.cos(angles), 700 + radius * np.sin(angles)], axis=1)
    before = outline(Polygon(ring).difference(box(590, 690, 593, 692)))
    after = simplify_outline(before, tolerance=tolerance, min_hole=10)
    assert after.shape.is_valid
    assert not after.shape.interiors
    corners = shapely.points(shapely.get_coordinates(before.shape.exterior))
    assert shapely.distance(after.shape.boundary, corners).max() <= tolerance
    assert len(after.shape.exterior.coords) < 3000


def test_v7_hostile_strokes_end_in_time_or_are_refused():
    rng = np.random.default_rng(0)
    began = time.process_time()
    scribble = rng.uniform(0, 5000, (3000, 2))
    with pytest.raises(AnnotationError, match="crosses itself"):
        polygon_area(scribble)
    steps = np.cumsum(rng.normal(0, 3, (20_000, 2)), axis=0)
    assert brush_area(steps, 40).is_valid
    with pytest.raises(AnnotationError, match="over 20000"):
        brush_area(np.zeros((20_001, 2)), 5)
    assert time.process_time() - began < 60
    for points in (
        np.zeros((0, 2)),
        np.zeros((3, 3)),
        np.array([(np.nan, 1)]),
        np.full((4, 2), 1e9),
    ):
        with pytest.raises(AnnotationError):
            brush_area(points, 5)
    with pytest.raises(AnnotationError):
        brush_area(np.zeros((2, 2)), 0)
    assert polygon_area(np.array([(1, 2)])).is_empty
    assert polygon_area(np.array([(1, 2), (3, 4), (5, 6)])).is_empty
    assert polygon_area(np.array([(0, 0), (10, 10), (10, 0), (0, 10)])).area == 50
    with pytest.raises(AnnotationError, match="line"):
        edit_outline(outline(), box(0, 0, 1, 1), "split")
    with pytest.raises(AnnotationError, match="area"):
        edit_outline(outline(), np.zeros((2, 2)), "cut")


def test_results_of_random_edits_are_valid():
    rng = np.random.default_rng(5)
    current = outline(replace(outline()).shape)
    for _ in range(60):
        start = rng.uniform((100, 200), (900, 500))
        path = start + np.cumsum(rng.normal(0, 25, (12, 2)), axis=0)
        kind = rng.choice(["add", "cut", "fill", "split"])
        stroke = path if kind == "split" else brush_area(path, float(rng.uniform(2, 30)))
        before = current.shape.area
        pieces = edit_outline(current, stroke, kind)
        assert all(one.shape.is_valid and isinstance(one.shape, Polygon) for one in pieces)
        if kind == "split":
            assert sum(one.shape.area for one in pieces) == pytest.approx(before, abs=5)
        current = replace(current, shape=MultiPolygon([one.shape for one in pieces]).geoms[0])


@pytest.mark.parametrize("operation", ["add", "cut", "split", "fill"])
def test_a_stroke_that_changes_nothing_leaves_the_outline_as_it_was(operation):
    two = MultiPolygon([box(10, 10, 50, 40), box(60, 10, 90, 40)])
    whole = outline(two)
    away = np.array([[200.0, 200.0], [240.0, 210.0], [220.0, 250.0]])
    inside = np.array([[20.0, 20.0], [30.0, 20.0], [25.0, 30.0]])
    points = inside if operation == "add" else away
    stroke = points if operation == "split" else polygon_area(points)
    (same,) = edit_outline(whole, stroke, operation)
    assert same is whole
