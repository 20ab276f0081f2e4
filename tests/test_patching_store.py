"""Reading a patch store: every patch as it was written, and damage that is told, never shown as
pixels."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from gigaslide.patching import PatchStore, tile_slide
from gigaslide.storage import StoreError
from tiling import SETTINGS, SIDE, classes_of


def test_zarr_python_and_the_store_read_the_same(tiled):
    store, _ = tiled
    for slide, name, group in classes_of(store):
        images = group["images"][:]
        assert images.shape[1:] == (SIDE, SIDE, 3)
        assert images.dtype == np.uint8
        assert group["xy"].dtype == np.int64
        if len(images):
            order = np.random.default_rng(0).permutation(len(images))
            assert np.array_equal(store.read(slide, name, order), images[order])


def test_fault_30_permuted_duplicated_and_absent_indices(tiled):
    store, _ = tiled
    images = zarr.open_group(store.path / "ill" / "tumor", mode="r")["images"][:]
    wanted = np.array([39, 0, 7, 7, 0, 12])
    assert np.array_equal(store.read("ill", "tumor", wanted), images[wanted])
    assert store.read("ill", "tumor", np.array([], np.int64)).shape == (0, SIDE, SIDE, 3)
    for absent in (40, -41, 10**9):
        with pytest.raises(StoreError, match="ill/tumor"):
            store.read("ill", "tumor", np.array([absent]))


def test_store_pickles_as_its_path(tiled):
    store, _ = tiled
    first = store.read("ill", "tumor", np.arange(5))
    content = pickle.dumps(store)
    assert len(content) < 500
    assert np.array_equal(pickle.loads(content).read("ill", "tumor", np.arange(5)), first)


def _shards(store: PatchStore, slide: str = "ill") -> list[Path]:
    return sorted(
        path
        for path in (store.path / slide / "tumor" / "images" / "c").rglob("*")
        if path.is_file()
    )


def test_fault_27_flipped_byte_is_an_error_that_names_the_shard(copied):
    shard = _shards(copied)[0]
    content = bytearray(shard.read_bytes())
    content[1000] ^= 0x01
    shard.write_bytes(content)
    with pytest.raises(StoreError, match=r"ill/tumor: patches cannot be read") as info:
        copied.read("ill", "tumor", np.arange(40))
    assert "images/c/0" in str(info.value)
    assert "tile again" in str(info.value)
    assert copied.read("ill", "normal", np.arange(3)).any()  # the others are as they were


def test_fault_27_flipped_byte_in_the_index(copied):
    shard = _shards(copied)[0]
    content = bytearray(shard.read_bytes())
    content[-20] ^= 0x01
    shard.write_bytes(content)
    with pytest.raises(StoreError, match="ill/tumor"):
        copied.read("ill", "tumor", np.arange(40))


def test_fault_28_deleted_or_cut_shard_is_an_error_not_zeros(copied):
    shard = _shards(copied)[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="ill/tumor"):
        PatchStore(copied.path).read("ill", "tumor", np.array([3]))
    shard.unlink()
    with pytest.raises(StoreError, match="ill/tumor"):
        PatchStore(copied.path).read("ill", "tumor", np.array([3]))
    shutil.rmtree(copied.path / "ill" / "tumor" / "images")
    with pytest.raises(StoreError, match="ill/tumor"):
        PatchStore(copied.path).read("ill", "tumor", np.array([3]))


def test_fault_28_one_empty_entry_in_a_shard_is_an_error(copied):
    # 40 patches, an index of (offset, length) at the end of the shard, then its checksum.
    group = zarr.open_group(copied.path / "ill" / "tumor", mode="r+")
    array = zarr.open_array(copied.path / "ill" / "tumor" / "images", mode="r+")
    assert array.shards is not None
    images = group["images"][:]
    del group
    blank = zarr.create_array(
        copied.path / "ill" / "tumor" / "images",
        shape=array.shape,
        dtype="uint8",
        chunks=array.chunks,
        shards=array.shards,
        compressors=array.compressors,
        overwrite=True,
    )
    blank[:12] = images[:12]  # the rest is never written
    assert np.array_equal(PatchStore(copied.path).read("ill", "tumor", np.arange(12)), images[:12])
    with pytest.raises(StoreError, match="ill/tumor"):
        PatchStore(copied.path).read("ill", "tumor", np.array([20]))


def test_store_that_is_none_and_damaged_groups(tmp_path, copied):
    with pytest.raises(StoreError, match="gone: no such folder"):
        _ = PatchStore(tmp_path / "gone").slides
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"not a patch store \(there is no zarr.json\)"):
        _ = PatchStore(tmp_path / "empty").slides
    with pytest.raises(StoreError, match=r"zarr.json: is a file, not a patch store"):
        _ = PatchStore(copied.path / "zarr.json").slides
    (copied.path / "ill" / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"ill: damaged group"):
        _ = PatchStore(copied.path).slides
    plain = json.loads((copied.path / "zarr.json").read_text())
    plain["attributes"]["format"] = "other/9"
    (copied.path / "zarr.json").write_text(json.dumps(plain))
    with pytest.raises(StoreError, match="not a patch store of format"):
        _ = PatchStore(copied.path).slides


@pytest.mark.parametrize(
    "content", ["[]", "[1]", '{"attributes": []}', "17", '{"attributes": null}']
)
def test_json_that_is_no_store_is_a_store_error(copied, content):
    (copied.path / "ill" / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="ill: damaged group"):
        _ = PatchStore(copied.path).slides
    (copied.path / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="not a patch store"):
        _ = PatchStore(copied.path).attributes


def test_slides_of_other_settings_are_left_out_and_said(cohort, copied, caplog):
    # As a run with other settings leaves it that is stopped after its first slide.
    changed = SETTINGS.model_copy(update={"mpp": 1.0, "normal_per_slide": 3})
    rows = copied.attributes["slides"]
    PatchStore.describe(copied.path, settings=changed.model_dump(mode="json"), slides=rows)
    tile_slide(cohort.slides[1], store=copied.path, settings=changed)
    store = PatchStore(copied.path)
    assert [(slide.id, slide.counts["normal"]) for slide in store.slides] == [("well", 3)]
    assert store.count("tumor", split="train") == 0
    told = [m for m in caplog.messages if "tiled with other settings and is left out" in m]
    assert [name for name in ("ill", "ill_2") if any(f" {name} was" in m for m in told)] == [
        "ill",
        "ill_2",
    ]
    assert len(told) == 2


def test_other_splits_alone_are_no_other_settings(copied):
    rows, settings = copied.attributes["slides"], SETTINGS.model_copy(update={"splits": ("train",)})
    PatchStore.describe(copied.path, settings=settings.model_dump(mode="json"), slides=rows)
    assert len(PatchStore(copied.path).slides) == 3


def test_patches_of_another_size_are_left_out(copied, caplog):
    path = copied.path / "well" / "zarr.json"
    plain = json.loads(path.read_text())
    plain["attributes"]["arrays"]["images"] = [SIDE + 2, SIDE + 2, 3]
    path.write_text(json.dumps(plain))
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["ill", "ill_2"]
    assert "well was tiled with other settings" in caplog.text


def test_settings_of_another_version_ask_to_tile_again(copied):
    assert copied.tile_settings == SETTINGS
    settings = {**copied.settings, "colour": "blue"}
    PatchStore.describe(copied.path, settings=settings, slides=copied.attributes["slides"])
    with pytest.raises(StoreError, match=r"(?s)settings of another version.*colour.*tile again"):
        _ = PatchStore(copied.path).tile_settings
