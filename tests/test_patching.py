"""From slides to a patch store and back: which windows, which label, which pixels, and what is made again."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import (
    HEIGHT,
    TUMOR_RINGS,
    WIDTH,
    as_cohort,
    brute_fraction,
    geojson,
    stained_slide,
    tile_place,
    write_tiff,
)
from gigaslide.batch import BatchSettings, BatchSummary
from gigaslide.patching import CLASSES, PatchStore, TileSettings, tile_cohort, tile_slide
from gigaslide.patching.select import candidates
from gigaslide.wsi import (
    Annotation,
    CellGrid,
    Cohort,
    CohortSlide,
    SettingsError,
    StoreError,
    open_slide,
    tissue_mask,
)
from pydantic import ValidationError

HERE = BatchSettings(workers=0)
SETTINGS = TileSettings(
    mpp=0.5, patch_px=75, centre_px=32, margin_px=4, tumor_per_slide=40, normal_per_slide=50, min_tissue=0.3
)
SIDE = 75 + 2 * 4
CENTRE_OFFSET = (75 - 32) // 2 + 4  # from the corner of the stored patch to that of the centre square, px


def made_slide(folder: Path, name: str, *, seed: int, **fields) -> CohortSlide:
    path = write_tiff(folder / name, stained_slide(seed))
    annotation = None
    if fields.get("label") == "tumor":
        annotation = path.with_suffix(".geojson")
        annotation.write_text(json.dumps(geojson()))
    return CohortSlide(id=path.stem, path=path, annotation=annotation, **fields)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    folder = tmp_path_factory.mktemp("slides")
    return as_cohort(
        made_slide(folder, "ill.tif", seed=1, label="tumor", patient="p1", split="train"),
        made_slide(folder, "well.tif", seed=2, label="normal", patient="p2", split="train"),
        made_slide(folder, "ill 2.tif", seed=3, label="tumor", patient="p3", split="validation"),
        made_slide(folder, "held out.tif", seed=4, label="tumor", patient="p4", split="test"),
        made_slide(folder, "unknown.tif", seed=5, patient="p5", split="train"),
    )


def tile(cohort: Cohort, store: Path, workers: int = 0, **changes) -> BatchSummary:
    settings = SETTINGS.model_copy(update=changes)
    return tile_cohort(cohort, store, settings, BatchSettings(workers=workers, memory_gb=1.5))


@pytest.fixture(scope="module")
def tiled(cohort, tmp_path_factory) -> tuple[PatchStore, BatchSummary]:
    path = tmp_path_factory.mktemp("tiled") / "store"
    summary = tile(cohort, path)
    return PatchStore(path), summary


@pytest.fixture
def copied(tiled, tmp_path) -> PatchStore:
    shutil.copytree(tiled[0].path, tmp_path / "store")
    return PatchStore(tmp_path / "store")


def classes_of(store: PatchStore) -> Iterator[tuple[str, str, zarr.Group]]:
    """Every (slide, class, group), read by zarr-python."""
    for slide in store.slides:
        for name in CLASSES:
            yield slide.id, name, zarr.open_group(store.path / slide.id / name, mode="r")


def content_hash(store: PatchStore) -> str:
    digest = hashlib.sha256()
    for slide, name, group in classes_of(store):
        for array in ("images", "xy", "tumor_fraction", "tissue_fraction"):
            values = group[array][:]
            digest.update(f"{slide} {name} {array} {values.shape} {values.dtype}".encode() + values.tobytes())
    return digest.hexdigest()


def test_labelled_slides_of_the_wanted_splits_are_tiled(tiled):
    store, summary = tiled
    assert summary.exit_status == 0
    assert {o.slide: o.status for o in summary.outcomes} == {"ill": "done", "well": "done", "ill_2": "done"}
    assert [(s.id, s.patient, s.split) for s in store.slides] == [
        ("ill", "p1", "train"),
        ("well", "p2", "train"),
        ("ill_2", "p3", "validation"),
    ]
    assert (store.path / "summary.csv").exists()
    assert TileSettings(**store.settings) == SETTINGS


def test_quotas_are_upper_limits_and_counts_agree_everywhere(tiled):
    store, summary = tiled
    counts = {slide.id: slide.counts for slide in store.slides}
    assert counts["ill"] == {"tumor": 40, "normal": 50}
    assert counts["well"] == {"tumor": 0, "normal": 50}
    assert counts == {o.slide: o.counts for o in summary.outcomes}
    assert store.count("tumor", split="train") == 40
    assert store.count("normal", split="train") == 100
    assert store.count("tumor", split="validation") == counts["ill_2"]["tumor"]
    for slide, name, group in classes_of(store):
        lengths = {group[array].shape[0] for array in ("images", "xy", "tumor_fraction", "tissue_fraction")}
        assert lengths == {counts[slide][name]}


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


def test_stored_pixels_are_the_slides_pixels_at_xy(tiled):
    store, _ = tiled
    for slide, name, group in classes_of(store):
        pixels = stained_slide({"ill": 1, "well": 2, "ill_2": 3}[slide])
        xy = group["xy"][:]
        assert len({tuple(corner) for corner in xy.tolist()}) == len(xy)
        for (x, y), patch in zip(xy.tolist(), group["images"][:], strict=True):
            assert 0 <= x <= WIDTH - SIDE
            assert 0 <= y <= HEIGHT - SIDE
            assert np.array_equal(patch, pixels[y : y + SIDE, x : x + SIDE]), f"{slide}/{name} at {x}, {y}"


def test_labels_are_those_of_the_polygons(tiled):
    store, _ = tiled
    for slide, name, group in classes_of(store):
        rings = TUMOR_RINGS if slide != "well" else []
        corners = group["xy"][:] + CENTRE_OFFSET
        stored = group["tumor_fraction"][:]
        # Some pixel centres lie exactly on a line, where rounding decides: rings moved by a hair bound the answer.
        counts = [
            [brute_fraction(rings, (x + dx, y + dy), side_level0=32, side_px=32) for x, y in corners.tolist()]
            for dx, dy in [(1e-6, 1.7e-6), (-1e-6, 1.7e-6), (1e-6, -1.7e-6), (-1e-6, -1.7e-6)]
        ]
        assert (stored >= np.min(counts, axis=0) - 1e-6).all()
        assert (stored <= np.max(counts, axis=0) + 1e-6).all()
        assert (np.ptp(counts, axis=0) < 0.02).all()
        assert ((stored > 0) == (name == "tumor")).all()


def test_tissue_is_under_every_patch(tiled):
    store, _ = tiled
    for slide, _, group in classes_of(store):
        pixels = stained_slide({"ill": 1, "well": 2, "ill_2": 3}[slide])
        for (x, y), share in zip((group["xy"][:] + CENTRE_OFFSET).tolist(), group["tissue_fraction"][:], strict=True):
            pink = pixels[y : y + 32, x : x + 32].mean(axis=2) < 235
            assert share >= 0.3
            assert abs(pink.mean() - share) < 0.6  # the mask has 16 level-0 px a pixel, the square is 2 × 2 of them
            assert pink.mean() > 0.1


def test_patches_spread_over_the_whole_tumour(tiled):
    store, _ = tiled
    middles = np.concatenate([g["xy"][:] for _, name, g in classes_of(store) if name == "tumor"]) + SIDE / 2
    assert (middles[:, 0] > 1200).any()  # the small lesion
    assert (middles[:, 1] > 600).any()
    assert (middles[:, 0] < 420).any()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_makes_the_same_store(cohort, tiled, tmp_path, workers):
    store, summary = tiled
    again = tile(cohort, tmp_path / "store", workers=workers)
    assert [(o.slide, o.status, o.counts) for o in again.outcomes] == [
        (o.slide, o.status, o.counts) for o in summary.outcomes
    ]
    assert content_hash(PatchStore(tmp_path / "store")) == content_hash(store)


def test_another_order_or_company_makes_the_same_patches(cohort, tiled, tmp_path):
    store, _ = tiled
    tile(Cohort(slides=(cohort.slides[2], cohort.slides[0])), tmp_path / "store")
    for slide, name, group in classes_of(PatchStore(tmp_path / "store")):
        first = zarr.open_group(store.path / slide / name, mode="r")
        assert np.array_equal(group["xy"][:], first["xy"][:])
        assert np.array_equal(group["images"][:], first["images"][:])


def test_another_seed_draws_other_patches(cohort, tiled, tmp_path):
    tile(Cohort(slides=cohort.slides[:1]), tmp_path / "store", seed=1)
    first = zarr.open_group(tiled[0].path / "ill" / "normal", mode="r")["xy"][:]
    second = zarr.open_group(tmp_path / "store" / "ill" / "normal", mode="r")["xy"][:]
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_resume_skips_what_is_unchanged(cohort, copied):
    before = content_hash(copied)
    stamps = {path: path.stat().st_mtime_ns for path in copied.path.rglob("c/**/*")}
    summary = tile(cohort, copied.path)
    assert {o.status for o in summary.outcomes} == {"skipped"}
    assert {o.slide: o.counts for o in summary.outcomes} == {s.id: s.counts for s in copied.slides}
    assert summary.exit_status == 0
    assert {path: path.stat().st_mtime_ns for path in copied.path.rglob("c/**/*")} == stamps
    assert content_hash(PatchStore(copied.path)) == before


def test_changed_setting_is_made_again_and_said(cohort, copied):
    summary = tile(cohort, copied.path, tumor_per_slide=7)
    assert {o.status for o in summary.outcomes} == {"done"}
    assert all("made again: settings.tumor_per_slide: 40 → 7" in o.reason for o in summary.outcomes)
    assert {s.id: s.counts["tumor"] for s in PatchStore(copied.path).slides} == {"ill": 7, "well": 0, "ill_2": 7}


def test_changed_split_or_patient_alone_is_not_made_again(cohort, copied):
    moved = [replace(slide, split="validation", patient="q") if slide.id == "ill" else slide for slide in cohort]
    summary = tile(as_cohort(*moved), copied.path)
    assert {o.status for o in summary.outcomes} == {"skipped"}
    (ill,) = (slide for slide in PatchStore(copied.path).slides if slide.id == "ill")
    assert (ill.split, ill.patient) == ("validation", "q")


def test_further_splits_only_add_slides(cohort, copied):
    summary = tile(cohort, copied.path, splits=("train", "validation", "test"))
    assert {o.slide: o.status for o in summary.outcomes} == {
        "ill": "skipped",
        "well": "skipped",
        "ill_2": "skipped",
        "held_out": "done",
    }


def test_fault_16_replaced_slide_is_made_again_and_said(tmp_path):
    slide = made_slide(tmp_path, "a.tif", seed=1, label="normal", split="train")
    store = tmp_path / "store"
    tile(as_cohort(slide), store, normal_per_slide=5)
    write_tiff(slide.path, stained_slide(8))
    (outcome,) = tile(as_cohort(slide), store, normal_per_slide=5).outcomes
    assert outcome.status == "done"
    assert "made again: inputs.slide." in outcome.reason
    group = zarr.open_group(store / "a" / "normal", mode="r")
    x, y = group["xy"][0].tolist()
    assert np.array_equal(group["images"][0], stained_slide(8)[y : y + SIDE, x : x + SIDE])


def _shards(store: PatchStore, slide: str = "ill") -> list[Path]:
    return sorted(path for path in (store.path / slide / "tumor" / "images" / "c").rglob("*") if path.is_file())


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
        shape=array.shape, dtype="uint8", chunks=array.chunks, shards=array.shards,
        compressors=array.compressors, overwrite=True,
    )  # fmt: skip
    blank[:12] = images[:12]  # the rest is never written
    assert np.array_equal(PatchStore(copied.path).read("ill", "tumor", np.arange(12)), images[:12])
    with pytest.raises(StoreError, match="ill/tumor"):
        PatchStore(copied.path).read("ill", "tumor", np.array([20]))


def test_store_that_is_none_and_damaged_groups(tmp_path, copied):
    with pytest.raises(StoreError, match="not a patch store"):
        _ = PatchStore(tmp_path / "gone").slides
    (copied.path / "ill" / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"ill: damaged group"):
        _ = PatchStore(copied.path).slides
    plain = json.loads((copied.path / "zarr.json").read_text())
    plain["attributes"]["format"] = "other/9"
    (copied.path / "zarr.json").write_text(json.dumps(plain))
    with pytest.raises(StoreError, match="not a patch store of format"):
        _ = PatchStore(copied.path).slides


def test_store_pickles_as_its_path(tiled):
    store, _ = tiled
    first = store.read("ill", "tumor", np.arange(5))
    content = pickle.dumps(store)
    assert len(content) < 500
    assert np.array_equal(pickle.loads(content).read("ill", "tumor", np.arange(5)), first)


def test_fault_11_slide_smaller_than_a_patch_has_none(tmp_path):
    path = write_tiff(tmp_path / "tiny.tif", stained_slide(1)[500:570, 400:600], tile_px=64)
    slide = CohortSlide(id="tiny", path=path, label="normal", split="train")
    settings = {"tissue": SETTINGS.tissue.model_copy(update={"min_area_um2": 0.0})}
    (outcome,) = tile(as_cohort(slide), tmp_path / "store", **settings).outcomes
    assert (outcome.status, outcome.counts) == ("done", {"tumor": 0, "normal": 0})
    assert "no window fits" in outcome.reason
    group = zarr.open_group(tmp_path / "store" / "tiny" / "normal", mode="r")
    assert group["images"].shape == (0, SIDE, SIDE, 3)
    assert group["xy"].shape == (0, 2)


def test_windows_at_the_border_lie_inside(tmp_path):
    pixels = np.clip(np.random.default_rng(0).normal((190, 110, 160), 25, (211, 307, 3)), 0, 220).astype(np.uint8)
    path = write_tiff(tmp_path / "full.tif", pixels)
    slide = CohortSlide(id="full", path=path, label="normal", split="train")
    tile(as_cohort(slide), tmp_path / "store", normal_per_slide=1000)
    xy = zarr.open_group(tmp_path / "store" / "full" / "normal", mode="r")["xy"][:]
    assert len(xy) > 10
    assert xy.min() >= 0
    assert (xy <= (307 - SIDE, 211 - SIDE)).all()
    # The finest grid has steps of 8 px, so no room for another column or row is left unused.
    assert ((307 - SIDE, 211 - SIDE) - xy.max(axis=0) < 8).all()
    assert (xy.min(axis=0) < 8).all()


def test_fault_12_no_tissue_is_done_with_a_reason(tmp_path):
    path = write_tiff(tmp_path / "glass.tif", stained_slide(1, tissue=False))
    slide = CohortSlide(id="glass", path=path, label="normal", split="train")
    summary = tile(as_cohort(slide), tmp_path / "store")
    (outcome,) = summary.outcomes
    assert (outcome.status, outcome.reason, outcome.counts) == ("done", "no tissue", {"tumor": 0, "normal": 0})
    assert summary.exit_status == 0
    assert "no tissue" in (tmp_path / "store" / "summary.csv").read_text()
    assert tile(as_cohort(slide), tmp_path / "store").outcomes[0].status == "skipped"


def test_fault_01_empty_file_does_not_stop_the_batch(cohort, tmp_path):
    (tmp_path / "empty.tif").touch()
    bad = CohortSlide(id="empty", path=tmp_path / "empty.tif", label="normal", split="train")
    gone = CohortSlide(id="gone", path=tmp_path / "gone.tif", label="normal", split="train")
    summary = tile(as_cohort(bad, gone, cohort.slides[1]), tmp_path / "store", normal_per_slide=3)
    assert [o.status for o in summary.outcomes] == ["failed", "failed", "done"]
    assert "empty.tif: not a slide" in summary.outcomes[0].reason
    assert "gone.tif: no such file" in summary.outcomes[1].reason
    assert summary.exit_status == 2
    store = PatchStore(tmp_path / "store")
    assert [slide.id for slide in store.slides] == ["well"]
    assert "empty.tif: not a slide" in (tmp_path / "store" / "summary.csv").read_text()
    assert "SlideError" in (tmp_path / "store" / "failures.txt").read_text()
    alone = tile(as_cohort(bad), tmp_path / "other")
    assert alone.exit_status == 1


def test_fault_03_patches_on_a_corrupt_tile_are_left_out(tmp_path):
    good = write_tiff(tmp_path / "good" / "a.tif", stained_slide(1), jpeg=True)
    bad = tmp_path / "bad" / "a.tif"
    bad.parent.mkdir()
    shutil.copy(good, bad)
    offset, length = tile_place(bad, 1 * 6 + 2)  # x 512–767, y 256–511
    with bad.open("rb+") as file:
        file.seek(offset)
        file.write(bytes(length))
    stores = []
    for path in (good, bad):
        slide = CohortSlide(id="a", path=path, label="normal", split="train")
        # The file is flat, so that tissue is looked for in the damaged level.
        summary = tile(as_cohort(slide), path.parent / "store", normal_per_slide=2000, stride_px=32)
        stores.append((summary.outcomes[0], path.parent / "store" / "a" / "normal"))
    (whole, first), (torn, second) = stores
    assert whole.status == "done"
    assert torn.status == "partial"
    xy, images = (zarr.open_group(first, mode="r")[name][:] for name in ("xy", "images"))
    touches = ((xy + SIDE > (512, 256)) & (xy < (768, 512))).all(axis=1)
    assert f"{touches.sum()} patches could not be read" in torn.reason
    left_xy, left_images = (zarr.open_group(second, mode="r")[name][:] for name in ("xy", "images"))
    assert not ((left_xy + SIDE > (512, 256)) & (left_xy < (768, 512))).all(axis=1).any()
    found = dict(zip(map(tuple, left_xy.tolist()), left_images, strict=True))
    shared = [(corner, image) for corner, image in zip(map(tuple, xy.tolist()), images, strict=True) if corner in found]
    # Otsu's threshold moves a little with what is missing, and with it the rim of the tissue.
    assert len(shared) >= 0.97 * (~touches).sum()
    assert len(shared) >= 0.97 * len(found)
    assert all(np.array_equal(image, found[corner]) for corner, image in shared)


def test_fault_08_mpp_from_the_cohort_or_the_settings(tmp_path):
    path = write_tiff(tmp_path / "bare.tif", stained_slide(1), mpp=None)
    slide = CohortSlide(id="bare", path=path, label="normal", split="train")
    (refused,) = tile(as_cohort(slide), tmp_path / "a").outcomes
    assert refused.status == "failed"
    assert "bare.tif" in refused.reason
    assert "cohort's mpp column" in refused.reason
    (given,) = tile(as_cohort(replace(slide, mpp=0.25)), tmp_path / "b", normal_per_slide=4).outcomes
    assert given.status == "done"
    recipe = json.loads((tmp_path / "b" / "bare" / "zarr.json").read_text())["attributes"]["recipe"]
    assert recipe["inputs"]["mpp"] == 0.25
    with open_slide(path, mpp=0.25) as opened:  # 0.5 µm/px is now every second px
        group = zarr.open_group(tmp_path / "b" / "bare" / "normal", mode="r")
        ((_, window),) = opened.read_windows(group["xy"][:1], size=SIDE, mpp=0.5)
    assert np.array_equal(group["images"][0], window)
    x, y = group["xy"][0].tolist()
    halved = stained_slide(1)[y : y + 2 * SIDE, x : x + 2 * SIDE].reshape(SIDE, 2, SIDE, 2, 3).mean(axis=(1, 3))
    assert np.abs(window - halved).max() <= 0.5
    (fallback,) = tile(as_cohort(slide), tmp_path / "c", normal_per_slide=4, slide_mpp=0.5).outcomes
    assert fallback.status == "done"


def test_fault_09_too_coarse_a_slide_is_refused_unless_wanted(cohort, tmp_path):
    one = Cohort(slides=cohort.slides[1:2])
    (refused,) = tile(one, tmp_path / "a", mpp=0.25).outcomes
    assert refused.status == "failed"
    assert "--allow-upsampling" in refused.reason
    (allowed,) = tile(one, tmp_path / "a", mpp=0.25, allow_upsampling=True, normal_per_slide=3).outcomes
    assert (allowed.status, allowed.counts["normal"]) == ("done", 3)


def test_partial_slide_stays_partial_when_it_is_unchanged(tmp_path):
    path = write_tiff(tmp_path / "a.tif", stained_slide(1), jpeg=True)
    offset, length = tile_place(path, 1 * 6 + 2)
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(bytes(length))
    slide = as_cohort(CohortSlide(id="a", path=path, label="normal", split="train"))
    first, second = (tile(slide, tmp_path / "store", normal_per_slide=2000, stride_px=32) for _ in range(2))
    assert (first.exit_status, second.exit_status) == (2, 2)
    (before,), (after,) = first.outcomes, second.outcomes
    assert before.status == after.status == "partial"
    assert after.reason == f"unchanged; {before.reason}"
    assert after.counts == before.counts


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
    assert [name for name in ("ill", "ill_2") if any(f" {name} was" in m for m in told)] == ["ill", "ill_2"]
    assert len(told) == 2


def test_other_splits_alone_are_no_other_settings(copied):
    rows, settings = copied.attributes["slides"], SETTINGS.model_copy(update={"splits": ("train",)})
    PatchStore.describe(copied.path, settings=settings.model_dump(mode="json"), slides=rows)
    assert len(PatchStore(copied.path).slides) == 3


def test_patches_of_another_size_are_left_out(copied, caplog):
    path = copied.path / "well" / "zarr.json"
    plain = json.loads(path.read_text())
    plain["attributes"]["patch_px"] += 2
    path.write_text(json.dumps(plain))
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["ill", "ill_2"]
    assert "well was tiled with other settings" in caplog.text


def test_slide_that_fails_to_be_made_again_leaves_no_group_of_the_old_recipe(cohort, copied):
    gone = replace(cohort.slides[1], path=copied.path / "gone.tif")
    (outcome,) = tile(Cohort(slides=(gone,)), copied.path).outcomes
    assert outcome.status == "failed"
    assert not (copied.path / "well").exists()
    assert not list(copied.path.glob(".*"))
    assert (copied.path / "ill").exists()


def test_tiling_a_part_of_the_cohort_keeps_the_others_listed(cohort, copied):
    tile(Cohort(slides=(replace(cohort.slides[1], patient="new"),)), copied.path)
    assert [(s.id, s.patient) for s in PatchStore(copied.path).slides] == [
        ("ill", "p1"),
        ("well", "new"),
        ("ill_2", "p3"),
    ]
    shutil.rmtree(copied.path / "ill")
    tile(Cohort(slides=cohort.slides[2:3]), copied.path)
    assert list(PatchStore(copied.path).attributes["slides"]) == ["well", "ill_2"]


def test_slides_that_the_cohort_now_keeps_for_testing_leave_the_list(cohort, copied, caplog):
    moved = [replace(slide, split="test") if slide.id == "ill" else slide for slide in cohort]
    tile(Cohort(slides=tuple(moved)), copied.path)
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["well", "ill_2"]
    # Of ill_2 the next cohort knows only that its patient is now tested.
    tile(Cohort(slides=(cohort.slides[1], replace(cohort.slides[3], patient="p3"))), copied.path)
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["well"]
    assert "ill_2 leaves the list: its patient p3 moved" in caplog.text


def test_what_others_keep_in_the_store_is_left_alone(cohort, tmp_path):
    store = tmp_path / "store"
    mine = {"zarr.json": json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"by": "me"}}), "b.txt": ""}
    for slide, name in zip(("ill", "well"), mine, strict=True):
        (store / slide).mkdir(parents=True)
        (store / slide / name).write_text(mine[name])
    summary = tile(cohort, store, normal_per_slide=2, tumor_per_slide=2)
    assert [o.status for o in summary.outcomes] == ["failed", "failed", "done"]
    assert "not of patches" in summary.outcomes[0].reason
    assert "no zarr.json" in summary.outcomes[1].reason
    assert (store / "ill" / "zarr.json").read_text() == mine["zarr.json"]
    assert (store / "well" / "b.txt").exists()
    (store / "zarr.json").write_text(mine["zarr.json"])
    with pytest.raises(SettingsError, match="no patch store's; give another folder"):
        tile(cohort, store)
    assert (store / "zarr.json").read_text() == mine["zarr.json"]


def test_group_that_a_kill_had_moved_aside_is_found_again(cohort, copied):
    (copied.path / "ill").rename(copied.path / ".ill.0123abcd.old")
    assert {o.status for o in tile(cohort, copied.path).outcomes} == {"skipped"}
    assert not list(copied.path.glob(".*"))


@pytest.mark.parametrize("content", ["[]", "[1]", '{"attributes": []}', "17", '{"attributes": null}'])
def test_json_that_is_no_store_is_a_store_error(copied, content):
    (copied.path / "ill" / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="ill: damaged group"):
        _ = PatchStore(copied.path).slides
    (copied.path / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="not a patch store"):
        _ = PatchStore(copied.path).attributes


def test_settings_of_another_version_ask_to_tile_again(copied):
    assert copied.tile_settings == SETTINGS
    settings = {**copied.settings, "colour": "blue"}
    PatchStore.describe(copied.path, settings=settings, slides=copied.attributes["slides"])
    with pytest.raises(StoreError, match=r"(?s)settings of another version.*colour.*tile again"):
        _ = PatchStore(copied.path).tile_settings


def test_windows_over_tissue_do_not_depend_on_the_parts_they_are_sought_in(cohort, monkeypatch):
    annotation = cohort.slides[0].annotation
    assert annotation is not None
    tumor, parts = Annotation.load(annotation).tumor, CellGrid.cells_in_parts
    with open_slide(cohort.slides[0].path) as slide:
        tissue = tissue_mask(slide, SETTINGS.tissue)
        whole = candidates(slide, tissue, tumor, SETTINGS)
        monkeypatch.setattr(CellGrid, "cells_in_parts", lambda grid: parts(grid, 101))
        in_parts = candidates(slide, tissue, tumor, SETTINGS)
    for name in ("xy", "tumor_fraction", "tissue_fraction"):
        assert np.array_equal(getattr(whole, name), getattr(in_parts, name))


NASTY = ["a b.tif", "quo'te\".tif", "new\nline.tif", "-dash.tif", "组织切片.tif"]


def test_fault_13_names_of_all_kinds_are_processed(cohort, tmp_path):
    rows = []
    for name in NASTY:
        shutil.copy(cohort.slides[1].path, tmp_path / name)
        rows.append(CohortSlide(id=Path(name).stem, path=tmp_path / name, label="normal", split="train"))
    made = as_cohort(*rows)
    made.save(tmp_path / "cohort.csv")
    summary = tile(Cohort.load(tmp_path / "cohort.csv"), tmp_path / "store", normal_per_slide=2)
    assert {o.status for o in summary.outcomes} == {"done"}
    store = PatchStore(tmp_path / "store")
    assert [slide.counts["normal"] for slide in store.slides] == [2] * len(NASTY)
    for slide in store.slides:
        assert store.read(slide.id, "normal", np.arange(2)).shape == (2, SIDE, SIDE, 3)


def test_fault_14_same_name_in_two_folders_gives_two_groups(tmp_path):
    rows = [
        made_slide(tmp_path / k, "a.tif", seed=i, label="normal", split="train") for i, k in enumerate("xy", start=1)
    ]
    tile(as_cohort(*rows), tmp_path / "store", normal_per_slide=3)
    store = PatchStore(tmp_path / "store")
    assert len(store.slides) == 2
    for seed, slide in enumerate(store.slides, start=1):
        group = zarr.open_group(store.path / slide.id / "normal", mode="r")
        x, y = group["xy"][0].tolist()
        assert np.array_equal(group["images"][0], stained_slide(seed)[y : y + SIDE, x : x + SIDE])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(geojson(group="Mystery")), "unknown group 'Mystery'"),
        ("", "the annotation file is empty"),
        (json.dumps(geojson(group="normal")), "shows no tumour, but the slide is labelled tumor"),
    ],
)
def test_fault_21_bad_annotation_is_a_failed_slide_never_all_normal(cohort, tmp_path, content, words):
    (tmp_path / "a.geojson").write_text(content)
    (outcome,) = tile(
        as_cohort(replace(cohort.slides[0], annotation=tmp_path / "a.geojson")), tmp_path / "store"
    ).outcomes
    assert outcome.status == "failed"
    assert words in outcome.reason
    assert not (tmp_path / "store" / "ill").exists()


def test_labels_and_annotations_must_agree(cohort, tmp_path):
    ill = cohort.slides[0]
    (bare,) = tile(as_cohort(replace(ill, annotation=None)), tmp_path / "a").outcomes
    assert "labelled tumor but has no annotation" in bare.reason
    (wrong,) = tile(as_cohort(replace(ill, label="normal")), tmp_path / "a").outcomes
    assert "shows tumour, but the slide is labelled normal" in wrong.reason


def test_further_groups_are_given_in_the_settings(cohort, tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps(geojson(group="Mystery")))
    slide = replace(cohort.slides[0], annotation=tmp_path / "a.geojson")
    assert not Annotation.load(cohort.slides[0].annotation).tumor.is_empty
    (outcome,) = tile(as_cohort(slide), tmp_path / "store", groups={"mystery": "tumor"}).outcomes
    assert outcome.counts["tumor"] == 40


def test_nothing_to_tile_is_told_before_the_work(cohort, tmp_path):
    with pytest.raises(SettingsError, match="no slide to tile: none has a label and a split among train, validation"):
        tile(Cohort(slides=cohort.slides[3:]), tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"splits": ("train", "tests")}])
def test_settings_refuse_negative_seeds_and_unknown_splits(wrong):
    with pytest.raises(ValidationError):
        TileSettings(**wrong)


def test_settings_refuse_what_cannot_be():
    for wrong in ({"mpp": 0}, {"patch_px": 10}, {"centre_px": 400}, {"stride_px": 0}, {"min_tissue": 2}, {"colour": 1}):
        with pytest.raises(ValidationError):
            TileSettings(**wrong)


def test_fault_29_leftovers_of_a_killed_writer_are_not_slides(cohort, copied):
    left = copied.path / ".ill.0123abcd.partial"
    shutil.copytree(copied.path / "ill", left)
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["ill", "well", "ill_2"]
    shutil.rmtree(copied.path / "ill")
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["well", "ill_2"]
    summary = tile(cohort, copied.path)
    assert [o.status for o in summary.outcomes] == ["done", "skipped", "skipped"]


def test_fault_23_stopped_at_any_patch_and_resumed_gives_the_same(cohort, tiled, tmp_path, monkeypatch):
    from gigaslide.patching import tile as tile_module

    class Killed(BaseException):
        pass

    expected = content_hash(tiled[0])
    patches = tile_module._patches
    for stop_after in (0, 1, 39, 40, 60, 130):
        left = [stop_after]

        def stopping(*args, left=left):
            for item in patches(*args):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                yield item

        monkeypatch.setattr(tile_module, "_patches", stopping)
        store = tmp_path / f"store {stop_after}"
        with pytest.raises(Killed):
            tile(cohort, store)
        monkeypatch.setattr(tile_module, "_patches", patches)
        tile(cohort, store)
        assert content_hash(PatchStore(store)) == expected
        assert not list(store.glob(".*"))
