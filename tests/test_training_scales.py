"""Networks that see several scales of one patch: 40X, 20X and 10X, and 40X beside 10X."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from conftest import TUMOR_RINGS, as_cohort, geojson, offset_level0
from gigaslide.batch import BatchSettings
from gigaslide.cohort import CohortSlide
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.models import ARCHITECTURES, load_predictor
from gigaslide.patching import PatchStore, centre_crop, tile_cohort
from gigaslide.training import Sampler, train
from gigaslide.wsi import CLASSES, CellStatus, TissueSettings, open_slide
from tiny_network import TINY
from training_store import SHORT, TILES

SIDE, WIDTH, HEIGHT = TILES.patch_px, 2025, 1511
MPP, STRIDE = 0.25, 160
EVERYTHING = TissueSettings(method="grey")
"""The grey of the wave is below the paper's limit nearly everywhere."""


@pytest.fixture(scope="module")
def store(wave_file, tmp_path_factory) -> PatchStore:
    """Patches of 0.25, 0.5 and 1 µm/px from a slide whose colour tells the place."""
    folder = tmp_path_factory.mktemp("scales")
    annotation = folder / "wave.geojson"
    annotation.write_text(json.dumps(geojson(TUMOR_RINGS)))
    rows = [
        CohortSlide(
            id=split,
            path=shutil.copy(wave_file, folder / f"{split}.tif"),
            annotation=annotation,
            label="tumor",
            patient=split,
            split=split,
        )
        for split in ("train", "validation")
    ]
    tiles = TILES.model_copy(
        update={"mpp": MPP, "further_mpp": (0.5, 1.0), "tissue": EVERYTHING, "min_tissue": 0.9}
    )
    tile_cohort(as_cohort(*rows), folder / "store", tiles, BatchSettings(workers=0))
    return PatchStore(folder / "store")


def assert_concentric(windows: np.ndarray, centre: tuple[float, float], mpps) -> bool:
    """Compare the place that each scale (scales, P, P, 3) shows with a centre, level-0 (x, y);
    return False where part of it lies outside the slide."""
    x, y = centre
    half = SIDE * max(mpps) / MPP / 2
    if not (half <= x <= WIDTH - half and half <= y <= HEIGHT - half):
        return False
    for window, mpp in zip(windows, mpps, strict=True):
        px_level0 = mpp / MPP
        corner = {"x": x - SIDE * px_level0 / 2, "y": y - SIDE * px_level0 / 2}
        off = offset_level0(window, **corner, px_level0=px_level0)
        # A window begins on a whole px; a level of 1013 px is not quite half of 2025.
        assert max(map(abs, off)) <= px_level0 / 2 + 1
    return True


def centres_of(store: PatchStore) -> dict[bytes, tuple[float, float]]:
    """Centres of the training patches, level-0 (x, y), by the pixels of their finest scale."""
    found = {}
    stored = TILES.stored_px
    for name in CLASSES:
        group = zarr.open_group(store.path / "train" / name, mode="r")
        for xy, patch in zip(group["xy"][:], group["images"][:], strict=True):
            middle = centre_crop(patch, side_px=SIDE).tobytes()
            found[middle] = (xy[0] + stored / 2, xy[1] + stored / 2)
    return found


@pytest.mark.parametrize("mpps", [(0.25, 0.5, 1.0), (0.25, 1.0)])
def test_scales_are_concentric_from_training_to_prediction(
    store, wave_file, tmp_path, monkeypatch, mpps
):
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    settings = SHORT.model_copy(update={"scales": mpps, "examples": 32, "stain": "none"})
    card = train(store, tmp_path / "model", settings).card
    assert card.input_spec.mpps == mpps

    centres = centres_of(store)
    plain = Sampler(
        store=store, split="train", spec=card.input_spec, batch_size=32, seed=1, augment=None
    )
    patches = plain.draw(0).patches
    assert patches.shape == (32, len(mpps), SIDE, SIDE, 3)
    inside = [assert_concentric(one, centres[one[0].tobytes()], mpps) for one in patches]
    assert sum(inside) > 16

    predictor, seen = load_predictor(tmp_path / "model", runtime="keras"), []

    def number_windows(windows: np.ndarray) -> np.ndarray:
        """Return a probability that tells which window it belongs to."""
        assert np.isfinite(predictor.forward(windows)).all()
        tumor = (len(seen) + np.arange(len(windows))) / 2**12
        seen.extend(windows)
        return np.stack([1 - tumor, tumor], axis=1).astype(np.float32)

    look = PredictSettings(orientations=1, stride_px=STRIDE, tissue=EVERYTHING)
    with open_slide(wave_file) as slide:
        numbering = replace(predictor, forward=number_windows)
        heatmap = predict_slide(slide, numbering, look, slide_id="wave")
    inside = []
    for row, column in np.argwhere(heatmap.status == CellStatus.SCORED):
        windows = seen[round(float(heatmap.probability[row, column]) * 2**12)]
        centre = STRIDE * (column + 0.5), STRIDE * (row + 0.5)
        inside.append(assert_concentric(windows, centre, mpps))
    assert sum(inside) > 30
