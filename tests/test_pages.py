"""The pages as a reader has them: in a headless Chromium, from a file, on a desk, a phone and
paper.

`make test-pages` installs the browser; without one these tests skip.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Tab, find_chromium
from gigaslide.cohort import Cohort
from gigaslide.eval import EvaluateSettings, compare_cohort
from predictions import IN_LESION, ITC, LESION, Bench

pytestmark = pytest.mark.pages
HOSTILE = """<script>alert("x")<'&b>"""
SETTINGS = EvaluateSettings(resamples=100, picture_px=300)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: make test-pages installs one")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A report of six slides (one missed lesion, false positives, one left out) and a comparison of
    two models."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    slides = [
        ("high", (LESION, ITC), [(600, 200, 0.91), (200, 600, 0.8)], 0.9),
        (HOSTILE, (LESION,), [(200, 600, 0.97)], 0.3),
        ("low-10", (), [], 0.1),
        ("low-9", (), [(96, 608, 0.7)], 0.2),
        ("low-100", (), [], 0.15),
        ("lost", (), None, 0.0),
    ]
    for name, tumor, points, p in slides:
        label = (
            "" if points is None else "tumor" if tumor else "normal"
        )  # without a label it is left out
        bench.slide(name, label, tumor=tumor, patient=f"of {name[:4]}")
        if points is not None:
            bench.predict(name, probability=np.full((11, 15), p, np.float32), points=points)
    bench.evaluate(SETTINGS)
    other = bench.predictions = bench.folder / "other"
    for name, tumor, points, _ in slides:
        if points is not None:
            bench.predict(
                name, hot=IN_LESION if tumor else (), points=[(600, 200, 0.9)] if tumor else points
            )
    compare_cohort(
        Cohort(slides=tuple(bench.rows)),
        [bench.folder / "predictions", other],
        bench.folder / "compared",
        SETTINGS,
    )
    return bench.folder


@pytest.fixture
def report(browser: Browser, folder: Path) -> Tab:
    tab = browser.tab()
    tab.open(folder / "out" / "report.html")
    return tab


def names(tab: Tab, selector: str) -> list[str]:
    """The slides of what is to be seen, in the order of the page."""
    return tab.run(
        f"[...document.querySelectorAll({selector!r})].filter(e => e.checkVisibility()).map(e => "
        "e.dataset.slide)"
    )


@pytest.mark.parametrize("page", ["out/report.html", "compared/compare.html"])
def test_nothing_complains_and_no_request_leaves_the_file(browser, folder, page):
    for width in (1280, 390):
        tab = browser.tab(width=width, height=800, mobile=width < 500)
        tab.open(folder / page)
        tab.run("window.scrollTo(0, document.body.scrollHeight)")
        tab.run(
            "Promise.all([...document.images].filter(i => i.src).map(i => (i.loading = 'eager', "
            "i.decode())))"
        )
        assert tab.complaints() == []
        sent = [address for address in tab.requests() if not address.startswith("data:")]
        assert sent == [(folder / page).resolve().as_uri()]
        assert tab.run("[...document.images].filter(i => i.src && !i.naturalWidth).length") == 0
        # Nothing is wider than the screen but inside a box that scrolls by itself.
        assert tab.run("document.documentElement.scrollWidth") == width
        assert tab.run("document.scripts.length") == 1


@pytest.mark.parametrize("page", ["out/report.html", "compared/compare.html"])
def test_on_a_phone_a_wide_table_keeps_its_names_in_view_and_says_that_it_scrolls(
    browser, folder, page
):
    tab = browser.tab(width=390, height=800, mobile=True)
    tab.open(folder / page)
    tab.run(
        "window.box = [...document.querySelectorAll('.wide.scrolls')].find(b => "
        "b.querySelector('td.name'))"
    )
    for hinted in (True, False):
        assert tab.run("getComputedStyle(box).maskImage !== 'none'") == hinted
        assert "scroll sideways" in tab.run("getComputedStyle(box, '::before').content")
        left, right, seen = tab.run(
            "(([c, b]) => [c.left - b.left, c.right - b.left, b.width])"
            "([box.querySelector('td.name'), box].map(e => e.getBoundingClientRect()))"
        )
        assert left == pytest.approx(0, abs=1)
        assert right < seen / 2  # and leaves room for what is scrolled
        assert (
            tab.run("getComputedStyle(box.querySelector('td.name')).backgroundColor")
            == "rgb(255, 255, 255)"
        )
        tab.run("new Promise(done => { box.scrollLeft = 1e4; setTimeout(done, 100); })")
    assert tab.run("box.scrollLeft") > 50
    tab.resize(width=2000, height=800)
    assert (
        tab.run(
            "new Promise(done => setTimeout(() => "
            "done(document.querySelectorAll('.scrolls').length), 100))"
        )
        == 0
    )


def test_the_policy_of_the_page_stops_what_would_leave_it(report):
    assert (
        report.run("fetch('https://example.org').then(() => 'left', () => 'stopped')") == "stopped"
    )
    assert "example.org" not in " ".join(report.requests())


def test_a_hostile_name_is_shown_and_not_run(report):
    assert HOSTILE in names(report, "#slide-table tbody tr")
    assert report.run("document.querySelectorAll('main script, main img[onerror]').length") == 0
    shown = report.run("[...document.querySelectorAll('.mistake h3')].map(e => e.textContent)")
    assert any(HOSTILE in words for words in shown)


