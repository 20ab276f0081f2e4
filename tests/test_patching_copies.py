"""Augmented copies in the store, and what training takes from it."""

import numpy as np
import pytest
import zarr
from conftest import as_cohort
from gigaslide.patching import (
    AugmentSettings,
    PatchStore,
    TileSettings,
    draw_augmentation,
    patch_rng,
)
from gigaslide.storage import StoreError
from gigaslide.training import Sampler
from gigaslide.wsi import CLASSES
from pydantic import ValidationError
from tiling import made_slide, tile

ON = AugmentSettings(jitter_px=4, stain=0.1, stain_shift=0.02, blur_px=0.8, jpeg_quality=70)
COPIES = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    folder = tmp_path_factory.mktemp("copies")
    slide = made_slide(folder, "ill.tif", seed=1, label="tumor", patient="p1", split="train")
    few = {"normal_per_slide": 7, "tumor_per_slide": 6, "stride_px": 32}
    tile(as_cohort(slide), folder / "store", copies=COPIES, augment=ON, seed=5, **few)
    return PatchStore(folder / "store")


def sampler(store: PatchStore, **changes) -> Sampler:
    common = {
        "store": store,
        "split": "train",
        "spec": store.input_spec,
        "batch_size": 8,
        "seed": 5,
        "augment": ON,
    }
    return Sampler(**{**common, **changes})


def test_stored_copies_are_what_is_drawn_on_the_fly(store):
    for name in CLASSES:
        group = zarr.open_group(store.path / "ill" / name, mode="r")
        augmented, images = group["augmented"][:], group["images"][:]
        assert augmented.shape == (len(images), COPIES, 75, 75, 3)
        for row, copy in np.ndindex(len(images), COPIES):
            rng = patch_rng(seed=5, group=f"ill/{name}", row=row, copy=copy)
            assert np.array_equal(
                augmented[row, copy], draw_augmentation(rng, ON).apply(images[row], side_px=75)
            )
        assert (
            len({patch.tobytes() for patch in augmented.reshape(-1, 75, 75, 3)})
            == len(images) * COPIES
        )
        wanted = [("ill", name, index) for index in (4, 0, -1, 4)]
        read = store.read_many(wanted, array="augmented", copies=[2, 0, 1, 1])
        assert np.array_equal(read, augmented[[4, 0, -1, 4], [2, 0, 1, 1]])


def test_training_takes_stored_copies_as_they_are(store):
    held = {}
    for name in CLASSES:
        for patch in zarr.open_group(store.path / "ill" / name, mode="r")["augmented"][:].reshape(
            -1, 75, 75, 3
        ):
            held[patch.tobytes()] = name
    batches = [sampler(store, copies=COPIES).draw(number) for number in range(20)]
    seen = [p.tobytes() for batch in batches for p in batch.patches[:, 0]]
    labels = np.concatenate([batch.labels for batch in batches])
    assert [held[patch] for patch in seen] == [CLASSES[label] for label in labels]
    assert len(set(seen)) > 0.8 * len(held)


def test_training_changes_a_patch_by_its_place_and_the_number_of_the_example(store):
    number = 3
    batch = sampler(store).draw(number)
    for position in range(8):
        name = CLASSES[batch.labels[position]]
        images = zarr.open_group(store.path / "ill" / name, mode="r")["images"][:]
        made = [
            draw_augmentation(
                patch_rng(seed=5, group=f"ill/{name}", row=row, copy=number * 8 + position), ON
            )
            for row in range(len(images))
        ]
        assert any(
            np.array_equal(batch.patches[position, 0], draw.apply(image, side_px=75))
            for draw, image in zip(made, images, strict=True)
        )


def test_store_without_copies_says_so(tiled):
    with pytest.raises(StoreError, match="holds no augmented; tile again, with --copies"):
        tiled[0].read_many([("ill", "tumor", 0)], array="augmented", copies=[0])


def test_copies_need_a_margin_for_their_jitter():
    with pytest.raises(ValidationError, match="jitter of 8 px needs as much margin_px, not 4"):
        TileSettings(copies=2, margin_px=4)
    assert TileSettings(margin_px=4).copies == 0
