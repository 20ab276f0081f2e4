"""First sight of a large slide, and of many outlines, in a headless Chromium.

    python benchmarks/slides/viewing_page.py [--size-px 100000] [--outlines 10000] [--work FOLDER]

Prints, from the moment in which the slide is asked for: seconds to the last tile of its first view,
the server and the browser cold; and, of a second slide, seconds to the first frame with all its
outlines, with the CPU time of both. Chromium draws on the CPU here; the tests' helpers drive it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
from gigaslide.annotate import AnnotationFolder, DrawnOutline, SaveFacts, new_id
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import Workspace
from large_slide import draw
from shapely.geometry import Polygon

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from browser import Browser, find_chromium
from viewing import ViewPage, running  # pyright: ignore[reportAttributeAccessIssue]

CORNERS, ACROSS = 60, 100
LOOK = """(async () => {
  const begin = performance.now();
  performance.clearResourceTimings();
  location.hash = '/slide/%s';
  const ends = () => performance.getEntriesByType('resource')
    .filter((one) => one.name.includes('/tiles/')).map((one) => one.responseEnd);
  for (let before = -1; before !== ends().length || !before;) {
    before = ends().length;
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  return [Math.max(...ends()) - begin, ends().length];
})()"""
OUTLINES = """(async () => {
  const begin = performance.now();
  location.hash = '/slide/%s';
  const counted = () => [...document.querySelectorAll('.count')]
    .reduce((sum, one) => sum + Number(one.textContent.replace(/\\\\D/g, '')), 0);
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  while (counted() < %d) await frame();
  await frame();
  await frame();
  return performance.now() - begin;
})()"""


def save_outlines(workspace: Workspace, slide: CohortSlide, count: int) -> None:
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    ring = 200 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    with workspace.borrow(slide) as held:
        step, identity = held.slide.info.width / (ACROSS + 1), held.identity
    rows, columns = np.divmod(np.arange(count), ACROSS)
    centres = step * (1 + np.stack([columns, rows], axis=1))
    shapes = [Polygon(ring + centre) for centre in centres]
    outlines = [DrawnOutline(id=new_id(), shape=shape) for shape in shapes]
    versions = workspace.versions(slide)
    assert versions is not None
    versions.save(outlines, SaveFacts(), parent=0, identity=identity)


def cpu_seconds() -> float:
    """CPU time so far of this process, which serves, and of the browser's."""
    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-px", type=int, default=100_000)
    parser.add_argument("--outlines", type=int, default=10_000)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    program = find_chromium()
    assert program, "no Chromium: .ci/chromium install"
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.work or Path(temporary)
        path = folder / f"slide-{given.size_px}.tif"
        if not path.exists():
            draw(path, given.size_px)
        slides = tuple(CohortSlide(id=name, path=path) for name in ("bare", "outlined"))
        annotations = AnnotationFolder.create(Path(temporary) / "annotations")
        workspace = Workspace(cohort=Cohort(slides=slides), annotations=annotations)
        save_outlines(workspace, slides[1], given.outlines)
        workspace.shelf.close()
        with Browser(program, Path(temporary) / "profile") as browser:
            for server in running(workspace):
                page = ViewPage(browser, server)
                milliseconds, tiles = page.tab.run(LOOK % "bare")
                print(f"first view, {tiles} tiles: {milliseconds / 1e3:.2f} s (goal: under 1)")
                before = cpu_seconds()
                milliseconds = page.tab.run(OUTLINES % ("outlined", given.outlines))
                cpu = cpu_seconds() - before
                print(
                    f"{given.outlines} outlines: {milliseconds / 1e3:.2f} s (goal: under 3), "
                    f"{cpu:.2f} s of CPU of server and browser"
                )


if __name__ == "__main__":
    main()