def test_headings_sort_the_table_and_the_pictures(report):
    before = names(report, "#slide-table tbody tr")

    def click(words: str) -> list[str]:
        report.run(
            "[...document.querySelectorAll('#slide-table th button')].find(b => b.textContent === "
            f"{words!r}).click()"
        )
        order = names(report, "#slide-table tbody tr")
        assert names(report, ".card") == order
        return order

    # Scores: .9, .3, .1, .2, .15, and one that is not known.
    assert click("score") == ["high", HOSTILE, "low-9", "low-100", "low-10", "lost"]
    assert click("score") == ["low-10", "low-100", "low-9", HOSTILE, "high", "lost"]
    assert (
        report.run("document.querySelector('th[aria-sort]').getAttribute('aria-sort')")
        == "ascending"
    )
    names_in_order = click("slide")
    assert (
        names_in_order.index("low-9")
        < names_in_order.index("low-10")
        < names_in_order.index("low-100")
    )
    assert sorted(before) == sorted(names_in_order)
    assert click("false positives")[0] in ("high", HOSTILE, "low-9")


def test_filters_hide_rows_and_pictures(report):
    def choose(name: str, value: str) -> set[str]:
        report.run(
            f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input')); }})"
            f"(document.getElementById('filter-{name}'))"
        )
        shown = names(report, "#slide-table tbody tr")
        assert names(report, ".card") == shown
        assert (
            report.run("document.getElementById('shown').textContent")
            == f"{len(shown)} of 6 slides shown"
        )
        return set(shown)

    assert choose("text", "LOW") == {"low-9", "low-10", "low-100"}
    assert choose("mistakes", "yes") == {"low-9"}
    report.run("document.getElementById('filter-reset').click()")
    assert len(names(report, ".card")) == 6
    assert choose("truth", "tumour") == {"high", HOSTILE}
    assert choose("status", "no label") == set()
    assert choose("truth", "unknown") == {"lost"}
    assert choose("status", "evaluated") == set()


def test_keys_alone_sort_and_enlarge(report):
    report.run("document.querySelector('#slide-table th button').focus()")
    report.press("Enter")
    assert (
        report.run("document.querySelector('#slide-table th').getAttribute('aria-sort')")
        == "ascending"
    )
    report.run("document.querySelector('.zoom').focus()")
    report.press("Enter")
    assert report.run("document.getElementById('large').open")
    decoded = "document.querySelector('#large img').decode()"
    assert (
        report.run(f"{decoded}.then(() => document.querySelector('#large img').naturalWidth)")
        == 320
    )
    report.press("Escape")
    assert not report.run("document.getElementById('large').open")


def test_the_command_and_the_citation_are_copied(report):
    report.run(
        "window.copied = []; document.execCommand = () => copied.push(document.activeElement.value)"
    )
    report.run(
        "navigator.clipboard.writeText = (words) => { copied.push(words); return "
        "Promise.resolve(); }"
    )
    for number, wanted in enumerate(("gigaslide evaluate", "1703.02442")):
        report.run(f"document.querySelectorAll('button.copy')[{number}].click()")
        assert wanted in report.run(
            f"new Promise(done => setTimeout(() => done(copied[{number}]), 50))"
        )
    assert report.run("document.querySelector('button.copy').textContent") == "Copied"


def test_paper_has_every_picture_and_no_lost_column(report):
    pictures = report.run(
        "new Set([...document.querySelectorAll('img[loading=lazy]')].map(i => i.src)).size"
    )
    paper = report.pdf()
    assert paper.startswith(b"%PDF")
    embedded = len(re.findall(rb"/Subtype\s*/Image", paper))
    assert embedded >= pictures > 15
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 3
    # On a page of A4 less its margins nothing may be wider than the page.
    report.ask("Emulation.setEmulatedMedia", media="print")
    report.resize(width=695, height=1000)
    assert report.run("document.documentElement.scrollWidth") == 695
    assert report.run("getComputedStyle(document.querySelector('.controls')).display") == "none"


COLOURS = """
[...new Set([...document.querySelectorAll("main *")]
    .filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(e => {
        let behind = e;
        const back = e => getComputedStyle(e).backgroundColor;
        while (back(behind) === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
        return getComputedStyle(e).color + "|" + back(behind);
    }))]"""  # noqa: E501


def test_a_report_of_129_slides_stays_under_60_mb_and_opens(browser, tmp_path):
    """As many as CAMELYON16's test set, of noise, with four false positives each: more than is
    pictured."""
    bench = Bench(tmp_path)
    bench.noise(slides=129, with_tumor=49)
    bench.evaluate(EvaluateSettings(resamples=50))
    page = tmp_path / "out" / "report.html"
    assert 20e6 < page.stat().st_size < 60e6
    tab = browser.tab()
    tab.open(page)
    assert len(names(tab, ".card")) == 129
    photos = "[...document.images].filter(i => i.src.startsWith('data:image/jpeg')"
    assert tab.run(f"{photos}).length") > 129
    assert tab.run(f"{photos} && i.loading !== 'lazy').length") == 0
    assert tab.complaints() == []


def test_headings_go_down_one_level_at_a_time(browser, folder):
    for page in ("out/report.html", "compared/compare.html"):
        tab = browser.tab()
        tab.open(folder / page)
        levels = tab.run(
            "[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))"
        )
        assert levels[0] == 1
        assert max(np.diff(levels)) == 1


def test_words_stand_out_from_what_is_behind_them(report):
    """WCAG 2 AA: 4.5 to 1, of every text on the page."""
    colours = report.run(COLOURS)
    assert len(colours) > 4
    for pair in colours:
        text, back = (_luminance(one) for one in pair.split("|"))
        assert (max(text, back) + 0.05) / (min(text, back) + 0.05) >= 4.5, pair


def _luminance(words: str) -> float:
    channels = np.array([float(one) for one in re.findall(r"[\d.]+", words)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
