"""Slides of a curriculum: tissue and outlined tumour as coloured rectangles."""

import json
from pathlib import Path

import numpy as np
from conftest import geojson, write_tiff
from gigaslide.cohort import Cohort, CohortSlide

WIDTH, HEIGHT = 320, 208  # level-0 px: 10 × 6.5 cells of 16 px at 8 µm/px, 32 level-0 px each
TISSUE = (slice(16, 200), slice(16, 304))  # rows, columns
TUMOR = (slice(64, 128), slice(192, 288))  # of a slide with tumour: cells 2 to 3, columns 6 to 8
QUICK = {"mpp": 8.0, "steps": 6, "checkpoints": 3, "patch_px": 32, "resamples": 100, "folds": 2}


def paint(*, is_tumor: bool, seed: int) -> np.ndarray:
    """Pink tissue on white; tumour is dark blue."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    for place, colour, wanted in (
        (TISSUE, (214, 150, 190), True),
        (TUMOR, (90, 50, 130), is_tumor),
    ):
        if wanted:
            shape = image[place].shape
            image[place] = np.clip(colour + rng.normal(0, 14, shape), 0, 255).astype(np.uint8)
    return image


def make_slides(folder: Path, patients: int = 8, **columns: str) -> Cohort:
    """Patients with tumour and without take turns, a slide each, outlined exactly."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, cols = TUMOR
    ring = [(cols.start, rows.start), (cols.stop, rows.start), (cols.stop, rows.stop)]
    ring.append((cols.start, rows.stop))
    (folder / "tumor.geojson").write_text(json.dumps(geojson([(ring, [])])))
    listed = []
    for number in range(patients):
        is_tumor = number % 2 == 1
        path = folder / f"s{number}.tif"
        write_tiff(path, paint(is_tumor=is_tumor, seed=number), mpp=4.0)
        listed.append(
            CohortSlide(
                id=f"s{number}",
                path=path,
                annotation=folder / "tumor.geojson" if is_tumor else None,
                label="tumor" if is_tumor else "normal",
                patient=f"p{number}",
                mpp=4.0,
                further=tuple(columns.items()),
            )
        )
    cohort = Cohort.of_rows(listed)
    cohort.save(folder / "cohort.csv")
    return cohort
