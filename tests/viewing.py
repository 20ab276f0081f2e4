"""The page of `gigaslide view` in a headless Chromium, against a server that runs."""

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import cv2
import numpy as np
import pytest
import shapely
from browser import Browser, Tab, find_chromium
from gigaslide.annotate import AnnotationFolder, DrawnOutline, SaveFacts, new_id
from gigaslide.cohort import Cohort
from gigaslide.serve import Assets, Listener, ServerSettings, Workspace, make_app
from gigaslide.serve.server import make_server
from serving import make_workspace
from shapely.geometry import Polygon

COUNT = "[...document.querySelectorAll('.count')].reduce((n, e) => n + Number(e.textContent), 0)"


@dataclass
class PageServer:
    """A server of the real page; it can be stopped and started again at the same address."""

    workspace: Workspace
    listener: Listener = field(default_factory=lambda: Listener.open(ServerSettings()))
    tabs: list[Tab] = field(default_factory=list)

    def start(self) -> None:
        if self.listener.socket.fileno() < 0:
            opened = Listener.open(ServerSettings(port=self.port))
            self.listener = replace(opened, token=self.listener.token)
            self.workspace = replace(self.workspace)  # the threads of the old one have ended
        self.port = self.listener.port
        app = make_app(self.workspace, self.listener.access, Assets())
        self.server = make_server(app)
        self.server.config.timeout_graceful_shutdown = 1
        sockets = [self.listener.socket]
        self.thread = threading.Thread(target=lambda: self.server.run(sockets), daemon=True)
        self.thread.start()
        end = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < end
            time.sleep(0.005)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.listener.close()
        assert not self.thread.is_alive()

    @property
    def folder(self) -> AnnotationFolder:
        assert self.workspace.annotations is not None
        return self.workspace.annotations

    def saved(self, slide: str = "a", number: int | None = None) -> list[DrawnOutline]:
        """Outlines of a version, or of the newest one, as they lie on disk."""
        versions = self.folder.versions(slide)
        return list(versions.load(number or max(versions.numbers())).outlines)

    def shapes(self, slide: str = "a") -> list[shapely.Geometry]:
        return [outline.shape for outline in self.saved(slide)]


class ViewPage:
    """A tab that shows the page, in words of a person."""

    def __init__(self, browser: Browser, server: PageServer, **size: Any) -> None:
        self.server, self.tab = server, browser.tab(**size)
        server.tabs.append(self.tab)
        self.tab.open(server.listener.url)
        self.tab.wait_for("document.querySelectorAll('.card').length > 0")

    def show(self, slide: str, *, x=None, y=None, resolution=1.0, degrees=0.0) -> None:
        """Open a slide, with its centre at a place (level-0 px) if one is given."""
        place = "" if x is None else f"?x={x}&y={y}&res={resolution}&turn={degrees}"
        self.tab.run(f"void (location.hash = '/slide/{quote(slide, safe='')}{place}')")
        self.tab.wait_for(
            f"document.getElementById('slide-name').textContent === {json.dumps(slide)}"
        )
        self.tab.wait_for("location.hash.includes('res=')")
        self.tab.wait_for("!document.getElementById('status').textContent.includes('…')")
        self.settle()

    def settle(self) -> None:
        """Wait until the pane has not changed for a moment."""
        before, end = b"", time.monotonic() + 10
        while (now := self.tab.picture()) != before and time.monotonic() < end:
            before = now
            time.sleep(0.15)

    def place(self) -> tuple[float, float, float, float]:
        """x, y of the centre, level-0 px per screen px, degrees: as the link says."""
        query = parse_qs(self.tab.run("location.hash").partition("?")[2])
        x, y, resolution, degrees = (float(query[name][0]) for name in ("x", "y", "res", "turn"))
        return x, y, resolution, degrees

    def pane(self) -> tuple[float, float, float, float]:
        """left, top, width, height of the pane on the screen."""
        found = self.tab.run(
            "(r => [r.left, r.top, r.width, r.height])"
            "(document.getElementById('map').getBoundingClientRect())"
        )
        return found[0], found[1], found[2], found[3]

    def px(self, x: float, y: float) -> tuple[float, float]:
        """Screen px of a level-0 place."""
        centre_x, centre_y, resolution, degrees = self.place()
        left, top, width, height = self.pane()
        right, down = (x - centre_x) / resolution, (y - centre_y) / resolution
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        across, along = right * cos - down * sin, right * sin + down * cos
        return left + width / 2 + across, top + height / 2 + along

    def screen(self) -> np.ndarray:
        """RGB of what is to be seen."""
        image = cv2.imdecode(np.frombuffer(self.tab.picture(), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return image[:, :, ::-1].astype(np.float64)

    def text(self, element: str) -> str:
        return self.tab.run(f"document.getElementById('{element}').innerText")

    def polygon(self, *corners: tuple[float, float]) -> None:
        """Draw a polygon by clicks at level-0 places."""
        count = self.count()
        self.tab.press("p")
        for x, y in corners:
            self.tab.click(*self.px(x, y))
        self.tab.press("Enter")
        self.wait_for_count(count + 1)

    def stroke(self, key: str, *points: tuple[float, float]) -> None:
        """Drag with a tool along level-0 places; `edited` waits for what becomes of it."""
        self.tab.press(key)
        pixels = [self.px(x, y) for x, y in points]
        if len(pixels) == 1:
            self.tab.click(*pixels[0])
        else:
            self.tab.drag(*pixels)

    def count(self) -> int:
        """Outlines on the pane, from the counts of the classes."""
        return self.tab.run(COUNT)

    def wait_for_count(self, count: int) -> None:
        self.tab.wait_for(f"{COUNT} === {count}")

    def wait_for_status(self, words: str, *, patience_s: float = 15) -> None:
        self.tab.wait_for(
            f"document.getElementById('status').textContent.includes('{words}')",
            patience_s=patience_s,
        )

    def save(self, version: int) -> None:
        self.tab.press("s", control=True)
        self.wait_for_status(f"Saved · version {version}")

    def answer(self, value: str) -> None:
        """Press a button of the dialog."""
        self.tab.wait_for("document.querySelector('dialog[open]') !== null")
        self.tab.run(f"document.querySelector('dialog[open] button[value=\"{value}\"]').click()")
        self.tab.wait_for("document.querySelector('dialog[open]') === null")

    def panel(self, name: str) -> None:
        self.tab.run(f"document.querySelector('[data-panel={name}]').click()")


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: make test-pages installs one")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def viewed(tmp_path_factory) -> Iterator[Workspace]:
    """Two slides whose colours tell the place; a has a heatmap."""
    workspace = make_workspace(tmp_path_factory.mktemp("slides"))
    yield workspace
    workspace.shelf.close()


@pytest.fixture
def page_server(viewed: Workspace, tmp_path: Path) -> Iterator[PageServer]:
    annotations = AnnotationFolder.create(tmp_path / "annotations")
    yield from running(replace(viewed, annotations=annotations))


def running(workspace: Workspace) -> Iterator[PageServer]:
    served = PageServer(workspace)
    served.start()
    yield served
    for tab in served.tabs:
        tab.close()
    served.stop()


def renamed(slides: Workspace, *names: str) -> Cohort:
    """The slides of a workspace under other ids."""
    rows = [replace(row, id=name) for row, name in zip(slides.cohort, names, strict=True)]
    return Cohort(slides=tuple(rows))


@pytest.fixture
def page(browser: Browser, page_server: PageServer) -> ViewPage:
    return ViewPage(browser, page_server)


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
