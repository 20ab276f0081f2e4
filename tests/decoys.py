"""Phantom slides for a loop of outlining and training: tumour, and decoys that only a network that
was corrected tells from it.

Both are dark discs on pale tissue; the nuclei of tumour are purple, those of decoys blue.
"""

import csv
import json
from pathlib import Path

import numpy as np
from conftest import geojson, write_tiff
from shapely.geometry import Point, Polygon
from shapely.geometry.base import BaseGeometry

WIDTH, HEIGHT, MPP = 1500, 1250, 1.0
RADIUS_PX = 115
TUMOR_RGB, DECOY_RGB, TISSUE_RGB = (120, 62, 140), (84, 72, 166), (221, 168, 198)


def disc(x: float, y: float) -> Polygon:
    """Outline of the disc at a place, level-0 px."""
    return Point(x, y).buffer(RADIUS_PX)


PLACES = [(x, y) for y in (230, 600, 980) for x in (250, 700, 1190)]
"""Centres of discs, level-0 px: 9 that do not touch."""


def draw_slide(seed: int, *, tumors: list[tuple], decoys: list[tuple]) -> np.ndarray:
    """RGB of a slide (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    pixels = np.full((HEIGHT, WIDTH, 3), 243.0, np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels[(x > 70) & (x < WIDTH - 110) & (y > 60) & (y < HEIGHT - 80)] = TISSUE_RGB
    tissue = pixels[..., 1] < 200
    shade = rng.normal(0, 1, (HEIGHT // 5, WIDTH // 5)).repeat(5, 0).repeat(5, 1)
    pixels[tissue] += 13 * shade[tissue][:, None]
    nuclei = (rng.random((HEIGHT // 5, WIDTH // 5)) < 0.6).repeat(5, 0).repeat(5, 1)
    for colour, places in ((TUMOR_RGB, tumors), (DECOY_RGB, decoys)):
        for centre_x, centre_y in places:
            inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 < RADIUS_PX**2
            pixels[inside & nuclei] = colour
    pixels += rng.normal(0, 6, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_loop_cohort(folder: Path, seed: int = 0) -> dict[str, list[BaseGeometry]]:
    """Write slides and cohort.csv; return the tumours of each slide.

    Only the validation and the test slides come with annotations. Slides "first" and "second" have
    tumour and no decoys, "third" has both.
    """
    rng = np.random.default_rng(seed)
    plan = {  # split, label, tumours, decoys
        "first": ("train", "", 3, 0),
        "second": ("train", "", 4, 0),
        "third": ("train", "", 2, 3),
        "checked": ("validation", "tumor", 3, 2),
        "test_1": ("test", "tumor", 2, 4),
        "test_2": ("test", "tumor", 3, 4),
        "test_3": ("test", "normal", 0, 5),
    }
    truth, rows = {}, []
    for number, (name, (split, label, tumors, decoys)) in enumerate(plan.items()):
        places = [PLACES[n] for n in rng.permutation(len(PLACES))[: tumors + decoys]]
        pixels = draw_slide(
            int(rng.integers(2**31)), tumors=places[:tumors], decoys=places[tumors:]
        )
        write_tiff(folder / f"{name}.tif", pixels, mpp=MPP, jpeg=True, level_sizes=((375, 312),))
        truth[name] = [disc(*place) for place in places[:tumors]]
        annotation = ""
        if label == "tumor":
            annotation = f"{name}.geojson"
            rings = [(list(one.exterior.coords)[:-1], []) for one in truth[name]]
            (folder / annotation).write_text(json.dumps(geojson(rings)))
        rows.append([f"{name}.tif", annotation, label, f"patient {number}", split])
    with (folder / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["slide", "annotation", "label", "patient", "split"], *rows])
    return truth
