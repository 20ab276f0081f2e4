"""Small bags of features whose tumour is known, alone and as the features of a cohort's slides."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.training import BagSettings
from gigaslide.wsi import SlideFeatures

LENGTH = 12
SMALL = BagSettings(
    hidden=16,
    attention=8,
    epochs=30,
    batch_size=4,
    learning_rate=0.02,
    feature_dropout=0.1,
    dropout=0.1,
)


def make_bag(windows: int, tumor: int, seed: int) -> np.ndarray:
    """(N, 12) float16 noise of another scale and mean for each feature; the first `tumor` windows
    differ in the first two features."""
    rng = np.random.default_rng(seed)
    bag = rng.normal(size=(windows, LENGTH))
    bag[:tumor, :2] += 4
    return (bag * np.linspace(1, 30, LENGTH) + np.linspace(-50, 50, LENGTH)).astype(np.float16)


def make_bags(count: int = 12, seed: int = 0) -> tuple[list[np.ndarray], list[int]]:
    """Bags of 5 to 40 windows, every second one with 3 tumour windows, and their labels."""
    rng = np.random.default_rng(seed)
    labels = [number % 2 for number in range(count)]
    sizes = rng.integers(5, 40, count).tolist()
    return [
        make_bag(size, 3 * label, [seed, number])
        for number, (size, label) in enumerate(zip(sizes, labels, strict=True))
    ], labels


def label_of_windows(bags: Iterable[np.ndarray], labels: Iterable[int]) -> list[np.ndarray]:
    """1 for the first 3 windows of a tumour bag."""
    return [
        (np.arange(len(bag)) < 3 * label).astype(int)
        for bag, label in zip(bags, labels, strict=True)
    ]


def save_features(
    folder: Path,
    slide: CohortSlide,
    *,
    size: tuple[int, int],
    bag: np.ndarray,
    xy: np.ndarray,
    **changes,
) -> SlideFeatures:
    """Save features of windows of 64 px at 0.5 µm/px; changes: other fields."""
    fields = {
        "slide": slide.id,
        "features": bag,
        "xy": xy.astype(np.int64),
        "patch_px": 64,
        "mpp": 0.5,
        "side_level0": 64.0,
        "stride_level0": 64.0,
        "slide_size": size,
        "slide_mpp": 0.5,
        "encoder": "made up",
        "encoder_hash": "e" * 64,
        "encoder_card": {},
    }
    found = SlideFeatures(**{**fields, **changes})
    found.save(folder / f"{slide.id}.zarr")
    return found


def first_cells(size: tuple[int, int], count: int, side: int = 64) -> np.ndarray:
    """Corners of so many cells of a slide, row by row, (N, 2) level-0 (x, y)."""
    columns = size[0] // side
    return np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1) * side


def cohort_of(rows: Iterable[CohortSlide]) -> Cohort:
    return Cohort.of_rows(list(rows))
