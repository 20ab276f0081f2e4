"""Slides with dark discs on pale tissue, outlined, and models that segment them: made in
seconds."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import (
    REGION_ARCHITECTURE,
    WEIGHTS,
    ModelCard,
    RegionOptions,
    build_region_network,
    hash_weights,
)
from gigaslide.training import RegionSettings
from gigaslide.wsi import InputSpec, TissueSettings

WIDTH, HEIGHT, MPP = 443, 331, 2.0  # neither square nor a multiple of a tile
TISSUE = TissueSettings(mpp=8.0, min_area_um2=1000.0)
SMALL = RegionSettings(
    mpp=2.0,
    crop_px=64,
    cell_px=4,
    epochs=2,
    steps=4,
    batch_size=4,
    width=4,
    stages=3,
    tissue=TISSUE,
    validation_crops=6,
    previews=3,
)


def discs(seed: int) -> list[tuple[float, float, float]]:
    """Middle x and y, and radius, of dark discs on the tissue, px."""
    rng = np.random.default_rng(seed)
    grid = [(x, y) for x in range(110, WIDTH - 90, 120) for y in range(100, HEIGHT - 90, 110)]
    return [
        (x + rng.uniform(-12, 12), y + rng.uniform(-9, 9), rng.uniform(22, 38)) for x, y in grid
    ]


def region_pixels(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(240, 248, (HEIGHT, WIDTH, 3)).astype(np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    tissue = (x > 40) & (x < WIDTH - 50) & (y > 30) & (y < HEIGHT - 40)
    pixels[tissue] = (215, 150, 190)
    for middle_x, middle_y, radius in discs(seed):
        pixels[(x - middle_x) ** 2 + (y - middle_y) ** 2 < radius**2] = (110, 60, 140)
    pixels += rng.normal(0, 9, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def disc_features(seed: int, group: str = "Gland") -> list[dict]:
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return [
        outline([(x + r * np.cos(t), y + r * np.sin(t)) for t in turns], group)
        for x, y, r in discs(seed)
    ]


def outline(ring: Sequence[tuple[float, float]], group: str) -> dict:
    closed = [list(map(float, point)) for point in [*ring, ring[0]]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [closed]},
        "properties": {"objectType": "annotation", "classification": {"name": group}},
    }


def region_slide(
    folder: Path, name: str, *, seed: int, features: list[dict] | None = None, **fields
) -> CohortSlide:
    path = write_tiff(folder / f"{name}.tif", region_pixels(seed), mpp=MPP)
    found = disc_features(seed) if features is None else features
    annotation = folder / f"{name}.geojson"
    annotation.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    row = {"label": "tumor", "patient": name, **fields}
    return CohortSlide(id=name, path=path, annotation=annotation, **row)


def region_cohort(folder: Path) -> Cohort:
    rows = [
        region_slide(folder, "a", seed=1, split="train"),
        region_slide(folder, "b", seed=2, split="train"),
        region_slide(folder, "v", seed=3, split="validation"),
        region_slide(folder, "t", seed=4, split="test"),
    ]
    return Cohort.of_rows(rows)


def write_region_model(folder: Path, *, seed: int = 0, stain=None, **options) -> Path:
    """Write a model folder with random weights, whose probabilities are spread over (0, 1)."""
    import keras

    keras.utils.set_random_seed(seed)
    chosen = RegionOptions(**{"width": 4, "stages": 3, **options})
    network = build_region_network(chosen, None)
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if layer.name == "logits":
            layer.kernel.assign(8 * layer.kernel)
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.moving_mean.assign(rng.normal(0, 0.2, shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, shape))
    folder.mkdir(parents=True)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture=REGION_ARCHITECTURE,
        task="regions",
        options=chosen.model_dump(mode="json"),
        input_spec=InputSpec(patch_px=64, centre_px=4, mpps=(MPP,), stain=stain),
        parameters={"all": 1, "trained": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder
