"""Tiling again: what is kept, what is made again and said, and what a stopped run leaves."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import as_cohort, stained_slide, tile_place, write_tiff
from gigaslide.patching import PatchStore
from gigaslide.wsi import Cohort, CohortSlide, SettingsError, SlideError
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


def test_slide_that_fails_to_be_made_again_leaves_no_group_of_the_old_recipe(cohort, copied):
    gone = replace(cohort.slides[1], path=copied.path / "gone.tif")
    (outcome,) = tile(Cohort(slides=(gone,)), copied.path).outcomes
    assert outcome.status == "failed"
    assert not (copied.path / "well").exists()
    assert not list(copied.path.rglob(".*"))
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
    assert not list(copied.path.rglob(".*"))


def test_fault_29_leftovers_of_a_killed_writer_are_not_slides(cohort, copied):
    left = copied.path / ".ill.0123abcd.partial"
    shutil.copytree(copied.path / "ill", left)
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["ill", "well", "ill_2"]
    shutil.rmtree(copied.path / "ill")
    assert [slide.id for slide in PatchStore(copied.path).slides] == ["well", "ill_2"]
    summary = tile(cohort, copied.path)
    assert [o.status for o in summary.outcomes] == ["done", "skipped", "skipped"]


def test_fault_23_stopped_at_any_patch_and_resumed_gives_the_same(cohort, tiled, tmp_path, monkeypatch):
    from gigaslide.patching import blocks as blocks_module

    class Killed(BaseException):
        pass

    expected = content_hash(tiled[0])
    patches = blocks_module.read_pixels
    for stop_after in (0, 1, 39, 40, 60, 130):
        left = [stop_after]

        def stopping(*args, left=left, **options):
            for item in patches(*args, **options):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                yield item

        monkeypatch.setattr(blocks_module, "read_pixels", stopping)
        store = tmp_path / f"store {stop_after}"
        with pytest.raises(Killed):
            tile(cohort, store)
        monkeypatch.setattr(blocks_module, "read_pixels", patches)
        tile(cohort, store)
        assert content_hash(PatchStore(store)) == expected
        assert not list(store.rglob(".*"))


def test_a_slide_begun_with_another_codec_is_begun_anew(cohort, tiled, tmp_path, monkeypatch):
    """Its arrays say how their shards are compressed: shards of two kinds would be half unreadable."""
    from gigaslide.patching import blocks as blocks_module
    from gigaslide.patching.shard import BLOSC

    def stopping(*args, **options):
        if options["group"].endswith("/normal"):
            raise KeyboardInterrupt
        yield from patches(*args, **options)

    patches = blocks_module.read_pixels
    with monkeypatch.context() as patch:
        patch.setitem(BLOSC, "cname", "zstd")
        patch.setattr(blocks_module, "read_pixels", stopping)
        with pytest.raises(KeyboardInterrupt):
            tile(cohort, tmp_path / "store")
    (begun,) = (tmp_path / "store").glob(".*.partial/whole/tumor/images")
    assert '"zstd"' in (begun / "zarr.json").read_text()
    assert list(begun.glob("c/0/0/0/0"))
    tile(cohort, tmp_path / "store")
    assert content_hash(PatchStore(tmp_path / "store")) == content_hash(tiled[0])


def test_fault_29_what_killed_writers_left_inside_slides_is_removed(cohort, tiled, copied, monkeypatch):
    """By runs before, by workers of this run whose block another did, and by hard negatives cut off."""
    from gigaslide.patching import blocks as blocks_module

    write_stack = blocks_module.write_stack

    def littering(place, planned, rows, pixels):
        readable = write_stack(place, planned, rows, pixels)
        (place / "images/c/0/0/0/.0.89abcdef.partial").write_bytes(b"half")
        if place.name == stopped_in:
            raise KeyboardInterrupt
        return readable

    monkeypatch.setattr(blocks_module, "write_stack", littering)
    shutil.rmtree(copied.path / "ill")
    (copied.path / "well/.hard-0123.89abcdef.partial/normal").mkdir(parents=True)
    stopped_in = "normal"
    with pytest.raises(KeyboardInterrupt):
        tile(cohort, copied.path)
    (half_done,) = copied.path.glob(".*")
    assert len(list(half_done.glob("whole/*/images/c/0/0/0/.*"))) == 2
    stopped_in = ""
    with monkeypatch.context() as patch:
        patch.setattr(blocks_module.TileBlocks, "plan", stopping)
        with pytest.raises(KeyboardInterrupt):
            tile(cohort, copied.path)
    assert list(copied.path.rglob(".*")) == [half_done]
    assert list(half_done.glob("whole/tumor/images/c/0/0/0/0"))
    tile(cohort, copied.path)
    assert not list(copied.path.rglob(".*"))
    assert content_hash(PatchStore(copied.path)) == content_hash(tiled[0])


def stopping(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("changed", "value"), [("SHARD_BYTES", 7), ("ROWS_AT_ONCE", 20), ("STACK_BYTES", 10)])
def test_a_slide_begun_in_other_blocks_is_begun_anew(cohort, tiled, tmp_path, monkeypatch, changed, value):
    """Block 0 was rows 0 to 29 in shards of 10; its receipt must not stand for other rows."""
    from gigaslide.patching import blocks as blocks_module
    from gigaslide.patching import write

    one, write_stack = as_cohort(cohort.slides[0]), blocks_module.write_stack

    def stopped(place, planned, rows, pixels):
        if rows.start:
            raise KeyboardInterrupt
        return write_stack(place, planned, rows, pixels)

    monkeypatch.setattr(write, "SHARD_BYTES", 10 * SIDE * SIDE * 3)
    monkeypatch.setattr(write, "ROWS_AT_ONCE", 30)
    with monkeypatch.context() as patch:
        patch.setattr(blocks_module, "write_stack", stopped)
        with pytest.raises(KeyboardInterrupt):
            tile(one, tmp_path / "store")
    assert len(list((tmp_path / "store").glob(".*.partial/done/*"))) == 1
    monkeypatch.setattr(write, changed, value if changed == "ROWS_AT_ONCE" else value * SIDE * SIDE * 3)
    tile(one, tmp_path / "store")
    for name in ("tumor", "normal"):
        mine, whole = (
            zarr.open_array(store / "ill" / name / "images")[:] for store in (tmp_path / "store", tiled[0].path)
        )
        assert np.array_equal(mine, whole)
    journal = [json.loads(line) for line in (tmp_path / "store/run.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "block" and line["block"] == 0 for line in journal) == 2


@pytest.mark.slow
def test_fault_23_tiling_killed_at_changes_to_the_disk_and_resumed_gives_the_same(cohort, tiled, tmp_path):
    cohort.save(tmp_path / "cohort.csv")
    command = [sys.executable, Path(__file__).with_name("tile_kills.py"), tmp_path / "cohort.csv", tmp_path, "61"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert len(rows) > 5
    assert {found for _, found, _ in rows} == {content_hash(tiled[0])}
    assert {left for *_, left in rows} == {"[]"}
    never_killed = tmp_path / rows[-1][0] / "run.jsonl"
    blocks_done = [line for line in never_killed.read_text().splitlines() if '"block"' in line]
    assert len(blocks_done) == sum(-(-count // 18) for count in (40, 50, 50, 40, 50))  # three a class


def test_blocks_and_one_go_write_the_same_group(cohort, tmp_path, monkeypatch):
    from gigaslide.patching import tile_slide, write

    monkeypatch.setattr(write, "SHARD_BYTES", 3 * 83 * 83 * 7)
    monkeypatch.setattr(write, "ROWS_AT_ONCE", 16)
    slide = cohort.slides[0]
    tile(as_cohort(slide), tmp_path / "blocks")
    in_one_go = tile_slide(slide, store=tmp_path / "one", settings=SETTINGS)
    files = [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "blocks" / slide.id, tmp_path / "one" / slide.id)
    ]
    assert files[0] == files[1]
    assert len([name for name in files[0] if name.startswith("tumor/images/c/")]) == -(-40 // 7)
    blocks_done = [line for line in (tmp_path / "blocks/run.jsonl").read_text().splitlines() if '"block"' in line]
    assert len(blocks_done) == -(-40 // 14) + -(-50 // 14)
    assert in_one_go.counts == {"normal": 50, "tumor": 40}


def test_fault_16_slide_replaced_while_it_is_tiled_fails_and_is_tiled_anew(tmp_path):
    from gigaslide.patching.blocks import SlideWork, TileBlocks
    from gigaslide.patching.quota import Quota

    slide = made_slide(tmp_path, "a.tif", seed=1, label="normal", split="train")
    work, one = TileBlocks(tmp_path / "store", SETTINGS), SlideWork(slide=slide, quota=Quota(tumor=0, normal=50))
    plan = work.plan(one)
    for number in plan.pending:
        work.block(one, number)
    write_tiff(slide.path, stained_slide(8))
    with pytest.raises(SlideError, match=r"changed while it was tiled .*inputs.slide"):
        work.finish(one)
    assert work.plan(one).pending  # nothing of the old one is gone on with
    (outcome,) = tile(as_cohort(slide), tmp_path / "store").outcomes
    assert outcome.status == "done"
