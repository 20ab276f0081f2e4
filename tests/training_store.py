"""A small patch store of phantom-like slides, and settings of a training of seconds on it."""

import json

from conftest import TUMOR_RINGS, geojson, stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import AugmentSettings, PatchStore, TileSettings, tile_cohort
from gigaslide.training import TrainSettings

TILES = TileSettings(
    mpp=0.5, patch_px=75, centre_px=32, margin_px=4, tumor_per_slide=20, normal_per_slide=20
)
SHORT = TrainSettings(
    examples=96,
    batch_size=16,
    validate_every=48,
    validation_patches=32,
    cooldown=0.5,
    augment=AugmentSettings(jitter_px=4),
)


EXTENT = {"examples", "batch_size", "validate_every", "validation_patches", "augment"}


def tumor_slide(folder, name, seed, split) -> CohortSlide:
    path = write_tiff(folder / f"{name}.tif", stained_slide(seed))
    annotation = folder / f"{name}.geojson"
    annotation.write_text(json.dumps(geojson(TUMOR_RINGS)))
    return CohortSlide(
        id=name, path=path, annotation=annotation, label="tumor", patient=name, split=split
    )


def make_store(folder) -> PatchStore:
    """Tile a tumour and a normal slide for training, and a tumour slide for validation."""
    normal = CohortSlide(
        id="n",
        path=write_tiff(folder / "n.tif", stained_slide(3)),
        label="normal",
        patient="n",
        split="train",
    )
    rows = [tumor_slide(folder, "a", 1, "train"), normal, tumor_slide(folder, "v", 2, "validation")]
    tile_cohort(Cohort.of_rows(rows), folder / "store", TILES, BatchSettings(workers=0))
    return PatchStore(folder / "store")
