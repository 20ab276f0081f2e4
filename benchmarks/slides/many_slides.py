"""Time and memory over many slides and over a large one; both should stay flat.

    python benchmarks/slides/many_slides.py [SLIDE …] [--opened 1000] [--side-px 100000]

First the SLIDEs (without any, four phantoms) are opened in turn, 1000 times in all, a window read
from each: median milliseconds of the first and of the last hundred, resident memory after each, and
OpenSlide's own opening beside it.

Then one slide of 100 000 × 100 000 px, whose tiles are those of a phantom over and over, is read
from end to end at level 0 and at a µm/px between its levels: seconds, windows per second, peak
resident memory.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import tifffile
from gigaslide.cohort import Cohort
from gigaslide.phantom import PhantomSettings, make_cohort
from gigaslide.wsi import open_slide

TILE_PX = 256


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def open_many(paths: list[Path], times: int) -> None:
    took, alone, resident = [], [], []
    for number in range(times):
        path = paths[number % len(paths)]
        start = time.perf_counter()
        slide = open_slide(path, fallback_mpp=0.5)
        took.append(time.perf_counter() - start)
        with slide:
            x, y = slide.size[0] // 2, slide.size[1] // 2
            slide.read_level(0, x=x, y=y, width=299, height=299)
        start = time.perf_counter()
        openslide.OpenSlide(path).close()
        alone.append(time.perf_counter() - start)
        resident.append(resident_mb())
    part = max(1, times // 10)
    for name, seconds in (("open_slide", took), ("OpenSlide alone", alone)):
        first, last = (1e3 * statistics.median(some) for some in (seconds[:part], seconds[-part:]))
        print(
            f"{name:<16} median {first:6.1f} ms of the first {part}, {last:6.1f} ms of the last "
            f"{part}"
        )
    print(
        f"resident memory  {resident[part - 1]:.0f} MB after {part}, {resident[-1]:.0f} MB after "
        f"{times}"
    )


def write_large(path: Path, phantom: Path, side_px: int) -> None:
    """Levels by 2 of a phantom's own compressed tiles, over and over."""
    with tifffile.TiffFile(phantom) as source, tifffile.TiffWriter(path, bigtiff=True) as tiff:
        page = source.pages.first
        file = source.filehandle
        tiles = []
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            tiles.append(file.read(count))
        size = side_px
        while True:
            across = -(-size // TILE_PX)
            resolution = (1e4 / 0.25 * size / side_px,) * 2
            tiff.write(
                _repeated(tiles, across * across),
                shape=(size, size, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric=page.photometric,
                compression=page.compression,
                subsampling=page.subsampling,
                jpegtables=page.jpegtables,
                subfiletype=int(size < side_px),
                resolution=resolution,
                resolutionunit="CENTIMETER",
                metadata=None,
            )
            if size < 2000:
                return
            size //= 2


def _repeated(tiles: list[bytes], number: int) -> Iterator[bytes]:
    for index in range(number):
        yield tiles[index % len(tiles)]


def read_whole(path: Path, *, mpp: float, threads: int) -> None:
    with open_slide(path) as slide:
        step = round(256 * slide.scale(mpp).level0)
        places = np.arange(0, slide.size[0], step)
        xy = np.stack(np.meshgrid(places, places), axis=2).reshape(-1, 2)
        start = time.perf_counter()
        for _ in slide.read_windows(xy, size=256, mpp=mpp, threads=threads):
            pass
        seconds = time.perf_counter() - start
        print(
            f"{slide.size[0]} × {slide.size[1]} px at {mpp} µm/px, {threads} thread(s), "
            f"{slide.info.reader}: {len(xy)} windows in {seconds:.0f} s "
            f"({len(xy) / seconds:.0f}/s), peak {peak_mb():.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--opened", type=int, default=1000)
    parser.add_argument("--side-px", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = PhantomSettings(slides=4, size_px=3000)
        phantoms = [Path(slide.path) for slide in Cohort.load(make_cohort(Path(folder), settings))]
        open_many(arguments.slides or phantoms, arguments.opened)
        large = Path(folder) / "large.tif"
        write_large(large, phantoms[0], arguments.side_px)
        for mpp in (0.25, 0.4):
            read_whole(large, mpp=mpp, threads=1)


if __name__ == "__main__":
    main()
