"""Tiling again: what is kept, what is made again and said."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import as_cohort, stained_slide, tile_place, write_tiff
from gigaslide.batch import BlockDriver, PendingBlocks
from gigaslide.batch.driver import close_kept_slide
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import PatchStore, write
from gigaslide.patching import blocks as blocks_module
from gigaslide.patching.blocks import SlideToTile, TileBlocks
from gigaslide.patching.quota import compute_quotas
from gigaslide.storage import PartialOutput, SettingsError, SlideError
from tiling import SETTINGS, SIDE, content_hash, made_slide, tile


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
    assert {s.id: s.counts["tumor"] for s in PatchStore(copied.path).slides} == {
        "ill": 7,
        "well": 0,
        "ill_2": 7,
    }


def test_changed_split_or_patient_alone_is_not_made_again(cohort, copied):
    moved = [
        replace(slide, split="validation", patient="q") if slide.id == "ill" else slide
        for slide in cohort
    ]
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


def test_partial_slide_stays_partial_when_it_is_unchanged(tmp_path):
    path = write_tiff(tmp_path / "a.tif", stained_slide(1), jpeg=True)
    offset, length = tile_place(path, 1 * 6 + 2)
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(bytes(length))
    slide = as_cohort(CohortSlide(id="a", path=path, label="normal", split="train"))
    first, second = (
        tile(slide, tmp_path / "store", normal_per_slide=2000, stride_px=32) for _ in range(2)
    )
    assert (first.exit_status, second.exit_status) == (2, 2)
    (before,), (after,) = first.outcomes, second.outcomes
    assert before.status == after.status == "partial"
    assert after.reason == f"unchanged; {before.reason}"
    assert after.counts == before.counts


@pytest.mark.parametrize(
    "lost", [{"path": Path("/not/mounted/ill.tif")}, {"annotation": Path("/not/mounted.xml")}]
)
def test_patches_of_a_slide_that_cannot_be_reached_now_stay(cohort, copied, lost):
    before = content_hash(PatchStore(copied.path))
    (outcome,) = tile(Cohort(slides=(replace(cohort.slides[0], **lost),)), copied.path).outcomes
    assert outcome.status == "failed"
    assert "/not/mounted" in outcome.reason
    assert "cannot be reached" in outcome.reason
    assert content_hash(PatchStore(copied.path)) == before


def test_slide_that_fails_to_be_made_again_has_no_group_and_its_old_one_is_kept_aside(tmp_path):
    store = tmp_path / "store"
    slides = [
        made_slide(tmp_path, f"{name}.tif", seed=1, label="normal", split="train") for name in "ab"
    ]
    tile(as_cohort(*slides), store, normal_per_slide=5)
    before, true = content_hash(PatchStore(store)), slides[0].path.read_bytes()
    stat = slides[0].path.stat()
    slides[0].path.write_bytes(b"II*\0")
    assert [o.status for o in tile(as_cohort(*slides), store, normal_per_slide=5).outcomes] == [
        "failed",
        "skipped",
    ]
    assert [path.name for path in store.rglob(".*")] == [".a.previous"]
    assert sorted(path.name for path in store.iterdir() if path.is_dir()) == [".a.previous", "b"]
    slides[0].path.write_bytes(true)
    os.utime(slides[0].path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    outcomes = tile(as_cohort(*slides), store, normal_per_slide=5).outcomes
    assert [o.status for o in outcomes] == ["skipped", "skipped"]
    assert content_hash(PatchStore(store)) == before
    assert not list(store.rglob(".*"))


def test_old_group_is_kept_until_its_replacement_is_whole(cohort, copied, monkeypatch):
    one, before = as_cohort(cohort.slides[0]), files_in(copied.path / "ill")

    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(blocks_module, "write_rest", stopping)
        with pytest.raises(KeyboardInterrupt):
            tile(one, copied.path, tumor_per_slide=7)
    assert files_in(copied.path / ".ill.previous") == before
    assert not (copied.path / "ill").exists()
    (outcome,) = tile(one, copied.path, tumor_per_slide=7).outcomes
    assert "settings.tumor_per_slide: 40 → 7" in outcome.reason  # also after the interruption
    assert not list(copied.path.rglob(".*"))


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_settings_that_a_slide_cannot_be_tiled_with_cost_no_patches(cohort, copied, caplog):
    before = content_hash(copied)
    summary = tile(cohort, copied.path, mpp=0.25)  # the slides hold 0.5
    assert {o.status for o in summary.outcomes} == {"failed"}
    assert (
        "3 slides are tiled again because the settings changed: settings.mpp: 0.5 → 0.25"
        in caplog.text
    )
    assert {o.status for o in tile(cohort, copied.path).outcomes} == {"skipped"}
    assert content_hash(PatchStore(copied.path)) == before


def test_fault_14_another_slide_of_a_name_that_the_store_holds_is_refused(tmp_path):
    store = tmp_path / "store"
    rows = [
        made_slide(tmp_path / folder, "s.tif", seed=seed, label="normal", split="train")
        for folder, seed in (("a", 1), ("b", 2))
    ]
    tile(Cohort(slides=(rows[0],)), store, normal_per_slide=5)
    before = content_hash(PatchStore(store))
    rows[1].path.write_bytes(rows[1].path.read_bytes() + b"\0")
    with pytest.raises(
        SettingsError,
        match=r"s is there .*a/s\.tif.*b/s\.tif",
    ):
        tile(Cohort(slides=(rows[1],)), store, normal_per_slide=5)
    assert content_hash(PatchStore(store)) == before
    shutil.copytree(store, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "s")  # as one does who wants it, or where it failed
    assert tile(Cohort(slides=(rows[1],)), tmp_path / "other", normal_per_slide=5).exit_status == 0
    rows[0].path.rename(tmp_path / "moved.tif")  # what is elsewhere now is the same slide still
    moved = replace(rows[0], path=tmp_path / "moved.tif")
    assert tile(Cohort(slides=(moved,)), store, normal_per_slide=5).exit_status == 0


def test_slide_that_has_another_name_in_the_cohort_now_is_listed_by_that_one_only(tmp_path):
    store, slide = (
        tmp_path / "store",
        made_slide(tmp_path, "s.tif", seed=1, label="normal", split="train"),
    )
    tile(Cohort(slides=(slide,)), store, normal_per_slide=5)
    renamed = replace(slide, id="s-1234", split="validation")
    tile(Cohort(slides=(renamed,)), store, normal_per_slide=5)
    assert [(s.id, s.split) for s in PatchStore(store).slides] == [("s-1234", "validation")]


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
    mine = {
        "zarr.json": json.dumps(
            {"zarr_format": 3, "node_type": "group", "attributes": {"by": "me"}}
        ),
        "b.txt": "",
    }
    for slide, name in zip(("ill", "well"), mine, strict=True):
        (store / slide).mkdir(parents=True)
        (store / slide / name).write_text(mine[name])
    summary = tile(cohort, store, normal_per_slide=2, tumor_per_slide=2)
    assert [o.status for o in summary.outcomes] == ["failed", "failed", "done"]
    for outcome in summary.outcomes[:2]:
        assert f"{store / outcome.slide}: exists already" in outcome.reason
    assert (store / "ill" / "zarr.json").read_text() == mine["zarr.json"]
    assert (store / "well" / "b.txt").exists()
    (store / "zarr.json").write_text(mine["zarr.json"])
    with pytest.raises(SettingsError, match=r"zarr\.json"):
        tile(cohort, store)
    assert (store / "zarr.json").read_text() == mine["zarr.json"]


def test_group_that_a_kill_had_moved_aside_is_found_again(cohort, copied):
    (copied.path / "ill").rename(copied.path / ".ill.0123abcd.old")
    assert {o.status for o in tile(cohort, copied.path).outcomes} == {"skipped"}
    assert not list(copied.path.rglob(".*"))


def test_fault_29_leftovers_of_a_killed_writer_are_not_slides(cohort, copied):
    left = copied.path / ".ill.0123abcd.partial"
    shutil.copytree(copied.path / "ill", left)
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["ill", "well", "ill_2"]
    shutil.rmtree(copied.path / "ill")
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["well", "ill_2"]
    summary = tile(cohort, copied.path)
    assert [o.status for o in summary.outcomes] == ["done", "skipped", "skipped"]


def test_a_block_of_another_run_that_a_worker_still_does_is_not_taken(cohort, tmp_path):
    slide = cohort.slides[0]
    old, new = (
        BlockDriver(TileBlocks(tmp_path / "store", SETTINGS.model_copy(update={"seed": seed})))
        for seed in (1, 2)
    )
    item = SlideToTile(slide=slide, quota=compute_quotas([slide], SETTINGS)[slide.id])
    with ThreadPoolExecutor(1) as other:  # a thread keeps its plan and its slide, as a process does
        other.submit(old.prepare, item).result()
        other.submit(old.block, item, 0).result()
        plan = new.prepare(item)
        assert isinstance(plan, PendingBlocks)
        assert plan.pending == tuple(range(plan.blocks))
        for number in (1, 0):  # with the plan in its memory, and without
            with pytest.raises(SlideError, match=r"ill: changed .*settings\.seed: 2 → 1"):
                other.submit(old.block, item, number).result()
        other.submit(close_kept_slide).result()
    assert new.prepare(item) == plan  # no record of it
    close_kept_slide()


def test_a_process_opens_a_slide_once_for_all_its_blocks_and_reads_its_plan_once(
    cohort, tmp_path, monkeypatch
):
    opened, plans = [], []
    load_plan, open_slide = PartialOutput.load_plan, blocks_module.open_slide
    monkeypatch.setattr(
        blocks_module, "open_slide", lambda *a, **k: opened.append(a[0]) or open_slide(*a, **k)
    )
    monkeypatch.setattr(PartialOutput, "load_plan", lambda p: plans.append(p) or load_plan(p))
    monkeypatch.setattr(write, "SHARD_BYTES", 3 * SIDE * SIDE * 5)
    monkeypatch.setattr(write, "BLOCK_ROWS", 10)
    assert tile(as_cohort(*cohort.slides[:2]), tmp_path / "store").exit_status == 0
    assert opened == [slide.path for slide in cohort.slides[:2]]
    assert plans == []  # it made the plans itself
