"""The page of `gigaslide view` by keyboard: views, tools, a polygon without a mouse."""

import pytest
from conftest import HEIGHT, WIDTH
from shapely.geometry import Polygon
from viewing import ViewPage

pytestmark = pytest.mark.pages


def test_keys_move_turn_and_reset_the_view_and_the_link_reopens_it(page, browser, page_server):
    page.show("a", x=600, y=400, resolution=1.0)
    page.tab.press("ArrowRight")
    page.settle()  # a turn would end the movement
    page.tab.press("r")
    page.tab.wait_for("location.hash.includes('turn=15')")
    page.settle()
    place = page.place()
    assert place[0] > 650
    assert place[1] == pytest.approx(400, abs=1)
    link = page.tab.run("location.hash")
    other = ViewPage(browser, page_server)
    other.tab.run(f"void (location.hash = {link!r})")
    other.tab.wait_for("document.querySelector('#map canvas') !== null")
    other.settle()
    assert other.place() == pytest.approx(place, abs=0.06)
    page.tab.show()
    page.tab.press("0")
    page.tab.wait_for("location.hash.includes('turn=0')")
    page.settle()
    assert page.place()[:2] == pytest.approx((WIDTH / 2, HEIGHT / 2), abs=1)


def test_every_tool_is_reached_by_keys_and_focus_is_to_be_seen(page):
    page.show("a")
    reached, outlines = set(), set()
    for _ in range(60):
        page.tab.press("Tab")
        name, outline = page.tab.run(
            "(e => [e.id || e.dataset.action || e.dataset.panel || e.tagName, "
            "getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        reached.add(name)
        outlines.add(outline if name != "BODY" else "solid")
    tools = ["select", "polygon", "freehand", "trace", "brush", "erase", "corners", "hole", "split"]
    assert {f"tool-{name}" for name in tools} <= reached
    assert {"map", "accept", "theme", "help", "opacity", "heatmap-on", "versions"} <= reached
    assert outlines == {"solid"}
    for key, name in zip("pftbechsv", [*tools[1:], "select"], strict=False):
        page.tab.press(key)
        pressed = "document.querySelector('#tools [aria-pressed=true]').id"
        assert page.tab.run(pressed) == f"tool-{name}"


def test_a_polygon_is_drawn_without_a_mouse(page, page_server):
    page.show("a", x=600, y=400, resolution=1.0)
    while page.tab.run("document.activeElement.id") != "tool-polygon":
        page.tab.press("Tab")
    page.tab.press("Enter")
    corners = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.tab.press("i")
        corners.append(page.place()[:2])
        page.tab.press(key)
        page.settle()
    page.tab.press("Enter")
    page.wait_for_count(1)
    page.save(1)
    (shape,) = page_server.shapes()
    assert shape.equals(shape.convex_hull)
    assert shape.area == pytest.approx(Polygon(corners).area, rel=0.01)
    assert shape.centroid.distance(Polygon(corners).centroid) < 2
    page.tab.press("w")
    page.tab.press("w")
    assert page.tab.run("document.activeElement.dataset.panel") == "next"
    assert page.tab.run("document.getElementById('panel-next').checkVisibility()")
