"""A cohort with features whose windows differ in one number, and a learner without Keras."""

import json
from pathlib import Path

import numpy as np
from conftest import geojson
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.study import BagScores
from gigaslide.wsi import SlideFeatures

SIDE, COLUMNS, ROWS = 100, 7, 5
TUMOR = (slice(1, 3), slice(2, 5))  # rows, columns of windows


def write_features(folder: Path, slide: str, *, is_tumor: bool, seed: int, **changes) -> None:
    """Windows of a 7 × 5 grid; those of the tumour have a higher first number."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    truth = np.zeros((ROWS, COLUMNS), bool)
    truth[TUMOR] = is_tumor
    values = rng.normal(size=(ROWS * COLUMNS, 4)) + 3 * truth.reshape(-1, 1) * [1, 0, 0, 0]
    fields = {
        "slide": slide,
        "features": values.astype(np.float16),
        "xy": np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int64) * SIDE,
        "patch_px": 50,
        "mpp": 1.0,
        "side_level0": float(SIDE),
        "stride_level0": float(SIDE),
        "slide_size": (COLUMNS * SIDE, ROWS * SIDE),
        "slide_mpp": 0.5,
        "encoder": "made",
        "encoder_hash": "abc",
        "encoder_card": {},
    }
    SlideFeatures(**{**fields, **changes}).save(folder / "features" / f"{slide}.zarr")


def make_cohort(folder: Path, *, patients: int = 12, slides_per_patient: int = 2) -> Cohort:
    """Patients with tumour and without take turns; features stand in folder/features."""
    (rows, columns) = TUMOR
    x0, x1, y0, y1 = (v * SIDE for v in (columns.start, columns.stop, rows.start, rows.stop))
    ring = [(x0 + 1, y0 + 1), (x1 - 1, y0 + 1), (x1 - 1, y1 - 1), (x0 + 1, y1 - 1)]
    folder.mkdir(parents=True, exist_ok=True)
    outline = folder / "tumor.geojson"
    outline.write_text(json.dumps(geojson([(ring, [])])))
    listed = []
    for number in range(patients * slides_per_patient):
        patient = number // slides_per_patient
        is_tumor, name = patient % 2 == 0, f"s{number:02}"
        write_features(folder, name, is_tumor=is_tumor, seed=number)
        listed.append(
            CohortSlide(
                id=name,
                path=folder / f"{name}.tif",
                annotation=outline if is_tumor else None,
                label="tumor" if is_tumor else "normal",
                patient=f"p{patient:02}",
                split="test" if patient >= patients - 4 else "train",
            )
        )
    return Cohort.of_rows(listed)


def learn(training, test, seed) -> list[BagScores]:
    """Score windows along the line between the means of both classes."""
    if training.learner == "weak":
        values = np.stack([bag.astype(float).max(axis=0) for bag in training.bags])
    else:
        values = np.concatenate(training.bags).astype(float)
    means = [values[training.labels == label].mean(axis=0) for label in (0, 1)]
    line = means[1] - means[0] + 0.05 * np.random.default_rng(seed).normal(size=4)
    found = []
    for bag in test:
        scores = 1 / (1 + np.exp(-(bag.astype(float) - sum(means) / 2) @ line))
        weights = scores / scores.sum() if training.learner == "weak" else None
        found.append(BagScores(slide=float(scores.max()), windows=scores, attention=weights))
    return found
