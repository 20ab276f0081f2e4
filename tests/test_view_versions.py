"""Saves, versions and lost connections in the page of `gigaslide view`: no work is lost."""

import time
from dataclasses import replace

import pytest
from gigaslide.annotate import (
    AnnotationFolder,
    DrawnOutline,
    SaveFacts,
    SlideIdentity,
    new_id,
)
from serving import make_slide, make_workspace
from shapely.geometry import Polygon, box
from viewing import ViewPage, renamed, running, save_outlines

pytestmark = pytest.mark.pages
CORNERS = [(500.0, 300.0), (900.0, 340.0), (860.0, 620.0), (470.0, 560.0)]  # level-0 px
VIEW = {"x": 700, "y": 500, "resolution": 1.0}


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
    end = time.monotonic() + 30
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
    page.wait_for_status("Unsaved changes")
    page.tab.press("Enter")
    page.wait_for_count(1)
    page.save(1)
    (shape,) = page_server.shapes()
    assert shape.area == pytest.approx(Polygon(CORNERS).area, rel=0.02)


def test_nothing_is_drawn_before_the_outlines_are_loaded(page, page_server, monkeypatch):
    from gigaslide.serve.answers import Problem
    from gigaslide.serve.drawing import outlines

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
        page.wait_for_status("Not saved")
        page.answer("later")
        page.wait_for_status("Unsaved changes")
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


def test_a_slide_that_cannot_be_opened_says_so_until_it_is_left(browser, viewed, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no picture")
    slides = (viewed.slides["a"], replace(viewed.slides["b"], path=broken))
    for server in running(replace(viewed, cohort=replace(viewed.cohort, slides=slides))):
        page = ViewPage(browser, server)
        page.show("a", **VIEW)
        page.tab.run("void (location.hash = '/slide/b')")
        page.wait_for_status("cannot be shown")
        assert (
            page.tab.run("document.querySelector('.toast.error').textContent.split('b:').length")
            == 2
        )
        assert page.tab.run("document.getElementById('accept').disabled")
        assert not page.tab.run("document.getElementById('overview').checkVisibility()")
        page.show("a", **VIEW)
        assert page.tab.run("document.querySelector('.toast') === null")
        assert not page.tab.run("document.getElementById('accept').disabled")


def test_accept_says_that_the_slide_is_done(page, page_server):
    save_outlines(page_server, box(300, 300, 700, 500))
    page.show("a", **VIEW)
    page.tab.run("document.getElementById('accept').click()")
    page.wait_for_status("Accepted · version 2")
    newest = page_server.folder.versions("a").newest()
    assert newest is not None
    assert newest.facts.accepted
    page.tab.press("l")
    page.tab.wait_for("document.querySelector('.card .state').textContent === 'accepted'")


def test_a_slide_without_outlines_is_accepted_only_after_a_question(page, page_server):
    page.show("a", **VIEW)
    versions = page_server.folder.versions("a")
    page.tab.press("Enter", control=True)
    page.answer("")
    page.settle()
    assert versions.numbers() == []
    page.tab.press("Enter", control=True)
    page.answer("accept")
    page.wait_for_status("Accepted · version 1")
    assert versions.info(1).facts.accepted
