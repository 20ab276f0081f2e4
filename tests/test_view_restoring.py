"""Versions in the page of `gigaslide view`: looked at, restored, and saved elsewhere meanwhile."""

import pytest
from shapely.geometry import box
from viewing import save_outlines

pytestmark = pytest.mark.pages
VIEW = {"x": 700, "y": 500, "resolution": 1.0}


def test_versions_are_listed_and_restored(page, page_server):
    save_outlines(page_server, box(300, 300, 700, 500), annotator="Berta")
    save_outlines(page_server, box(300, 300, 700, 500), box(800, 300, 900, 500))
    page.show("a", **VIEW)
    page.panel("versions")
    page.tab.wait_for("document.getElementById('versions').textContent.includes('Berta')")
    assert "shown" in page.tab.run("document.querySelector('#versions li').innerText")
    page.tab.run("document.querySelector('#versions button').click()")
    page.tab.wait_for("document.querySelectorAll('dialog canvas').length === 2")
    page.answer("")
    page.settle()
    assert page_server.folder.versions("a").numbers() == [1, 2]
    page.tab.run("document.querySelector('#versions button').click()")
    page.answer("restore")
    page.wait_for_status("Saved · version 3")
    page.wait_for_count(1)
    assert len(page_server.saved("a", 3)) == 1
    assert page_server.folder.versions("a").numbers() == [1, 2, 3]


def test_a_version_saved_elsewhere_is_shown_before_one_is_restored(page, page_server):
    save_outlines(page_server, box(300, 300, 700, 500))
    save_outlines(page_server, box(300, 300, 700, 500), box(800, 300, 900, 500))
    page.show("a", **VIEW)
    page.panel("versions")
    page.tab.wait_for("document.querySelector('#versions button') !== null")
    save_outlines(page_server, annotator="Berta")
    page.tab.run("document.querySelector('#versions button').click()")
    page.answer("restore")  # from a page that does not know version 3
    page.wait_for_status("Saved · version 3")
    page.wait_for_count(0)
    assert page_server.folder.versions("a").numbers() == [1, 2, 3]
    page.tab.press("z", control=True)
    page.wait_for_count(2)
    page.tab.press("y", control=True)
    page.wait_for_status("Saved · version 3")
    save_outlines(page_server, box(300, 300, 700, 500), annotator="Berta")
    page.panel("show")
    page.panel("versions")
    page.wait_for_status("Saved · version 4")
    page.polygon((300, 700), (420, 700), (420, 760))
    save_outlines(page_server, annotator="Berta")
    page.panel("versions")  # unsaved work stays where it is
    page.tab.wait_for("document.querySelectorAll('#versions li').length === 5")
    page.settle()
    assert page.count() == 2


def test_a_version_that_cannot_be_loaded_says_so(page, page_server):
    save_outlines(page_server, box(300, 300, 700, 500))
    save_outlines(page_server, box(300, 300, 700, 500), box(800, 300, 900, 500))
    page.show("a", **VIEW)
    page.panel("versions")
    page.tab.wait_for("document.querySelector('#versions button') !== null")
    page_server.stop()
    page.tab.run("document.querySelector('#versions button').click()")
    page.tab.wait_for("document.querySelector('.toast.error')?.textContent.includes('Version 1')")
    page_server.start()
