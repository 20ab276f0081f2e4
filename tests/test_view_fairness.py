"""Regions to look at next, minutes, and what the page hides so that they can be compared."""

import time
from dataclasses import replace

import pytest
from gigaslide.annotate import (
    AnnotationFolder,
    Deal,
    DrawnOutline,
    SaveFacts,
    active_seconds,
    new_id,
)
from shapely.geometry import box
from viewing import ViewPage, running, save_outlines

pytestmark = pytest.mark.pages
CORNERS = [(500.0, 300.0), (900.0, 340.0), (860.0, 620.0), (470.0, 560.0)]  # level-0 px
VIEW = {"x": 700, "y": 500, "resolution": 1.0}


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
        page.wait_for_status("No outlines saved yet")
        assert page.text("mode") == "From scratch"
        assert page.count() == 0
        assert not page.tab.run("document.getElementById('heatmap-controls').checkVisibility()")
        page.polygon((300, 700), (420, 700), (420, 760))
        page.tab.press("Enter", control=True)
        page.wait_for_status("Accepted · version 2")
        page.tab.wait_for("document.getElementById('heatmap-controls').checkVisibility()")
        assert not page.tab.run("document.getElementById('mode').checkVisibility()")


def test_a_blind_annotator_sees_the_own_outlines_again(browser, viewed, tmp_path):
    folder = AnnotationFolder.create(tmp_path / "annotations", Deal(blind=1.0))
    for server in running(replace(viewed, annotations=folder)):
        save_outlines(server, box(300, 300, 700, 500), annotator="Berta")
        page = ViewPage(browser, server)
        card = "document.querySelector('.card').innerText"
        assert {"to do", "Blind", "score hidden"} <= set(page.tab.run(card).split("\n"))
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
