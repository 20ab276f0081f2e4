"""The documentation in a browser, opened from its folder: no request leaves it, search works."""

import os
import time
from pathlib import Path

import pytest
from browser import Browser, find_chromium

SITE = Path(__file__).resolve().parents[1] / "site"
PAGES = ("index.html", "first-run.html", "commands/tile.html", "api/wsi.html", "tutorial.html")

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.pages,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; .ci/chromium install"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site; make docs"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [1366, 390])
def test_a_page_opens_without_complaint_or_request(browser, page, width):
    tab = browser.tab(width=width, mobile=width < 500)
    tab.open(SITE / page)
    assert tab.complaints() == []
    assert [one for one in tab.requests() if not one.startswith(("file:", "data:"))] == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")


def test_search_finds_a_setting_from_a_page_in_a_folder(browser):
    tab = browser.tab()
    tab.open(SITE / "api" / "wsi.html")
    tab.run("document.querySelector('.md-search__input').focus()")
    for letter in "hard negatives":  # the search field listens to keys, not to its content
        tab.press(letter)
    links = "[...document.querySelectorAll('.md-search-result__link')].map((one) => one.href)"
    until = time.monotonic() + 30
    while not (found := tab.run(links)) and time.monotonic() < until:
        time.sleep(0.2)
    targets = {os.path.relpath(link.partition("?")[0], SITE.as_uri()) for link in found}
    assert {"commands/tile.html", "first-run.html"} <= targets
    assert tab.complaints() == []
