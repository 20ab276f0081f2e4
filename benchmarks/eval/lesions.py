"""Lesions of a slide of 100 000 × 200 000 px from its XML: seconds and memory, by outlines and for
both programs.

Each case runs in a process of its own, so that its memory is its own: the most it held, less what
it held with everything imported. A mask of the slide would have 20 GB at level 0 and 20 MB at level
5.

    python benchmarks/eval/lesions.py [XML ...]

With XML files, those instead of the made ones; they are taken to lie on a slide of that size.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from gigaslide.eval import EvaluateSettings, find_lesions
from gigaslide.eval.camelyon16.lesions import LevelFive, label_level_5
from gigaslide.eval.camelyon16.programs import PROGRAMS
from gigaslide.wsi import Annotation, Outline

SIZE, MPP = (100_000, 200_000), 0.243


def wavy(rng: np.random.Generator, *, radius: float, vertices: int) -> shapely.Polygon:
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    reach = radius * (
        1 + 0.2 * np.sin(9 * angle) + 0.02 * rng.standard_normal(vertices).cumsum() / vertices**0.5
    )
    centre = rng.uniform((radius, radius), np.array(SIZE) - radius)
    ring = centre + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    return shapely.Polygon(ring).buffer(0)


def cases(folder: Path) -> dict[str, Path]:
    """As many vertices as CAMELYON16's busiest slide has, in one outline or many; and a slide that
    is half tumour."""
    rng = np.random.default_rng(0)
    made = {
        "40 outlines of 1 800 vertices": [
            wavy(rng, radius=rng.uniform(300, 4000), vertices=1800) for _ in range(40)
        ],
        "3 000 outlines of 25 vertices": [
            wavy(rng, radius=rng.uniform(60, 600), vertices=25) for _ in range(3000)
        ],
        "one outline over half the slide": [
            shapely.box(8000, 8000, 92_000, 130_000).segmentize(100)
        ],
    }
    found = {}
    for name, polygons in made.items():
        path = folder / f"{len(found)}.xml"
        Annotation(
            outlines=tuple(Outline(name="", group="Tumor", polygon=p) for p in polygons)
        ).save(path)
        found[name] = path
    return found


def measured(path: Path) -> tuple[dict[str, str], float, float]:
    """Result, seconds and peak memory (MB) of a call in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    tumor = Annotation.load(path).tumor
    words = {
        "reading": f"{time.process_time() - start:.1f} s, {shapely.get_num_coordinates(tumor)} "
        "vertices"
    }
    frame = {"slide_size": SIZE, "slide_mpp": MPP}
    begun = time.process_time()
    by_outlines = find_lesions(tumor, settings=EvaluateSettings(), **frame)
    words["gigaslide"] = f"{time.process_time() - begun:.1f} s, {len(by_outlines.measures)} lesions"
    begun = time.process_time()
    level = LevelFive(tumor=tumor, downsample=32.0, mpp=MPP)
    official = {n: label_level_5(level, p, slide_size=SIZE) for n, p in PROGRAMS.items()}
    counts = ", ".join(f"{len(found.measures)} of {name}" for name, found in official.items())
    words["official"] = f"{time.process_time() - begun:.1f} s, {counts}"
    taken = time.process_time() - start
    return words, taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        given = {path: Path(path) for path in sys.argv[1:]} or cases(Path(name))
        context = multiprocessing.get_context("spawn")
        for case, path in given.items():
            with context.Pool(1) as pool:
                words, taken, held = pool.apply(measured, (path,))
            print(f"{case}: {taken:.1f} s and {held:.0f} MB in all")
            for what, found in words.items():
                print(f"    {what:10}{found}")


if __name__ == "__main__":
    main()
