"""Shares of tumour against two other ways of counting: a ray and its crossings, and matplotlib's
paths."""

import time

import matplotlib.path
import numpy as np
import pytest
import shapely
from conftest import REAL_DATA, TUMOR_RINGS, brute_fraction, even_odd
from gigaslide.wsi import Annotation, PolygonRaster, tumor_fractions
from gigaslide.wsi import labels as labels_module
from shapely.geometry import MultiPolygon, Polygon


def multi(rings) -> MultiPolygon:
    return MultiPolygon([Polygon(shell, [hole] if hole else []) for shell, hole in rings])


def squares(side: float, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform((150 - side, 150 - side), (1400, 850), (count, 2))


@pytest.mark.parametrize(
    ("side_px", "px_level0"), [(32, 1.0), (31, 2.0), (17, 4.0833), (40, 1.106194), (1, 57.375)]
)
def test_fractions_equal_the_count_of_pixel_centres(side_px, px_level0):
    side = side_px * px_level0
    xy = squares(side, 150)
    shares = tumor_fractions(multi(TUMOR_RINGS), xy, side_level0=side, side_px=side_px)
    counted = [
        brute_fraction(TUMOR_RINGS, corner, side_level0=side, side_px=side_px) for corner in xy
    ]
    assert shares.dtype == np.float32
    assert np.abs(shares - counted).max() <= 1e-6
    assert len(set(np.round(counted, 6))) > (10 if side_px > 1 else 1)


def test_fractions_equal_matplotlibs_paths():
    xy = np.round(squares(64, 60, seed=3))
    shares = tumor_fractions(multi(TUMOR_RINGS), xy, side_level0=64, side_px=32)
    for corner, share in zip(xy, shares, strict=True):
        points = np.stack(
            np.meshgrid(*(corner[axis] + 2 * (np.arange(32) + 0.5) for axis in (0, 1))), -1
        ).reshape(-1, 2)
        inside = np.zeros(len(points), bool)
        for shell, hole in TUMOR_RINGS:
            part = matplotlib.path.Path(shell).contains_points(points)
            if hole:
                part &= ~matplotlib.path.Path(hole).contains_points(points)
            inside |= part
        # Points within a hair of a line may be told apart by neither.
        near = shapely.distance(multi(TUMOR_RINGS).boundary, shapely.points(points)) < 1e-6
        assert abs(share - inside.mean()) <= near.mean() + 1e-6


def test_swapped_axes_give_another_answer():
    xy = squares(64, 150)
    right = tumor_fractions(multi(TUMOR_RINGS), xy, side_level0=64, side_px=32)
    swapped = tumor_fractions(multi(TUMOR_RINGS), xy[:, ::-1], side_level0=64, side_px=32)
    moved = tumor_fractions(multi(TUMOR_RINGS), xy + np.array([2, 0]), side_level0=64, side_px=32)
    assert np.abs(right - swapped).max() > 0.5
    assert (right != moved).sum() > 10


def test_one_pixel_is_enough_and_the_line_does_not_count():
    square = MultiPolygon([shapely.box(100, 200, 101, 201)])
    corners = np.array([(90, 195), (91, 195), (100.5, 195), (100.4, 195), (90, 196)])
    shares = tumor_fractions(square, corners, side_level0=10, side_px=10)
    # Pixel centres lie at + 0.5: the first square ends at x = 100; 100.5 puts a centre column on
    # the right line.
    assert (shares * 100).round(4).tolist() == [0, 1, 0, 1, 0]


def test_inside_outside_and_in_the_hole():
    rings = [
        (
            [(0, 0), (1000, 0), (1000, 600), (0, 600)],
            [(400, 200), (700, 200), (700, 500), (400, 500)],
        )
    ]
    corners = np.array([(100, 100), (500, 300), (2000, 100), (-300, 0), (336, 100)])
    shares = tumor_fractions(multi(rings), corners, side_level0=128, side_px=64)
    assert shares[:4].tolist() == [1, 0, 0, 0]
    assert shares[4] == pytest.approx(1 - (64 / 128) * (28 / 128), abs=0.01)


def test_overlap_of_two_parts_in_one_square_is_counted_once_each():
    parts = MultiPolygon(
        [shapely.box(0, 0, 10, 64), shapely.box(30, 0, 40, 64), shapely.box(30, 100, 40, 164)]
    )
    shares = tumor_fractions(parts, np.array([(0.0, 0.0)]), side_level0=64, side_px=64)
    assert shares[0] == pytest.approx(20 / 64)


def reference(
    tumor: MultiPolygon, xy: np.ndarray, *, side_level0: float, side_px: int
) -> np.ndarray:
    """Every centre of every square asked of the exact predicate, slowly."""
    shapely.prepare(tumor)
    centres = (np.arange(side_px) + 0.5) * (side_level0 / side_px)
    return np.array(
        [shapely.contains_xy(tumor, *np.meshgrid(x + centres, y + centres)).mean() for x, y in xy],
        np.float32,
    )


def test_a_square_does_not_know_of_the_others(monkeypatch):
    xy = np.concatenate(
        [squares(64, 300), squares(64, 300, seed=1) + np.array([5000, 0]), [(820 + 420, 300)]]
    )
    xy[:200, 1] = np.round(xy[:200, 1], -2)  # many in rows
    whole = tumor_fractions(multi(TUMOR_RINGS), xy, side_level0=64, side_px=32)
    monkeypatch.setattr(labels_module, "AT_ONCE", 70)
    monkeypatch.setattr(labels_module, "AT_ONCE_PX", 3 * 32**2)
    in_parts = tumor_fractions(multi(TUMOR_RINGS), xy, side_level0=64, side_px=32)
    alone = [
        tumor_fractions(multi(TUMOR_RINGS), one, side_level0=64, side_px=32)[0] for one in xy[:50]
    ]
    assert np.array_equal(whole, in_parts)
    assert np.array_equal(whole[:50], alone)
    assert not whole[300:600].any()


def test_centres_on_lines_and_corners_are_told_exactly():
    """Outlines on whole px, windows whose centres fall on whole px: half of all lines go through
    centres."""
    rng = np.random.default_rng(4)
    steps = [
        shapely.box(x, y, x + w, y + h)
        for x, y, w, h in rng.integers(1, 60, (150, 4)) * (7, 7, 1, 1)
    ]
    hull = [Polygon(rng.integers(0, 400, (3, 2))) for _ in range(12)]
    pieces = shapely.union_all([*steps, *(triangle for triangle in hull if triangle.is_valid)])
    tumor = MultiPolygon([p for p in shapely.get_parts(pieces) if isinstance(p, Polygon)])
    xy = rng.integers(-20, 400, (400, 2)).astype(np.float64)
    for side_level0, side_px in ((32, 16), (33, 11), (20, 20), (16, 32)):
        shares = tumor_fractions(tumor, xy, side_level0=side_level0, side_px=side_px)
        assert np.array_equal(
            shares, reference(tumor, xy, side_level0=side_level0, side_px=side_px)
        )


@pytest.mark.parametrize("px_level0", [1.0, 2.0, 3.7, 57.375])
def test_windows_of_a_raster_are_parts_of_one_another(px_level0):
    raster = PolygonRaster(multi(TUMOR_RINGS))
    columns, rows = int(1400 / px_level0) + 3, int(900 / px_level0) + 2
    whole = raster.window((0.0, 0.0), px_level0=px_level0, shape=(rows, columns))
    y, x = (np.mgrid[:rows, :columns] + 0.5) * px_level0
    other = whole != even_odd(TUMOR_RINGS, x, y)  # which counts one side's line as inside
    assert (
        shapely.distance(multi(TUMOR_RINGS).boundary, shapely.points(x[other], y[other])).max(
            initial=0
        )
        < 1e-9
    )
    assert not whole[other].any()
    assert whole.any()
    row, column = rows // 3, columns // 4
    corner = column * px_level0, row * px_level0
    part = raster.window(corner, px_level0=px_level0, shape=(rows // 2, columns // 3))
    assert np.array_equal(part, whole[row : row + rows // 2, column : column + columns // 3])


def test_a_raster_of_nothing_and_one_too_large():
    assert not PolygonRaster(MultiPolygon()).window((0.0, 0.0), px_level0=1.0, shape=(5, 7)).any()
    with pytest.raises(ValueError, match="px"):
        PolygonRaster(multi(TUMOR_RINGS)).window((0.0, 0.0), px_level0=1.0, shape=(97_792, 221_184))


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_a_whole_slide_with_71000_vertices_takes_seconds():
    tumor = Annotation.load(REAL_DATA / "camelyon16" / "lesion_annotations" / "tumor_047.xml").tumor
    xy = np.stack(
        np.meshgrid(np.arange(0, 97_792, 256.0), np.arange(0, 221_184, 256.0)), -1
    ).reshape(-1, 2)
    start = time.process_time()
    shares = tumor_fractions(tumor, xy, side_level0=256, side_px=128)
    assert time.process_time() - start < 15  # 1 s where nothing else runs
    assert (shares == 1).sum() > 7000
    some = np.random.default_rng(0).choice(
        np.flatnonzero((shares > 0) & (shares < 1)), 40, replace=False
    )
    assert np.array_equal(shares[some], reference(tumor, xy[some], side_level0=256, side_px=128))


def test_no_tumour_and_no_squares():
    assert tumor_fractions(MultiPolygon(), np.zeros((3, 2)), side_level0=8, side_px=8).tolist() == [
        0,
        0,
        0,
    ]
    assert tumor_fractions(
        multi(TUMOR_RINGS), np.zeros((0, 2)), side_level0=8, side_px=8
    ).shape == (0,)


def test_thousand_lesions_and_many_squares_are_quick():
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 90_000, (1000, 2))
    lesions = MultiPolygon(
        list(shapely.union_all(shapely.buffer(shapely.points(centres), 150)).geoms)
    )
    xy = rng.uniform(0, 90_000, (20_000, 2))
    start = time.process_time()
    shares = tumor_fractions(lesions, xy, side_level0=128, side_px=128)
    assert time.process_time() - start < 10
    assert 0.005 < (shares > 0).mean() < 0.05
