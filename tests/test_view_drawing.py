"""Outlines drawn, corrected and saved by mouse and keys in the page of `gigaslide view`."""

import time
from dataclasses import replace

import numpy as np
import pytest
import shapely
from gigaslide.annotate import (
    AnnotationFolder,
    Deal,
    DrawnOutline,
    SaveFacts,
    SlideIdentity,
    active_seconds,
    new_id,
)
from serving import make_slide, make_workspace
from shapely.geometry import Polygon, box
from viewing import PageServer, ViewPage, renamed, running

pytestmark = pytest.mark.pages
CORNERS = [(500.0, 300.0), (900.0, 340.0), (860.0, 620.0), (470.0, 560.0)]  # level-0 px
VIEW = {"x": 700, "y": 500, "resolution": 1.0}


def save_outlines(server: PageServer, *shapes: Polygon, slide: str = "a", **facts) -> None:
    """Save a version as another program does."""
    versions = server.folder.versions(slide)
    workspace = server.workspace
    with workspace.borrow(workspace.slides[slide]) as held:
        identity = held.identity
    versions.save(
        [DrawnOutline(id=new_id(), shape=shape) for shape in shapes],
        SaveFacts(**{"annotator": "Ada", **facts}),
        parent=max(versions.numbers(), default=0),
        identity=identity,
    )


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


def test_v1_two_tabs_save_one_slide_and_both_are_kept(browser, page, page_server):
    page.show("a", **VIEW)
    other = ViewPage(browser, page_server)
    other.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.save(1)
    other.polygon((300, 700), (420, 700), (420, 760))
    other.tab.press("s", control=True)
    other.tab.wait_for("document.querySelectorAll('dialog canvas').length === 2")
    other.answer("both")
    other.wait_for_status("Saved · version 2")
    assert [len(page_server.saved("a", number)) for number in (1, 2)] == [1, 2]
    page.tab.show()
    page.tab.press("Delete")  # the first tab deletes its outline on top of version 1
    page.tab.press("s", control=True)
    page.answer("theirs")
    page.wait_for_count(2)
    page.tab.press("z", control=True)  # and gets its own state back
    page.wait_for_count(0)
    assert page_server.folder.versions("a").numbers() == [1, 2, 3, 4]
    assert [len(page_server.saved("a", number)) for number in (3, 4)] == [0, 2]  # mine, theirs


