"""Servers of pages for tests: each listens on loopback, in a thread of its own."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import wave_slide, write_tiff
from gigaslide.annotate import AnnotationFolder
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import Assets, Listener, ServerSettings, Workspace, make_app
from gigaslide.serve.server import make_server
from gigaslide.wsi import CellStatus, Heatmap

WIDTH, HEIGHT, MPP = 1531, 1127, 0.5
STRIDE, ORIGIN = 100.5, (-10.0, 20.5)
WRITE = {"X-Gigaslide": "1", "Content-Type": "application/json"}
SQUARE = [[100, 200], [400, 200], [400, 350], [100, 350], [100, 200]]


@dataclass
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def plain(self) -> Any:
        return json.loads(self.content)


@dataclass
class Served:
    """A server that runs, and requests to it."""

    listener: Listener
    workspace: Workspace
    folder: Path
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        token: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request as it is written, with the token; of headers, _ stands for -."""
        sent = {"Authorization": f"Bearer {self.listener.token if token is None else token}"}
        if method not in ("GET", "HEAD"):
            sent |= WRITE
        sent |= {name.replace("_", "-"): text for name, text in headers.items()}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.listener.port, timeout=60)
        connection.putrequest(
            method, path, skip_host="Host" in sent or "host" in sent, skip_accept_encoding=True
        )
        for name, text in sent.items():
            if text != "":
                connection.putheader(name, text)
        if content is not None:
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        found.headers = {name.lower(): text for name, text in found.headers.items()}
        connection.close()
        return found

    def save(self, slide: str, features: list, *, parent: int, **fields: Any) -> Answer:
        """Save outlines as the next version."""
        body = {"outlines": {"type": "FeatureCollection", "features": features}, **fields}
        path = f"/api/slides/{slide}/outlines"
        return self.ask(path, method="POST", body=body, If_Match=f'"{parent}"')


def feature(*rings: list, name: str = "", group: str = "Tumor", **members: Any) -> dict:
    """A polygon as the page sends it."""
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": list(rings or [SQUARE])},
        "properties": {"name": name, "classification": {"name": group}},
        **members,
    }


def heatmap_of(slide: str, **changes: Any) -> Heatmap:
    """A heatmap with other values in each corner, a cell without and one that was lost."""
    rows, columns = 12, 16
    status = np.full((rows, columns), CellStatus.SCORED, np.uint8)
    status[3, 5], status[4, 6] = CellStatus.BACKGROUND, CellStatus.UNREADABLE
    probability = np.full((rows, columns), 0.25, np.float32)
    probability[0, 0], probability[0, -1] = 0.0, 1.0
    probability[-1, 0], probability[-1, -1] = 0.6, 0.4
    probability[status != CellStatus.SCORED] = np.nan
    fields = {
        "slide": slide,
        "probability": probability,
        "status": status,
        "origin_level0": ORIGIN,
        "stride_level0": STRIDE,
        "centre_level0": STRIDE,
        "centre_px": 100,
        "slide_size": (WIDTH, HEIGHT),
        "slide_mpp": MPP,
        "model_hash": "m",
    }
    return Heatmap(**{**fields, **changes})


def make_slide(path: Path, seed: int = 0) -> Path:
    """A smooth slide whose colours tell the place; its levels are no powers of two."""
    pixels = np.roll(wave_slide(WIDTH, HEIGHT), seed, axis=2)
    return write_tiff(path, pixels, level_sizes=((510, 376), (191, 141)))


def serve(workspace: Workspace, folder: Path, **settings: Any) -> Iterator[Served]:
    """Run a server until the test ends."""
    (folder / "page").mkdir(exist_ok=True)
    (folder / "page" / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "page" / "map.js").write_text("export {};")
    (folder / "secret.js").write_text("secret")
    listener = Listener.open(ServerSettings(**settings))
    app = make_app(workspace, listener.access, Assets(folder / "page"))
    server = make_server(app)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener.socket]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield Served(listener, workspace, folder)
    server.should_exit = True
    thread.join(20)
    listener.close()
    assert not thread.is_alive()


def make_workspace(folder: Path, **fields: Any) -> Workspace:
    """Two slides, of which a has a heatmap, with annotations."""
    slides = [
        CohortSlide(id=name, path=make_slide(folder / "slides" / f"{name}.tif", seed))
        for seed, name in enumerate("ab")
    ]
    heatmap_of("a").save(folder / "predictions" / "a" / "heatmap.zarr")
    given = {
        "cohort": Cohort(slides=tuple(slides)),
        "predictions": folder / "predictions",
        "annotations": AnnotationFolder.create(folder / "annotations"),
        "annotator": "Ada",
    }
    return Workspace(**{**given, **fields})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serve(make_workspace(tmp_path), tmp_path)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds; fail where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for the tests of a module that change nothing."""
    folder = tmp_path_factory.mktemp("shown")
    yield from serve(make_workspace(folder), folder)
