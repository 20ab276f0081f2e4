"""Speed of the viewer's server: tiles against other libraries, over HTTP, and saving.

    python benchmarks/slides/viewing.py [--slide FILE] [--tiles 600] [--many 10000] [--work FOLDER]

Prints one line a measurement. Without --slide, a slide of 100 000 × 100 000 px is drawn, whose
levels are each a quarter of the one before, as Aperio's are. Two kinds of tiles are measured apart:
those that the file stores, and those between its levels, which are made from four stored ones.

Without HTTP, each library makes JPEGs of the same squares of the slide at the same resolutions, in
turns of a few tiles, so that a busy machine is equally busy for all; the ratio is the median over
the turns. OpenSlide and tiffslide read pixels, which our encoder encodes; large_image makes the
tiles of its own server. tiffslide and large_image are left out where they are not installed;
TIAToolbox, whose tile server reads through OpenSlide or its own TIFF reader, because it brings
gigabytes of PyTorch.

Over HTTP, the other server is ours too, with the same route, token and threads, but takes the same
tiles from a dictionary. Seconds are those on the clock, and those of the server's CPU, which depend
less on what else runs. The client is another process.
"""

import argparse
import gc
import http.client
import json
import multiprocessing
import os
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from gigaslide.annotate import AnnotationFolder
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import Listener, ServerSettings, Workspace, make_app
from gigaslide.serve.server import make_server
from gigaslide.serve.tiles import TileGrid
from gigaslide.serve.work import WorkQueue
from gigaslide.wsi import open_slide
from large_slide import draw
from tile_client import CLIENTS, get_all
from tile_readers import ReadTile, our_reader, rivals

TURN = 50  # tiles
WARM_UP_TURNS = 1
VIEW = (4, 3)  # tiles
Place = tuple[int, int, int]
"""Resolution, column and row of a tile."""


def kinds_of_tiles(path: Path) -> tuple[TileGrid, dict[str, list[int]]]:
    """Return the slide's grid, and resolutions by whether the file stores their tiles."""
    with open_slide(path) as slide:
        grid = TileGrid.of_slide(slide)
        found: dict[str, list[int]] = {"stored": [], "between levels": []}
        for z, resolution in enumerate(grid.resolutions):
            region = grid.region(z, *VIEW)
            if region is not None and grid.region(z, 2 * VIEW[0], 2 * VIEW[1]):
                stored = slide.stored_jpeg(region, mpp=slide.info.mpp * resolution)
                found["between levels" if stored is None else "stored"].append(resolution)
    return grid, {kind: finest[-2:] for kind, finest in found.items() if finest}