def test_v2_work_of_a_crashed_tab_is_offered(browser, page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page.tab.press("p")
    for corner in [(300, 700), (420, 700), (420, 760)]:
        page.tab.click(*page.px(*corner))
    drafts = page_server.folder.versions("a").drafts
    end = time.monotonic() + 10
    while True:
        kept = [drafts.load(tab) for tab in drafts.times()]
        if kept and len(kept[0].get("sketch") or []) == 3:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    page.tab.close()
    page_server.tabs.remove(page.tab)
    again = ViewPage(browser, page_server)
    again.show("a", **VIEW)
    again.answer("go on")
    again.wait_for_count(1)
    again.tab.press("Enter")  # closes the unfinished polygon
    again.wait_for_count(2)
    again.save(1)
    areas = sorted(shape.area for shape in page_server.shapes())
    assert areas == pytest.approx([3600, Polygon(CORNERS).area], rel=0.02)
    assert drafts.times() == {}


def test_v5_without_a_server_the_page_says_not_saved_and_saves_when_it_is_back(page, page_server):
    page.show("a", **VIEW)
    page.polygon(*CORNERS)
    page_server.stop()
    page.wait_for_status("Not saved", patience_s=5)
    page.tab.press("p")
    for corner in [(300, 700), (420, 700), (420, 760)]:
        page.tab.click(*page.px(*corner))
    page.tab.press("Enter")
    page.wait_for_count(2)
    page.tab.press("s", control=True)
    page.tab.wait_for(
        "indexedDB.databases().then(all => all.some(one => one.name.startsWith('gigaslide')))"
    )
    page.wait_for_status("Not saved")
    page_server.start()
    page.wait_for_status("Saved · version 1")
    assert len(page_server.shapes()) == 2


def test_leaving_without_a_server_keeps_the_unfinished_outline(page, page_server):
    page.show("a", **VIEW)
    page_server.stop()
    page.wait_for_status("does not answer", patience_s=5)
    page.tab.press("p")
    for corner in CORNERS:
        page.tab.click(*page.px(*corner))
    page.wait_for_status("Not saved")
    page.tab.run("void (location.hash = '/')")
    page.tab.wait_for("document.body.dataset.view === 'list'")
    page_server.start()
    page.show("a", **VIEW)
    page.answer("go on")
    page.tab.press("Enter")
    page.wait_for_count(1)
    page.save(1)
    (shape,) = page_server.shapes()
    assert shape.area == pytest.approx(Polygon(CORNERS).area, rel=0.02)


def test_nothing_is_drawn_before_the_outlines_are_loaded(page, page_server, monkeypatch):
    from gigaslide.serve import outlines
    from gigaslide.serve.answers import Problem

    def fail(*_):
        raise Problem(503, "busy")

    save_outlines(page_server, box(500, 300, 800, 500))
    with monkeypatch.context() as patch:
        patch.setattr(outlines, "_outlines", fail)
        page.show("a", **VIEW)
        page.wait_for_status("The outlines are not loaded")
        page.tab.press("p")
        pressed = "document.querySelector('#tools [aria-pressed=true]').id"
        assert page.tab.run(pressed) == "tool-select"
        assert page.tab.run("document.getElementById('accept').disabled")
    page.wait_for_status("Saved · version 1")
    page.polygon((300, 700), (420, 700), (420, 760))
    page.save(2)
    assert len(page_server.shapes()) == 2


def test_v4_a_full_disk_is_told_and_the_work_kept(page, page_server, monkeypatch):
    from gigaslide.annotate import SlideVersions
    from gigaslide.storage import StoreError

    page.show("a", **VIEW)
    page.polygon(*CORNERS)

    def fail(*_, **__):
        raise StoreError("no room") from OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SlideVersions, "save", fail)
        page.tab.press("s", control=True)
        page.wait_for_status("Not saved")
        page.tab.wait_for("document.getElementById('toasts').textContent.includes('Not saved')")
    assert page.count() == 1
    page.save(1)
    assert len(page_server.shapes()) == 1


def test_v6_outlines_of_another_slide_are_changed_only_after_a_look(page, page_server):
    other = SlideIdentity(name="a.tif", fingerprint="old", width=999, height=777, mpp=0.5)
    page_server.folder.versions("a").save(
        [DrawnOutline(id=new_id(), shape=box(300, 300, 700, 500))],
        SaveFacts(annotator="Ada"),
        parent=0,
        identity=other,
    )
    page.show("a", **VIEW)
    page.answer("")
    page.wait_for_status("Read only")
    page.tab.press("p")
    page.tab.click(*page.px(400, 400))
    assert page.tab.run("document.querySelector('#tools [aria-pressed=true]').id") == "tool-select"
    page.tab.reload()
    page.answer("fit")
    page.tab.wait_for("!document.getElementById('accept').disabled")
    page.polygon((300, 700), (420, 700), (420, 760))
    page.save(2)


def test_v6_a_slide_replaced_under_an_open_page_is_saved_only_after_a_look(browser, tmp_path):
    workspace = make_workspace(tmp_path)
    for server in running(workspace):
        save_outlines(server, box(300, 300, 700, 500), annotator="Berta")
        page = ViewPage(browser, server)
        page.show("a", **VIEW)
        path = server.workspace.slides["a"].path
        make_slide(path.with_name("other.tif"), seed=2).replace(path)
        page.polygon((300, 700), (420, 700), (420, 760))
        page.tab.press("s", control=True)
        page.answer("later")
        page.wait_for_status("Not saved")
        assert server.folder.versions("a").numbers() == [1]
        page.tab.press("4")  # tiles that the page does not have
        page.tab.wait_for("document.getElementById('toasts').textContent.includes('replaced')")
        assert page.count() == 2
        page.tab.press("s", control=True)
        page.answer("save")
        page.wait_for_status("Saved · version 2")
        assert len(server.shapes()) == 2
    workspace.shelf.close()


def test_a_slide_with_a_slash_in_its_id_is_shown(browser, viewed, tmp_path):
    slides = renamed(viewed, "block 1/a", "b")
    folder = AnnotationFolder.create(tmp_path / "annotations")
    for server in running(replace(viewed, cohort=slides, annotations=folder)):
        page = ViewPage(browser, server)
        page.show("block 1/a", **VIEW)
        assert page.screen().std() > 20  # the slide, not an empty pane
        assert page.tab.complaints() == []


