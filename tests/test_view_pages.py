"""Looking at slides in the page of `gigaslide view`: places, overlays, list, links."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import HEIGHT, MPP, WIDTH, offset_level0
from gigaslide.annotate import AnnotationFolder, DrawnOutline, SaveFacts, new_id
from gigaslide.cohort import Cohort
from gigaslide.serve import Listener, ServerSettings
from serving import ORIGIN, STRIDE, heatmap_of, make_workspace
from shapely.geometry import box
from viewing import PageServer, ViewPage, renamed, running

pytestmark = pytest.mark.pages
HOSTILE = """<img src=x onerror="alert('x')">&amp;%2e#?"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_asks_only_its_server_and_nothing_complains(browser, page_server, width):
    page = ViewPage(browser, page_server, width=width, height=800, mobile=width < 500)
    assert page.tab.run("document.documentElement.scrollWidth") == width
    page.show("a")
    for panel in ("outlines", "next", "versions", "show"):
        page.panel(panel)
    page.tab.press("?", shift=True)
    page.answer("")
    assert page.tab.run("document.documentElement.scrollWidth") == width
    assert page.tab.complaints() == []
    origin = f"http://127.0.0.1:{page_server.port}/"
    for address in page.tab.requests():
        assert address.startswith((origin, "blob:" + origin)), address
    assert page.tab.run("document.fonts.size") == 0