def places(grid: TileGrid, resolutions: list[int], count: int) -> list[Place]:
    """Tiles of views at random places, all inside the slide."""
    rng = np.random.default_rng(1)
    found: list[Place] = []
    while len(found) < count:
        resolution = resolutions[len(found) // (VIEW[0] * VIEW[1]) % len(resolutions)]
        side = grid.tile_px * resolution
        x = int(rng.integers(grid.width // side - VIEW[0]))
        y = int(rng.integers(grid.height // side - VIEW[1]))
        found += [(resolution, x + dx, y + dy) for dy in range(VIEW[1]) for dx in range(VIEW[0])]
    return found[:count]


def timed(read: ReadTile, turn: list[Place]) -> tuple[float, float]:
    """Return seconds on the clock, and of CPU: some readers decode on threads."""
    begin, cpu = time.perf_counter(), time.process_time()
    for place in turn:
        read(place)
    return time.perf_counter() - begin, time.process_time() - cpu


def compare_readers(path: Path, tile_px: int, todo: list[Place], kind: str) -> None:
    readers = {"gigaslide": our_reader(path), **rivals(path, tile_px)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    for first in range(0, len(todo), TURN):
        turn = todo[first : first + TURN]
        timed(readers["gigaslide"], turn)  # from here on the system has the file's bytes in memory
        for name, read in readers.items():
            times[name].append(timed(read, turn))
    found = {name: np.array(some)[WARM_UP_TURNS:] for name, some in times.items()}
    for name, some in found.items():
        clock, cpu = np.median(some, axis=0) / TURN * 1e3
        line = f"{kind}, no HTTP, one thread, {name}: {clock:.2f} ms a tile ({cpu:.2f} of CPU)"
        if name != "gigaslide":
            ratio, cpu_ratio = np.median(some / found["gigaslide"], axis=0)
            line += f", {ratio:.1f} × gigaslide's ({cpu_ratio:.1f} × the CPU); goal: 3"
        print(line)


class Server:
    """A server in a thread."""

    def __init__(self, workspace: Workspace) -> None:
        self.listener = Listener.open(ServerSettings())
        self.server = make_server(make_app(workspace, self.listener.access))
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


class RememberedTiles(WorkQueue):
    """A queue that makes each tile once, then takes it from a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles: dict[tuple[int, int, int], tuple[bytes, str]] = {}

    async def run(self, request, work, *args, **kwargs):
        *_, place, _version = args
        if place not in self.tiles:
            self.tiles[place] = await super().run(request, work, *args, **kwargs)
        return await super().run(request, self.tiles.__getitem__, place)


def make_workspace(path: Path, folder: Path) -> Workspace:
    cohort = Cohort(slides=(CohortSlide(id="s", path=path),))
    return Workspace(cohort=cohort, annotations=AnnotationFolder.create(folder / "annotations"))


def tile_path(grid: TileGrid, place: Place) -> str:
    resolution, x, y = place
    return f"/api/slides/s/tiles/{grid.resolutions.index(resolution)}/{x}/{y}.jpg"


def compare_over_http(ours: Server, memory: Server, paths: list[str], kind: str) -> None:
    times: dict[str, list[tuple[float, float]]] = {"gigaslide": [], "memory": []}
    memory.get_all(paths)
    for start in range(0, len(paths), TURN):
        turn = paths[start : start + TURN]
        times["gigaslide"].append(ours.time_all(turn))
        times["memory"].append(memory.time_all(turn))
    for name, column in (("on the clock", 0), ("of the server's CPU", 1)):
        mine, theirs = (
            np.array([one[column] for one in times[who]][WARM_UP_TURNS:])
            for who in ("gigaslide", "memory")
        )
        print(
            f"{kind}, over HTTP, {CLIENTS} connections, {name}: "
            f"{1e3 * np.median(mine) / TURN:.2f} ms a tile, from memory "
            f"{1e3 * np.median(theirs) / TURN:.2f}: ratio {np.median(theirs / mine):.2f}"
            + ("" if column else " (goal: 0.7)")
        )


def first_view(server: Server, path: Path, grid: TileGrid) -> None:
    """Request the geometry and the tiles of a view, as the page does when a slide is opened; the
    file is not in the system's memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    z = min(2, len(grid.resolutions) - 1)
    view = [(z, x, y) for x in range(4) for y in range(3) if grid.region(z, x, y)]
    begin, cpu = time.perf_counter(), time.process_time()
    server.get_all(["/api/slides/s"])
    server.get_all([f"/api/slides/s/tiles/{z}/{x}/{y}.jpg" for z, x, y in [(0, 0, 0), *view]])
    passed, cpu = time.perf_counter() - begin, time.process_time() - cpu
    size = f"{grid.width} × {grid.height} px"
    print(f"cold first view of {size}: {passed:.2f} s ({cpu:.2f} of CPU); goal: 1 s")


def watch_memory(server: Server, paths: list[str]) -> None:
    """Serve many tiles; print the memory after a tenth of them and at the end."""
    tenth, process = max(1, len(paths) // 10), psutil.Process()
    server.get_all(paths[:tenth])
    gc.collect()
    before = process.memory_info().rss
    server.get_all(paths[tenth:])
    gc.collect()
    after = process.memory_info().rss
    print(
        f"memory after {tenth} tiles {before / 2**20:.0f} MiB, "
        f"after {len(paths)} {after / 2**20:.0f} MiB"
    )


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
    parser.add_argument("--slide", type=Path, help="slide file; else one is drawn")
    parser.add_argument("--size-px", type=int, default=100_000, help="of the slide that is drawn")
    parser.add_argument("--tiles", type=int, default=600, help="of each kind")
    parser.add_argument("--many", type=int, default=10_000, help="tiles while memory is watched")
    parser.add_argument("--outlines", type=int, default=10_000)
    parser.add_argument("--corners", type=int, default=60)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = given.slide or folder / f"slide-{given.size_px}.tif"
        if not path.exists():
            draw(path, given.size_px)
        measure(path, folder, given)


def measure(path: Path, folder: Path, given: argparse.Namespace) -> None:
    grid, kinds = kinds_of_tiles(path)
    todo = {kind: places(grid, some, given.tiles) for kind, some in kinds.items()}
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        ours = Server(make_workspace(path, Path(fresh) / "ours"))
        first_view(ours, path, grid)
        for kind, some in todo.items():
            compare_readers(path, grid.tile_px, some, kind)
        remembering = make_workspace(path, Path(fresh) / "memory")
        remembering.__dict__["pictures"] = RememberedTiles()
        memory = Server(remembering)
        for kind, some in todo.items():
            compare_over_http(ours, memory, [tile_path(grid, one) for one in some], kind)
        resolutions = sorted(one for some in kinds.values() for one in some)
        many = places(grid, resolutions, given.many)
        watch_memory(ours, [tile_path(grid, one) for one in many])
        save_many(ours, given.outlines, given.corners)


if __name__ == "__main__":
    main()