def test_versions_are_listed_and_restored(page, page_server):
    save_outlines(page_server, box(300, 300, 700, 500), annotator="Berta")
    save_outlines(page_server, box(300, 300, 700, 500), box(800, 300, 900, 500))
    page.show("a", **VIEW)
    page.panel("versions")
    page.tab.wait_for("document.getElementById('versions').textContent.includes('Berta')")
    page.tab.run("document.querySelector('#versions button').click()")
    page.wait_for_status("Saved · version 3")
    page.wait_for_count(1)
    assert len(page_server.saved("a", 3)) == 1
    assert page_server.folder.versions("a").numbers() == [1, 2, 3]


def test_accept_says_that_the_slide_is_done(page, page_server):
    save_outlines(page_server, box(300, 300, 700, 500))
    page.show("a", **VIEW)
    page.tab.run("document.getElementById('accept').click()")
    page.wait_for_status("Saved · version 2")
    newest = page_server.folder.versions("a").newest()
    assert newest is not None
    assert newest.facts.accepted
    page.tab.press("l")
    page.tab.wait_for("document.querySelector('.card .state').textContent === 'accepted'")


def test_next_leads_to_a_region_with_its_reason_and_minutes_count(page, page_server):
    page.show("b")
    page.tab.press("n")
    page.tab.wait_for("location.hash.startsWith('#/slide/a')")
    page.panel("next")
    page.tab.wait_for("document.querySelector('.region[aria-current]') !== null")
    page.settle()
    reason = page.text("next")
    assert "mm²" in reason
    assert page.tab.run("document.querySelectorAll('.region').length") >= 1
    page.tab.press("y")  # looked at: the square is outlined, so that it counts
    page.tab.wait_for("document.querySelectorAll('.region.accepted').length === 1")
    page.show("b")  # leaving saves
    (region,) = page_server.saved("a")
    assert region.group == "Region*"
    for _ in range(3):
        page.tab.mouse("Moved", 600, 400)
        time.sleep(0.4)
        page.tab.mouse("Moved", 640, 420)
    page.tab.run("void (location.hash = '/')")
    end = time.monotonic() + 10
    while not any(
        e.kind == "close" and e.slide == "b" for e in page_server.folder.journal.events()
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    events = page_server.folder.journal.events()
    assert {"open", "input", "save", "close"} <= {event.kind for event in events}
    assert {event.annotator for event in events} == {"Ada"}
    assert sum(active_seconds(events).values()) > 1


def test_a_slide_dealt_from_scratch_hides_what_the_model_found(browser, viewed, tmp_path):
    folder = AnnotationFolder.create(tmp_path / "annotations", Deal(scratch=1.0))
    for server in running(replace(viewed, annotations=folder)):
        versions = folder.versions("a")
        with server.workspace.borrow(server.workspace.slides["a"]) as held:
            identity = held.identity
        shape = DrawnOutline(id=new_id(), shape=box(300, 300, 700, 500), origin="proposed")
        facts = SaveFacts(made_by="propose")
        versions.save([shape], facts, parent=0, identity=identity, keep_origins=True)
        page = ViewPage(browser, server)
        page.show("a", **VIEW)
        page.wait_for_status("Saved · version 1")
        assert page.text("mode") == "From scratch"
        assert page.count() == 0
        assert not page.tab.run("document.getElementById('heatmap-controls').checkVisibility()")


def test_a_blind_annotator_sees_the_own_outlines_again(browser, viewed, tmp_path):
    folder = AnnotationFolder.create(tmp_path / "annotations", Deal(blind=1.0))
    for server in running(replace(viewed, annotations=folder)):
        save_outlines(server, box(300, 300, 700, 500), annotator="Berta")
        page = ViewPage(browser, server)
        page.show("a", **VIEW)
        assert page.text("mode") == "Blind"
        assert page.count() == 0
        page.polygon((300, 700), (420, 700), (420, 760))
        page.polygon(*CORNERS)
        page.save(2)
        page.tab.reload()
        page.wait_for_count(2)
        page.wait_for_status("Saved · version 2")
        page.polygon((600, 700), (720, 700), (720, 760))
        page.save(3)
        assert len(server.saved("a", 3)) == 3


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
