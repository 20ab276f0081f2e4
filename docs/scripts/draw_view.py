"""Draw the pictures of docs/annotate.md: the page of `gigaslide view` on phantom slides.

    python docs/scripts/draw_view.py docs/view

Needs a Chromium. Heatmaps are made from the known tumour, with errors, so that no training is
needed. The slides are kept in build/view, and reused.
"""

import argparse
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import shapely
from gigaslide.annotate import AnnotationFolder, ProposeSettings, propose_slide
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.phantom import PhantomSettings, make_cohort
from gigaslide.serve import Assets, Listener, ServerSettings, Workspace, make_app
from gigaslide.serve.server import make_server
from gigaslide.wsi import Annotation, CellStatus, Detections, Heatmap, open_slide

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser, Tab, find_chromium  # noqa: E402 - the tests drive the same browser

SLIDES = PhantomSettings(slides=8, size_px=4000, seed=11)
STRIDE = 64  # level-0 px
VIEW = {"width": 1180, "height": 760}
WIDTH_PX, QUALITY = 880, 75


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made = ROOT / "build" / "view"
    cohort = Cohort.load(make_cohort(made / "phantoms", SLIDES))
    for slide in cohort:
        predict_from_truth(slide, made / "predictions")
    with tempfile.TemporaryDirectory() as temporary:
        draw(cohort, made / "predictions", Path(temporary), out)


def predict_from_truth(slide: CohortSlide, predictions: Path) -> None:
    """Write a heatmap and detections that find most of the tumour, and raise false alarms."""
    with open_slide(slide.path) as opened:
        width, height, mpp = opened.info.width, opened.info.height, opened.info.mpp
        tissue = opened.overview(mpp * STRIDE).image
    rows, columns = height // STRIDE, width // STRIDE
    grey = cv2.resize(tissue, (columns, rows), interpolation=cv2.INTER_AREA).mean(axis=2)
    rng = np.random.default_rng(zlib.crc32(slide.id.encode()))
    noise = cv2.GaussianBlur(rng.normal(0, 1, (rows, columns)), (0, 0), 1.5)
    probability = np.clip(0.12 + 0.55 * np.maximum(noise, 0), 0, 0.85)
    y, x = (np.mgrid[:rows, :columns] + 0.5) * STRIDE
    points = []
    if slide.annotation:
        tumour = shapely.union_all(
            [one.polygon for one in Annotation.load(slide.annotation).outlines]
        )
        inside = shapely.distance(tumour, shapely.points(x, y)) < 0.7 * STRIDE
        probability[inside] = np.clip(0.82 + 0.25 * noise[inside], 0.3, 1)
        points = [shapely.get_coordinates(part.centroid)[0] for part in shapely.get_parts(tumour)]
    status = np.where(grey < 226, CellStatus.SCORED, CellStatus.BACKGROUND).astype(np.uint8)
    probability = np.where(status == CellStatus.SCORED, probability, np.nan).astype(np.float32)
    Heatmap(
        slide=slide.id,
        probability=probability,
        status=status,
        origin_level0=(0.0, 0.0),
        stride_level0=float(STRIDE),
        centre_level0=float(STRIDE),
        centre_px=STRIDE,
        slide_size=(width, height),
        slide_mpp=mpp,
        model_hash="phantom",
    ).save(predictions / slide.id / "heatmap.zarr")
    at = np.array(points, np.float64).reshape(-1, 2)
    Detections.of_slide(slide.id, at, np.full(len(at), 0.93)).save(
        predictions / slide.id / "detections.csv"
    )


def draw(cohort: Cohort, predictions: Path, temporary: Path, out: Path) -> None:
    folder = AnnotationFolder.create(temporary / "annotations")
    for slide in cohort:
        propose_slide(slide, folder, predictions, ProposeSettings(threshold=0.5))
    workspace = Workspace(
        cohort=cohort, predictions=predictions, annotations=folder, annotator="Dr A. Lind"
    )
    listener = Listener.open(ServerSettings())
    server = make_server(make_app(workspace, listener.access, Assets()))
    thread = threading.Thread(target=lambda: server.run([listener.socket]), daemon=True)
    thread.start()
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium is installed; make test-pages installs one on Debian")
    with Browser(program, temporary / "profile") as browser:
        tell_the_story(browser, listener.url, out)
    server.should_exit = True
    thread.join()
    listener.close()


def tell_the_story(browser: Browser, url: str, out: Path) -> None:
    """Act as a pathologist does, and keep a picture of each step."""
    tab = browser.tab(**VIEW)
    tab.open(url)
    tab.wait_for("document.querySelectorAll('.card .score .track').length > 4")
    keep(tab, out / "list.jpg")
    slide = tab.run(
        "[...document.querySelectorAll('.card')].find(e => e.textContent.includes('tumor'))"
        ".querySelector('.name').textContent"
    )
    tab.run(f"void (location.hash = '/slide/{slide}')")
    wait(tab, 2)
    keep(tab, out / "look.jpg")
    tab.press("g")
    tab.press("d")
    tab.press(".")
    wait(tab, 1.5)
    tab.run("document.querySelector('[data-panel=outlines]').click()")
    left, top, right, bottom = tab.run(
        "(r => [r.left, r.top, r.right, r.bottom])"
        "(document.getElementById('map').getBoundingClientRect())"
    )
    middle = ((left + right) / 2, (top + bottom) / 2)
    tab.press("b")
    path = [(middle[0] + 14 * k, middle[1] + 40 - 7 * k) for k in range(12)]
    tab.drag(*path, release=False)
    wait(tab, 0.5)
    keep(tab, out / "brush.jpg")
    tab.mouse("Released", *path[-1])
    wait(tab, 1)
    tab.press("p")
    for dx, dy in [(-260, 90), (-150, 60), (-120, 170), (-210, 230)]:
        tab.click(middle[0] + dx, middle[1] + dy)
    tab.mouse("Moved", middle[0] - 275, middle[1] + 180)
    wait(tab, 0.5)
    keep(tab, out / "polygon.jpg")
    tab.press("Enter")
    wait(tab, 1)
    other = browser.tab(**VIEW)
    other.open(url)
    other.run(f"void (location.hash = '/slide/{slide}')")
    wait(other, 2)
    tab.show()
    tab.press("s", control=True)
    wait(tab, 1)
    other.show()
    other.press(".")
    other.press("Delete")
    wait(other, 0.5)
    other.press("s", control=True)
    other.wait_for("document.querySelector('dialog[open]') !== null")
    wait(other, 0.5)
    keep(other, out / "conflict.jpg")
    tab.show()
    tab.press("v")
    tab.run("document.querySelector('[data-panel=next]').click()")
    tab.press("n")
    wait(tab, 3)
    keep(tab, out / "next.jpg")


def wait(tab: Tab, seconds: float) -> None:
    """Let the pane finish what it draws."""
    time.sleep(seconds)
    before = b""
    while (now := tab.picture()) != before:
        before = now
        time.sleep(0.3)


def keep(tab: Tab, path: Path) -> None:
    """Save a small picture of what is to be seen."""
    wait(tab, 0.5)
    image = cv2.imdecode(np.frombuffer(tab.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    height = round(image.shape[0] * WIDTH_PX / image.shape[1])
    small = cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main()
