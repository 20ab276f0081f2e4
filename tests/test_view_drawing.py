"""Outlines drawn and corrected by mouse, fingers and keys in the page of `gigaslide view`."""

import time

import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon, box
from viewing import save_outlines

pytestmark = pytest.mark.pages
CORNERS = [(500.0, 300.0), (900.0, 340.0), (860.0, 620.0), (470.0, 560.0)]  # level-0 px
VIEW = {"x": 700, "y": 500, "resolution": 1.0}


def test_a_polygon_is_saved_where_it_was_clicked(page, page_server):
    page.show("a", x=700, y=480, resolution=1.4, degrees=30)
    page.polygon(*CORNERS)
    page.save(1)
    (outline,) = page_server.saved()
    assert (outline.group, outline.origin) == ("Tumor", "drawn")
    found = np.array(outline.shape.exterior.coords)
    for corner in CORNERS:
        assert np.abs(found - corner).max(axis=1).min() <= 1.5
    assert len(found) == 5
    assert page.tab.complaints() == []


def test_a_reload_shows_the_same_outlines(page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.polygon((300, 700), (420, 700), (420, 760))
    page.save(1)
    page.tab.reload()
    page.wait_for_count(2)
    page.wait_for_status("Saved · version 1")
    assert page_server.folder.versions("a").drafts.times() == {}


def test_brush_adds_and_eraser_removes(page, page_server):
    page.show("a", **VIEW)
    page.stroke("b", (500, 400), (800, 400))
    page.wait_for_count(1)
    page.stroke("b", (790, 400), (790, 600))
    page.tab.press("[")  # a smaller brush
    page.stroke("e", (600, 330), (600, 470))
    page.wait_for_count(2)
    page.save(1)
    left, right = sorted(page_server.shapes(), key=lambda shape: shape.centroid.x)
    assert left.bounds == pytest.approx((480, 380, 584, 420), abs=1.5)
    assert right.bounds == pytest.approx((616, 380, 820, 620), abs=1.5)
    whole = shapely.union(
        shapely.LineString([(500, 400), (800, 400)]).buffer(20),
        shapely.LineString([(790, 400), (790, 600)]).buffer(20),
    )
    expected = whole.difference(shapely.LineString([(600, 330), (600, 470)]).buffer(16))
    assert shapely.union(left, right).symmetric_difference(expected).area < 0.02 * expected.area


def test_a_hole_is_cut_kept_and_filled(page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.stroke("h", (600, 400), (700, 400), (700, 500), (600, 500), (600, 402))
    page.panel("outlines")
    page.tab.wait_for("document.getElementById('selection').textContent.includes('1 hole')")
    page.save(1)
    (shape,) = page_server.shapes()
    assert len(shape.interiors) == 1
    assert Polygon(shape.interiors[0]).area == pytest.approx(10_000, rel=0.05)
    page.tab.press("u")
    page.tab.wait_for("!document.getElementById('selection').textContent.includes('hole')")
    page.save(2)
    assert page_server.shapes()[0].area == pytest.approx(Polygon(CORNERS).area, rel=0.01)


def test_a_stroke_that_crosses_itself_becomes_valid_outlines(page, page_server):
    page.show("a", **VIEW)
    page.stroke("f", (500, 400), (800, 600), (800, 400), (500, 600), (500, 402))
    page.tab.wait_for("document.querySelector('.count').textContent > 0")
    page.save(1)
    shapes = page_server.shapes()
    assert all(shape.is_valid for shape in shapes)
    assert sum(shape.area for shape in shapes) == pytest.approx(30_000, rel=0.05)


def test_an_outline_is_split_and_merged(page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.stroke("s", (680, 250), (680, 450), (690, 680))
    page.wait_for_count(2)
    page.save(1)
    parts = page_server.shapes()
    assert sum(part.area for part in parts) == pytest.approx(Polygon(CORNERS).area, rel=0.01)
    assert shapely.union_all(parts).geom_type == "Polygon"
    page.tab.press("m")  # both are selected
    page.wait_for_count(1)


def test_a_stroke_away_from_the_selected_outline_changes_the_one_under_it(page, page_server):
    left, right = box(400, 300, 600, 600), box(700, 300, 900, 600)
    save_outlines(page_server, left, right)
    page.show("a", **VIEW)
    page.wait_for_count(2)
    page.tab.click(*page.px(500, 450))  # selects the left one
    page.stroke("s", (800, 250), (800, 450), (800, 650))
    page.wait_for_count(3)
    page.tab.press("v")
    page.tab.click(*page.px(500, 450))
    page.stroke("e", (580, 450), (720, 450))  # meets both: only the selected one is changed
    page.save(2)
    areas = sorted(shape.area for shape in page_server.shapes())
    assert areas[:2] == [30_000, 30_000]
    assert 55_000 < areas[2] < 60_000
    page.stroke("e", (650, 700), (680, 700))
    page.tab.wait_for("document.querySelector('.toast')?.textContent.includes('nothing to change')")
    page.wait_for_status("Saved · version 2")


def test_corners_move_come_and_go_and_every_step_is_undone(page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.tab.press("c")
    area = Polygon(CORNERS).area
    page.tab.drag(page.px(900, 340), page.px(950, 320), page.px(1000, 300))  # a corner
    moved = [CORNERS[0], (1000, 300), *CORNERS[2:]]
    page.save(1)
    assert page_server.shapes()[0].symmetric_difference(Polygon(moved)).area < 0.01 * area
    page.tab.drag(page.px(750, 300), page.px(750, 250), page.px(740, 200))  # an edge: a new corner
    page.save(2)
    assert len(page_server.shapes()[0].exterior.coords) == 6
    page.tab.click(*page.px(740, 200), modifiers=1)  # Alt: the corner goes
    page.save(3)
    assert page_server.shapes()[0].symmetric_difference(Polygon(moved)).area < 0.02 * area
    for _ in range(3):
        page.tab.press("z", control=True)
    page.save(4)
    assert page_server.shapes()[0].symmetric_difference(Polygon(CORNERS)).area < 0.01 * area
    page.tab.press("y", control=True)
    page.save(5)
    assert page_server.shapes()[0].symmetric_difference(Polygon(moved)).area < 0.01 * area


def test_trace_takes_the_corners_of_another_outline(page, page_server):
    save_outlines(page_server, box(500, 300, 800, 500))
    page.show("a", **VIEW)
    page.tab.press("t")
    page.tab.click(*page.px(500, 400))  # on its left edge
    for place in [(500, 350), (500, 300), (600, 300), (700, 300)]:
        page.tab.mouse("Moved", *page.px(*place))
    page.tab.click(*page.px(700, 300))
    page.tab.click(*page.px(650, 200))
    page.tab.click(*page.px(450, 200))
    page.tab.press("Enter")
    page.wait_for_count(2)
    page.save(2)
    drawn = [one for one in page_server.saved() if one.shape.bounds[1] < 290]
    corners = np.array(drawn[0].shape.exterior.coords)
    assert np.abs(corners - (500, 300)).max(axis=1).min() == 0  # exactly the traced corner


@pytest.mark.parametrize("way", ["Escape", "right click", "class", "tool", "slide"])
def test_v15_an_unfinished_outline_leaves_nothing_half_made(page, page_server, way):
    page.show("a", **VIEW)
    page.tab.press("p")
    for corner in CORNERS[:2]:
        page.tab.click(*page.px(*corner))
    page.wait_for_status("Unsaved")
    if way == "Escape":
        page.tab.press("Escape")
    elif way == "right click":
        page.tab.click(*page.px(600, 600), button="right")
    elif way == "class":
        page.panel("outlines")
        page.tab.run("document.querySelector('#classes [title=\"Remove Tumor\"]').click()")
    elif way == "tool":
        page.tab.press("f")
    else:
        page.show("b")
        page.show("a", **VIEW)
    assert page.count() == 0
    page.wait_for_status("No outlines saved yet")
    page.tab.press("p")
    page.polygon(*CORNERS)
    assert page.count() == 1
    assert page.tab.complaints() == []


def test_v15_undo_past_a_save_says_so_and_keeps_the_version(page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.save(1)
    page.tab.press("z", control=True)
    page.tab.wait_for("document.getElementById('toasts').textContent.includes('before version 1')")
    page.wait_for_status("Unsaved")
    assert page.count() == 0
    page.save(2)
    assert [len(page_server.saved("a", number)) for number in (1, 2)] == [1, 0]


@pytest.mark.slow
def test_a_finger_draws_and_two_fingers_move_and_zoom(page, page_server):
    page.show("a", **VIEW)
    page.tab.press("p")
    for corner in (*CORNERS, CORNERS[0]):
        page.tab.touch([page.px(*corner)])
    page.wait_for_count(1)
    page.tab.press("f")
    page.tab.touch(
        [page.px(*corner) for corner in [(350, 700), (450, 700), (450, 800), (350, 790)]]
    )
    page.wait_for_count(2)
    page.tab.press("b")
    page.tab.touch([page.px(x, 760) for x in range(500, 800, 20)])
    page.wait_for_count(3)
    for key in "bf":  # what the first finger began is no stroke
        page.tab.press(key)
        x, y, resolution, _ = page.place()
        thumb, finger = page.px(x - 60, y), page.px(x + 60, y + 30)
        steps = range(0, 100, 10)
        page.tab.touch(
            [(thumb[0] - step, thumb[1] + step) for step in steps],
            [(finger[0] + step, finger[1] + step) for step in steps],
        )
        page.settle()
        assert page.place()[2] < 0.8 * resolution
        assert page.place()[1] < y - 10
    page.save(1)
    shapes = page_server.shapes()
    assert len(shapes) == 3
    assert shapes[0].symmetric_difference(Polygon(CORNERS)).area < 0.05 * Polygon(CORNERS).area
    left, top, right, bottom = shapes[2].bounds
    assert right - left > 280 > bottom - top
    assert page.tab.complaints() == []


@pytest.mark.slow
def test_v8_ten_thousand_outlines_are_shown_soon_and_counted(page, page_server):
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    places = np.stack(np.meshgrid(np.arange(100) * 15 + 8, np.arange(100) * 11 + 8), -1)
    ring = 4 * np.stack([np.cos(angle), np.sin(angle)], -1)
    save_outlines(page_server, *(Polygon(ring + place) for place in places.reshape(-1, 2)))
    started = time.monotonic()
    page.tab.run("void (location.hash = '/slide/a')")
    page.tab.wait_for(
        "document.getElementById('too-small').textContent.startsWith('10,000')", patience_s=30
    )
    assert time.monotonic() - started < 15  # 3 s on a quiet machine
    page.tab.press("6")
    page.tab.wait_for("document.getElementById('too-small').hidden")
