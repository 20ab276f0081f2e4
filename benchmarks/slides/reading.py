"""Speed of reading windows: gigaslide, its peers and the limit, side by side in one process.

    python benchmarks/slides/reading.py [SLIDE …] [--windows 2000] [--rounds 5]

Without a SLIDE a phantom of 8000 px is drawn. Peers that are not installed are named and left out
(pip install fastslide tiffslide cucim-cu12).

Speed is windows per second of CPU time, all threads counted: machines are shared, and a reader that
keeps two cores busy is not twice as good per core. Threads are judged by the clock. Every figure is
the median of the rounds, the readers taking turns; the ratio to OpenSlide is that of the medians.
Beside it stands each reader's largest difference from OpenSlide's pixels, in grey levels.

The limit is imagecodecs decoding every tile that the windows touch once, and nothing else.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import openslide
import tifffile
from gigaslide.wsi import Region, TissueSettings, open_slide, tissue_mask

SIDE, STRIDE = 299, 128

# A reader: places (N, 2) level-0 (x, y) → as many windows (299, 299, 3), in any order, each with
# its index.
Read = Callable[[np.ndarray], Iterable[tuple[int, np.ndarray | None]]]


def openslide_loop(path: Path) -> Read:
    handle = openslide.OpenSlide(path)

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for index, (x, y) in enumerate(xy.tolist()):
            yield index, np.asarray(handle.read_region((x, y), 0, (SIDE, SIDE)))[..., :3]

    return read


def fastslide_loop(path: Path) -> Read:
    import fastslide

    handle = fastslide.FastSlide.from_file_path(str(path))

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for index, (x, y) in enumerate(xy.tolist()):
            yield index, handle.read_region((x, y), 0, (SIDE, SIDE)).numpy()[..., :3]

    return read


def cucim_loop(path: Path) -> Read:
    from cucim import CuImage

    handle = CuImage(str(path))

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for index, place in enumerate(xy.tolist()):
            yield index, np.asarray(handle.read_region(place, (SIDE, SIDE), 0))[..., :3]

    return read


def tiffslide_loop(path: Path) -> Read:
    import tiffslide

    handle = tiffslide.TiffSlide(path)

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for index, place in enumerate(xy.tolist()):
            yield index, handle.read_region(place, 0, (SIDE, SIDE), as_array=True)

    return read


def tifffile_loop(path: Path) -> Read:
    """Tile by tile with tifffile's own decoder, as one writes it down first."""
    page = tifffile.TiffFile(path).pages[0].aspage()
    offsets, counts, (wide, high) = (
        page.dataoffsets,
        page.databytecounts,
        (page.tilewidth, page.tilelength),
    )
    across = -(-page.imagewidth // wide)
    file, tables = path.open("rb"), page.jpegtables

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for index, (x, y) in enumerate(xy.tolist()):
            window = np.empty((SIDE, SIDE, 3), np.uint8)
            for row in range(y // high, (y + SIDE - 1) // high + 1):
                for column in range(x // wide, (x + SIDE - 1) // wide + 1):
                    number = row * across + column
                    file.seek(offsets[number])
                    tile = page.decode(file.read(counts[number]), number, jpegtables=tables)[0][0]
                    y0, y1 = max(y, row * high), min(y + SIDE, (row + 1) * high)
                    x0, x1 = max(x, column * wide), min(x + SIDE, (column + 1) * wide)
                    part = tile[
                        y0 - row * high : y1 - row * high, x0 - column * wide : x1 - column * wide
                    ]
                    window[y0 - y : y1 - y, x0 - x : x1 - x] = part
            yield index, window

    return read


def ours(path: Path, threads: int = 1) -> Read:
    slide = open_slide(path, fallback_mpp=0.5)

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray | None]]:
        return slide.read_windows(xy, size=SIDE, mpp=slide.info.mpp, threads=threads)

    return read


def ours_one_by_one(path: Path) -> Read:
    slide = open_slide(path, fallback_mpp=0.5)
    mpp = slide.info.mpp

    def read(xy: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for index, (x, y) in enumerate(xy.tolist()):
            yield index, slide.read_region(Region(x=x, y=y, width=SIDE, height=SIDE), mpp=mpp)

    return read


def limit(path: Path) -> Read:
    """Every tile under the windows decoded once by imagecodecs; the windows themselves are never
    made."""
    page = tifffile.TiffFile(path).pages[0].aspage()
    offsets, counts, (wide, high) = (
        page.dataoffsets,
        page.databytecounts,
        (page.tilewidth, page.tilelength),
    )
    across = -(-page.imagewidth // wide)
    file, tables = path.open("rb"), page.jpegtables

    def read(xy: np.ndarray) -> Iterator[tuple[int, None]]:
        first, last = xy // (wide, high), (xy + SIDE - 1) // (wide, high)
        tiles = {
            row * across + column
            for (c0, r0), (c1, r1) in zip(first.tolist(), last.tolist(), strict=True)
            for row in range(r0, r1 + 1)
            for column in range(c0, c1 + 1)
        }
        for number in sorted(tiles):
            file.seek(offsets[number])
            content = file.read(counts[number])
            if page.compression == tifffile.COMPRESSION.JPEG:
                imagecodecs.jpeg8_decode(content, tables=tables)
            else:
                page.decode(content, number)
        yield from ((index, None) for index in range(len(xy)))

    return read


PEERS: dict[str, Callable[[Path], Read]] = {
    "OpenSlide": openslide_loop,
    "fastslide": fastslide_loop,
    "cuCIM (CPU)": cucim_loop,
    "tiffslide": tiffslide_loop,
    "tifffile": tifffile_loop,
}


def places(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows over tissue: count neighbours on a grid, and count at random places all over it."""
    with open_slide(path, fallback_mpp=0.5) as slide:
        mask = tissue_mask(slide, TissueSettings())
        width, height = slide.size
    across, down = np.arange(0, width - SIDE, STRIDE), np.arange(0, height - SIDE, STRIDE)
    grid = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    grid = grid[mask.fraction(grid + (SIDE - STRIDE) // 2, side_level0=STRIDE) >= 0.5]
    first = max(0, (len(grid) - count) // 2)
    chosen = grid[first : first + count]
    rng = np.random.default_rng(0)
    anywhere = grid[rng.permutation(len(grid))[:count]]
    moved = anywhere + rng.integers(-STRIDE // 2, STRIDE // 2, anywhere.shape)
    return chosen, np.clip(moved, 0, (width - SIDE - 1, height - SIDE - 1))


def seconds(read: Read, xy: np.ndarray) -> tuple[float, float]:
    """(CPU, clock) seconds for windows at those places."""
    cpu, clock = time.process_time(), time.perf_counter()
    for _ in read(xy):
        pass
    return time.process_time() - cpu, time.perf_counter() - clock


def difference(read: Read, reference: Read, xy: np.ndarray) -> str:
    expected = dict(reference(xy))
    worst = 0
    for index, window in read(xy):
        if window is None:
            return "–"
        worst = max(worst, int(np.abs(window.astype(np.int16) - expected[index]).max()))
    return str(worst)


def table(
    title: str, readers: dict[str, Read], xy: np.ndarray, *, rounds: int, slow: int
) -> dict[str, float]:
    """Time the readers in turns and print them; the slow ones get the first `slow` places only."""
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, read in readers.items():
            part = xy if name.startswith(("gigaslide", "limit")) else xy[:slow]
            cpu, _ = seconds(read, part)
            if turn:  # the first turn fills the file cache
                spent[name].append(len(part) / cpu)
    rate = {name: statistics.median(found) for name, found in spent.items()}
    print(f"\n{title}: {len(xy)} windows of {SIDE} px, {rounds} rounds")
    print(
        f"  {'':34} {'windows/CPU s':>14} {'of OpenSlide':>13} {'of the limit':>13} "
        f"{'grey levels off':>16}"
    )
    check = xy[np.linspace(0, len(xy) - 1, min(64, len(xy))).astype(int)]
    for name, value in rate.items():
        of_limit = f"{value / rate['limit']:13.2f}" if "limit" in rate else " " * 13
        off = difference(readers[name], readers["OpenSlide"], check)
        print(f"  {name:34} {value:14.0f} {value / rate['OpenSlide']:12.1f}× {of_limit} {off:>16}")
    for name in rate:
        if name.startswith("gigaslide") and "fastslide" in rate:
            print(f"  {name} is {rate[name] / rate['fastslide']:.2f}× fastslide")
    return rate


def threads(path: Path, xy: np.ndarray, *, rounds: int) -> None:
    one, two = ours(path), ours(path, threads=2)
    pairs = [(seconds(one, xy)[1], seconds(two, xy)[1]) for _ in range(rounds + 2)]
    gain = statistics.median(a / b for a, b in pairs)
    print(
        f"\nTwo threads against one, by the clock: {gain:.2f}× (median of {len(pairs)} pairs; "
        "needs two idle cores)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", nargs="*", type=Path, help="tiled TIFF slides; none: a phantom")
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as work:
        for path in options.slides or [phantom(Path(work))]:
            one_slide(path, count=options.windows, rounds=options.rounds)


def phantom(work: Path) -> Path:
    from gigaslide.phantom import PhantomSettings, make_slide, plan_cohort

    plan = plan_cohort(PhantomSettings(slides=1, size_px=8000, seed=0))[0]
    make_slide(plan, work)
    return next(work.rglob("*.tif"))


def one_slide(path: Path, *, count: int, rounds: int) -> None:
    with open_slide(path, fallback_mpp=0.5) as slide:
        info = slide.info
    print(
        f"{path.name}: {info.width} × {info.height} px, read by {info.reader} "
        f"({info.reader_reason})"
    )
    peers: dict[str, Read] = {}
    for name, make in PEERS.items():
        try:
            peers[name] = make(path)
            next(iter(peers[name](np.array([[0, 0]]))))
        except (
            Exception
        ) as error:  # a peer that is missing, or cannot read this slide, is a line in the output
            peers.pop(name, None)
            print(f"  {name} left out: {error}")
    grid, scattered = places(path, count)
    slow = max(100, count // 8)
    table(
        "Stride 128 over tissue",
        {**peers, "gigaslide": ours(path), "limit": limit(path)},
        grid,
        rounds=rounds,
        slow=slow,
    )
    threads(path, grid, rounds=rounds)
    alone = {"gigaslide, one by one": ours_one_by_one(path), "gigaslide, in bulk": ours(path)}
    table("At random places", {**peers, **alone}, scattered, rounds=rounds, slow=count)
    tiles = scattered // 256
    by_tile = scattered[np.lexsort((tiles[:, 0], tiles[:, 1]))]
    table(
        "At random places, sorted by tile", {**peers, **alone}, by_tile, rounds=rounds, slow=count
    )


if __name__ == "__main__":
    main()
