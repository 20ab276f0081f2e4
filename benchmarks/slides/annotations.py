"""Time and memory to load outlines.

    python benchmarks/slides/annotations.py [--vertices 1000000]

One outline of so many vertices is written in each text format and read back, each in a process of
its own: seconds of CPU time, peak memory above that of the imports, and the same of the parser
alone (json, XML), the limit.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from defusedxml import ElementTree
from gigaslide.wsi import Annotation, Outline


def write(path: Path, vertices: int) -> None:
    angles = np.arange(vertices) * (2 * np.pi / vertices)
    ring = np.stack([5e4 + 4e4 * np.cos(angles), 5e4 + 3e4 * np.sin(angles)], axis=1).round(2)
    big = Outline(name="big", group="Tumor", polygon=shapely.Polygon(ring))
    Annotation(outlines=(big,)).save(
        path, **({"xml": "imagescope"} if "imagescope" in path.name else {})
    )


def parse(path: Path) -> None:
    if path.suffix == ".geojson":
        json.loads(path.read_text(encoding="utf-8"))
    else:
        ElementTree.parse(path)


def load(path: Path) -> None:
    assert shapely.get_num_coordinates(Annotation.load(path).tumor) > 0


def measured(work, path: Path) -> tuple[float, float]:
    """(seconds of CPU time, MB above the start) in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure, (work, path))


def _measure(work, path: Path) -> tuple[float, float]:
    start, before = time.process_time(), peak_mb()
    work(path)
    return time.process_time() - start, peak_mb() - before


def peak_mb() -> float:
    """Most memory this process has held; getrusage would count what its parent held too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vertices", type=int, default=1_000_000)
    vertices = parser.parse_args().vertices
    print(
        f"{vertices} "
        f"vertices\n{'file':<16}{'MB on disk':>12}{'load s':>10}{'load MB':>10}{'parse s':>10}{'ratio':>8}"  # noqa: E501
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("asap.xml", "qupath.geojson", "imagescope.xml"):
            path = Path(folder) / name
            write(path, vertices)
            (seconds, megabytes), (parser_s, _) = measured(load, path), measured(parse, path)
            size = path.stat().st_size / 1e6
            print(
                f"{name:<16}{size:>12.0f}{seconds:>10.1f}{megabytes:>10.0f}{parser_s:>10.1f}{seconds / parser_s:>8.1f}"  # noqa: E501
            )


if __name__ == "__main__":
    main()