@pytest.mark.parametrize(
    ("x", "y", "resolution", "degrees"),
    [
        (700, 500, 2.6, 0),
        (WIDTH - 60, HEIGHT - 50, 1.0, 0),
        (320, 810, 0.5, 0),
        (700, 500, 1.5, 90),
    ],
)
def test_a_place_of_the_slide_is_where_the_link_says(page, x, y, resolution, degrees):
    page.show("a", x=x, y=y, resolution=resolution, degrees=degrees)
    page.tab.press("g")  # hides the heatmap
    page.tab.press("d")
    page.settle()
    assert page.place() == pytest.approx((x, y, resolution, degrees), abs=0.06)
    corner = (x - 40 * resolution, y - 30 * resolution)
    corners = [
        (corner[0] + u, corner[1] + v) for u in (0, 80 * resolution) for v in (0, 60 * resolution)
    ]
    left, top = np.min([page.px(*one) for one in corners], axis=0)
    start = (round(left), round(top))
    size = (60, 80) if degrees else (80, 60)
    window = page.screen()[start[1] : start[1] + size[1], start[0] : start[0] + size[0]]
    window = np.rot90(window, degrees // 90)
    shift = np.array([start[0] - left, start[1] - top]) * resolution
    if degrees:
        shift = np.array([shift[1], -shift[0]])
    found = offset_level0(window, x=corner[0], y=corner[1], px_level0=resolution)
    assert found == pytest.approx(tuple(shift), abs=0.8 * resolution)


def test_cells_of_the_heatmap_lie_on_their_squares(page):
    page.show("a", x=WIDTH / 2, y=HEIGHT / 2, resolution=2.2)
    run = page.tab.run
    run(
        "(e => { e.value = 0; e.dispatchEvent(new Event('input')); })"
        "(document.getElementById('threshold'))"
    )
    run(
        "(e => { e.value = 100; e.dispatchEvent(new Event('input')); })"
        "(document.getElementById('opacity'))"
    )
    page.tab.press("d")
    page.settle()
    shown = page.screen()
    page.tab.press("g")
    page.settle()
    bare = page.screen()
    heatmap = heatmap_of("a")
    expected = {0.0: (255, 247, 188), 1.0: (90, 0, 90), 0.25: (254, 196, 79), 0.6: (220, 68, 48)}

    def colours(row: int, column: int, u: float, v: float) -> tuple[np.ndarray, np.ndarray]:
        x = ORIGIN[0] + (column + u) * STRIDE
        y = ORIGIN[1] + (row + v) * STRIDE
        across, down = page.px(x, y)
        return shown[int(down), int(across)], bare[int(down), int(across)]

    for row, column in [(0, 1), (1, 0), (0, 14), (10, 15), (11, 0), (11, 1)]:
        probability = float(heatmap.probability[row, column])
        wanted = expected[min(expected, key=lambda p: abs(p - probability))]
        for u, v in [(0.15, 0.15), (0.85, 0.85)]:  # near the edges, which swapped axes would miss
            if row == 11 or (row == 0 and column == 0):
                u, v = max(u, 0.3), min(v, 0.3)
            assert colours(row, column, u, v)[0] == pytest.approx(wanted, abs=4), (row, column)
    on, off = colours(3, 5, 0.5, 0.5)  # background
    assert on == pytest.approx(off, abs=2)
    hatched = [colours(4, 6, u, 0.5) for u in np.linspace(0.2, 0.8, 30)]
    darker = [np.abs(on - off).max() > 40 for on, off in hatched]
    assert 3 < sum(darker) < 27


def test_the_threshold_and_the_opacity_hide_cells(page):
    page.show("a", x=WIDTH / 2, y=HEIGHT / 2, resolution=2.2)
    page.tab.press("d")
    page.settle()
    place = tuple(map(int, page.px(ORIGIN[0] + 2.5 * STRIDE, ORIGIN[1] + 6.5 * STRIDE)))

    def colour_at(threshold: int, opacity: int) -> np.ndarray:
        for name, value in (("threshold", threshold), ("opacity", opacity)):
            page.tab.run(
                f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input')); }})"
                f"(document.getElementById('{name}'))"
            )
        page.settle()
        return page.screen()[place[1], place[0]]

    bare = colour_at(0, 0)
    assert np.abs(colour_at(20, 100) - bare).max() > 30  # the cell has 0.25
    assert colour_at(30, 100) == pytest.approx(bare, abs=2)
    page.tab.press("g")
    page.show("b")
    page.show("a")
    page.tab.wait_for("document.getElementById('heatmap-controls').checkVisibility()")
    kept = "[...document.querySelectorAll('#heatmap-on, #detections-on')].map(e => e.checked)"
    assert page.tab.run(kept) == [False, False]  # as left on the slide before
    assert page.text("threshold-value") == "0.30"


def test_scale_bar_and_magnification_follow_the_zoom(page):
    page.show("a")
    for key, magnification in [("4", 10), ("5", 20), ("6", 40)]:
        page.tab.press(key)
        resolution = 10 / magnification / MPP
        page.tab.wait_for(f"location.hash.includes('res={resolution:g}&')")
        page.tab.wait_for(
            f"document.getElementById('magnification').textContent.startsWith('{magnification}')"
        )
        number, unit = page.text("scale-text").replace(",", "").split()
        um = float(number) * {"µm": 1, "mm": 1000}[unit]
        width = page.tab.run("document.getElementById('scale-line').getBoundingClientRect().width")
        assert width == pytest.approx(um / MPP / resolution, abs=1)
        assert width <= 140


def test_the_overview_shows_the_view_and_leads_to_a_place(page):
    page.show("a", x=900, y=300, resolution=0.5)
    points = page.tab.run("document.getElementById('overview-mark').getAttribute('points')")
    corners = np.array([[float(v) for v in pair.split(",")] for pair in points.split()])
    _, _, width, height = page.pane()
    assert corners.mean(axis=0) == pytest.approx((900, 300), abs=1)
    assert np.ptp(corners, axis=0) == pytest.approx((width / 2, height / 2), abs=2)
    left, top, width, height = page.tab.run(
        "(r => [r.left, r.top, r.width, r.height])"
        "(document.getElementById('overview').getBoundingClientRect())"
    )
    page.tab.click(left + width * 0.25, top + height * 0.75)
    page.tab.wait_for("Number(new URLSearchParams(location.hash.split('?')[1]).get('x')) < 420")
    page.settle()
    assert page.place()[:2] == pytest.approx((WIDTH * 0.25, HEIGHT * 0.75), rel=0.05)


def names(page: ViewPage) -> list[str]:
    return page.tab.run("[...document.querySelectorAll('.card .name')].map(e => e.textContent)")


def choose(page: ViewPage, element: str, value: str) -> None:
    page.tab.run(
        f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input')); }})"
        f"(document.getElementById('{element}'))"
    )


def test_the_list_is_sorted_and_filtered(browser, viewed):
    cohort = renamed(viewed, "slide-10", "slide-9")
    rows = (replace(cohort.slides[0], label="tumor"), replace(cohort.slides[1], label="normal"))
    for server in running(replace(viewed, cohort=replace(cohort, slides=rows))):
        page = ViewPage(browser, server)
        assert names(page) == ["slide-10", "slide-9"]
        choose(page, "list-sort", "id")
        assert names(page) == ["slide-9", "slide-10"]
        choose(page, "list-label", "tumor")
        assert names(page) == ["slide-10"]
        choose(page, "list-label", "")
        choose(page, "list-text", " SLIDE-9")
        assert names(page) == ["slide-9"]
        choose(page, "list-text", "nothing")
        assert names(page) == []


def test_hostile_names_are_text(browser, viewed, tmp_path):
    row = replace(viewed.cohort.slides[0], label="tumor", patient=HOSTILE, split="train")
    cohort = Cohort(slides=(row, viewed.cohort.slides[1]))
    folder = AnnotationFolder.create(tmp_path / "annotations")
    workspace = replace(viewed, cohort=cohort, annotations=folder, annotator=HOSTILE)
    with viewed.borrow(row) as held:
        outlines = [DrawnOutline(id=new_id(), shape=box(300, 300, 700, 500), group=HOSTILE)]
        folder.versions("a").save(
            outlines, SaveFacts(annotator=HOSTILE), parent=0, identity=held.identity
        )
    for server in running(workspace):
        page = ViewPage(browser, server)
        assert page.text("annotator") == HOSTILE
        choose(page, "list-text", HOSTILE)
        assert names(page) == ["a"]
        page.show("a")
        page.panel("outlines")
        assert HOSTILE in page.text("classes")
        page.tab.press(".")
        assert HOSTILE in page.text("selection")
        page.panel("versions")
        page.tab.wait_for("document.getElementById('versions').children.length > 0")
        assert HOSTILE in page.text("versions")
        assert page.tab.run("document.querySelectorAll('[onerror]').length") == 0
        assert page.tab.complaints() == []


def test_read_only_shows_and_changes_nothing(browser, viewed):
    for server in running(replace(viewed, annotations=None)):
        page = ViewPage(browser, server)
        page.show("a")
        page.wait_for_status("Read only")
        page.tab.press("p")
        page.tab.click(*page.px(300, 300))
        page.tab.press("s", control=True)
        page.tab.press("n")
        page.tab.wait_for("document.querySelector('.region[aria-current]') !== null")
        buttons = "[...document.querySelectorAll('#next > .row button')].map(e => e.innerText)"
        assert not any("Looked at" in text for text in page.tab.run(buttons))
        shown = page.tab.run(
            "[...document.querySelectorAll('#tools button, .writes')].filter(e => "
            "e.checkVisibility()).map(e => e.id)"
        )
        assert shown == ["tool-select"]
        assert page.tab.complaints() == []


def test_v14_an_answer_for_the_slide_before_is_never_drawn(page, page_server):
    page.show("b")
    page.polygon((300, 300), (600, 320), (500, 600))
    page.save(1)
    page.tab.run("void (location.hash = '/')")
    page.tab.ask("Fetch.enable", patterns=[{"urlPattern": "*/api/slides/b/outlines*"}])
    page.tab.run("void (location.hash = '/slide/b')")
    page.tab.wait_for("document.querySelector('#map canvas') !== null")
    page.show("a")
    assert page.tab.events("Fetch.requestPaused")
    page.tab.ask("Fetch.disable")  # lets the answer through
    page.settle()
    assert page.text("slide-name") == "a"
    assert page.count() == 0
    assert page_server.folder.versions("a").numbers() == []


def test_a_slide_that_cannot_be_opened_says_so(browser, tmp_path):
    workspace = make_workspace(tmp_path)
    for server in running(workspace):
        workspace.cohort.slides[1].path.write_bytes(b"no slide")
        page = ViewPage(browser, server)
        page.tab.run("void (location.hash = '/slide/b')")
        page.tab.wait_for("document.getElementById('toasts').textContent.startsWith('b')")
        page.show("a")
        assert page.text("slide-name") == "a"


def test_the_base_url_is_of_no_matter(browser, viewed):
    listener = Listener.open(ServerSettings(base_url="/proxy/8000"))
    server = PageServer(viewed, listener)
    server.start()
    page = ViewPage(browser, server)
    page.show("a", x=700, y=500)
    assert page.tab.run("location.pathname") == "/proxy/8000/"
    assert page.screen()[300:500, 500:700].std() > 5
    assert page.tab.complaints() == []
    server.stop()
