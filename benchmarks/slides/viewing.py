"""Speed of the viewer's server: tiles against other libraries, over HTTP, and saving.

    python benchmarks/slides/viewing.py [--tiles 1000] [--many 100000] [--work FOLDER]

Prints a table. Without HTTP, each library makes JPEGs of the same squares of the slide at the same
resolutions, in turns of a few tiles, so that a busy machine is equally busy for all; the ratio is
the median over the turns. OpenSlide and tiffslide read pixels, which our encoder encodes;
large_image makes the tiles of its own server. tiffslide and large_image are left out where they are
not installed; TIAToolbox, whose tile server reads through OpenSlide or its own TIFF reader, because
it brings gigabytes of PyTorch.

Over HTTP, the rate is compared with a server of the same kind that answers with one tile from
memory, also in turns, as seconds on the clock and as seconds of CPU of the server, which depend
less on what else runs. Clients run in another process. Two thirds of the squares are tiles that the
file stores, the others lie between its levels.
"""

import argparse
import gc
import http.client
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from large_slide import TILE_PX, draw
from tile_readers import our_reader, rivals

CLIENTS = 8
TURN = 50  # tiles
WARM_UP_TURNS = 1


def places(size_px: int, count: int) -> list[tuple[int, int, int]]:
    """Tiles of a walk, (resolution, column, row): views of 4 × 3 tiles at resolutions of the file's
    levels, 1 and 4, and between them, 2."""
    rng = np.random.default_rng(1)
    found = []
    while len(found) < count:
        resolution = (1, 2, 4)[len(found) // 12 % 3]
        most = size_px // (TILE_PX * resolution) - 5
        x, y = rng.integers(0, most, 2).tolist()
        found += [(resolution, x + dx, y + dy) for dy in range(3) for dx in range(4)]
    return found[:count]


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare_readers(path: Path, size_px: int, count: int) -> None:
    todo, ours = places(size_px, count), our_reader(path)
    others = rivals(path)
    times: dict[str, list[float]] = {name: [] for name in ("gigaslide", *others)}
    for first in range(0, len(todo), TURN):
        turn = todo[first : first + TURN]
        for name, read in (("gigaslide", ours), *others.items()):
            times[name].append(seconds(lambda read=read, turn=turn: [read(one) for one in turn]))
    rates = {name: TURN / statistics.median(found) for name, found in times.items()}
    print(f"without HTTP, one thread: gigaslide {rates['gigaslide']:.0f} tiles/s")
    for name in others:
        ratios = [
            theirs / mine for mine, theirs in zip(times["gigaslide"], times[name], strict=True)
        ][WARM_UP_TURNS:]
        print(f"  {name} {rates[name]:.0f} tiles/s: ratio {statistics.median(ratios):.1f}")


class Server:
    """A server in a thread."""

    def __init__(self, make_app) -> None:
        from gigaslide.serve import Listener, ServerSettings
        from gigaslide.serve.server import make_server

        self.listener = Listener.open(ServerSettings())
        self.server = make_server(make_app(self.listener))
        sockets = [self.listener.socket]
        threading.Thread(target=lambda: self.server.run(sockets=sockets), daemon=True).start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.listener.port
        self.headers = {"Authorization": f"Bearer {self.listener.token}"}
        self.clients = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.clients.submit(len, ()).result()  # it has started

    def get_all(self, paths: list[str]) -> float:
        """Request all paths from another process, as a browser is one; return its seconds."""
        return self.clients.submit(get_all, self.port, self.headers, paths).result()

    def time_all(self, paths: list[str]) -> tuple[float, float]:
        """Request all paths; return seconds on the clock and of the server's CPU."""
        begin = time.process_time()
        clock = self.get_all(paths)
        return clock, time.process_time() - begin

    def send(self, path: str, body: bytes, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        own = {"X-Gigaslide": "1", "Content-Type": "application/json"}
        connection.request("POST", path, body, {**self.headers, **own, **headers})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


def get_all(port: int, headers: dict[str, str], paths: list[str]) -> float:
    """Request all paths over as many connections as a browser has, and two; return the seconds."""
    waiting, lock = iter(paths), threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                path = next(waiting, None)
            if path is None:
                return connection.close()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, (path, answer.status)

    begin = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin


def make_workspace(path: Path, folder: Path):
    from gigaslide.annotate import AnnotationFolder
    from gigaslide.cohort import Cohort, CohortSlide
    from gigaslide.serve import Workspace

    cohort = Cohort(slides=(CohortSlide(id="s", path=path),))
    return Workspace(cohort=cohort, annotations=AnnotationFolder.create(folder / "annotations"))


def memory_server(content: bytes) -> Server:
    """A server behind the same guard that answers with the same bytes each time."""
    from gigaslide.serve.guard import Guard
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response
    from starlette.routing import Route

    async def tile(_request) -> Response:
        found = await run_in_threadpool(lambda: content)
        return Response(found, media_type="image/jpeg")

    routes = [Route("/tiles/{z}/{x}/{y}.jpg", tile)]
    return Server(lambda listener: Guard(Starlette(routes=routes), listener.access))


def tile_path(place: tuple[int, int, int], resolutions: list[int]) -> str:
    resolution, x, y = place
    return f"tiles/{resolutions.index(resolution)}/{x}/{y}.jpg"


def compare_over_http(workspace, path: Path, size_px: int, count: int) -> Server:
    from gigaslide.serve import make_app
    from gigaslide.serve.tiles import TileGrid

    todo = places(size_px, count)
    resolutions = list(TileGrid(width=size_px, height=size_px).resolutions)
    ours = Server(lambda listener: make_app(workspace, listener.access))
    first = seconds(lambda: first_view(ours, size_px))
    print(f"cold first view of {size_px} × {size_px} px: {first:.2f} s (goal: under 1)")
    memory = memory_server(our_reader(path)(todo[0]))
    times: dict[str, list[tuple[float, float]]] = {"gigaslide": [], "memory": []}
    for start in range(0, len(todo), TURN):
        turn = [tile_path(one, resolutions) for one in todo[start : start + TURN]]
        times["gigaslide"].append(ours.time_all([f"/api/slides/s/{one}" for one in turn]))
        times["memory"].append(memory.time_all([f"/{one}" for one in turn]))
    for name, column in (("on the clock", 0), ("of the server's CPU", 1)):
        mine, theirs = (
            np.array([one[column] for one in times[who]][WARM_UP_TURNS:])
            for who in ("gigaslide", "memory")
        )
        print(
            f"over HTTP, {CLIENTS} clients, {name}: gigaslide "
            f"{1e3 * np.median(mine) / TURN:.2f} ms a tile, from memory "
            f"{1e3 * np.median(theirs) / TURN:.2f}: ratio {np.median(theirs / mine):.2f}; goal: 0.7"
        )
    return ours


def first_view(server: Server, size_px: int) -> None:
    """Request the geometry and the tiles of a view, as the page does when a slide is opened."""
    from gigaslide.serve.tiles import TileGrid

    server.get_all(["/api/slides/s"])
    server.get_all(["/api/slides/s/tiles/0/0/0.jpg"])
    grid = TileGrid(width=size_px, height=size_px)
    view = [(2, x, y) for x in range(4) for y in range(3) if grid.region(2, x, y)]
    server.get_all([f"/api/slides/s/tiles/{z}/{x}/{y}.jpg" for z, x, y in view])


def watch_memory(server: Server, size_px: int, count: int) -> None:
    """Serve many tiles; print the memory after a tenth of them and at the end."""
    from gigaslide.serve.tiles import TileGrid

    resolutions = list(TileGrid(width=size_px, height=size_px).resolutions)
    todo = [f"/api/slides/s/{tile_path(one, resolutions)}" for one in places(size_px, count)]
    tenth, process = max(1, count // 10), psutil.Process()
    server.get_all(todo[:tenth])
    gc.collect()
    before = process.memory_info().rss
    server.get_all(todo[tenth:])
    gc.collect()
    after = process.memory_info().rss
    print(f"memory after {tenth} tiles {before / 2**20:.0f} MiB, after {count} {after / 2**20:.0f}")


def save_many(server: Server, outlines: int, corners: int) -> None:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = 20 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    features = []
    for number in range(outlines):
        place = np.array([50 * (number % 100) + 30, 50 * (number // 100) + 30])
        points = np.round(ring + place, 2).tolist()
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*points, points[0]]]},
                "properties": {"classification": {"name": "Tumor"}},
            }
        )
    body = json.dumps({"outlines": {"type": "FeatureCollection", "features": features}}).encode()
    times = []
    for parent in range(3):
        begin, cpu = time.perf_counter(), time.process_time()
        status = server.send("/api/slides/s/outlines", body, **{"If-Match": f'"{parent}"'})
        times.append((time.perf_counter() - begin, time.process_time() - cpu))
        assert status == 201, status
    shown = ", ".join(f"{wall:.2f} s ({cpu:.2f} s of CPU)" for wall, cpu in times)
    size = len(body) / 2**20
    print(f"saving {outlines} outlines of {corners} corners ({size:.0f} MiB): {shown}; goal: 1 s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-px", type=int, default=100_000)
    parser.add_argument("--tiles", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000, help="tiles while memory is watched")
    parser.add_argument("--outlines", type=int, default=10_000)
    parser.add_argument("--corners", type=int, default=60)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"slide-{given.size_px}.tif"
        if not path.exists():
            draw(path, given.size_px)
        compare_readers(path, given.size_px, given.tiles)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            workspace = make_workspace(path, Path(fresh))
            server = compare_over_http(workspace, path, given.size_px, given.tiles)
            watch_memory(server, given.size_px, given.many)
            save_many(server, given.outlines, given.corners)


if __name__ == "__main__":
    main()
