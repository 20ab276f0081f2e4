"""Slides that a stopped run began: gone on with where they may be, begun anew where not, and the
same afterwards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import as_cohort, stained_slide, write_tiff
from gigaslide.batch import BlockDriver, PendingBlocks, SlideOutcome
from gigaslide.patching import PatchStore, tile_slide, write
from gigaslide.patching import blocks as blocks_module
from gigaslide.patching.blocks import SlideToTile, TileBlocks
from gigaslide.patching.pixels import read_pixels
from gigaslide.patching.plan import plan_slide
from gigaslide.patching.quota import compute_quotas
from gigaslide.patching.slide_recipe import recipe_of
from gigaslide.storage import SlideError
from gigaslide.wsi import open_slide
from tiling import SETTINGS, SIDE, content_hash, made_slide, tile, write_group


def test_fault_23_stopped_at_any_patch_and_resumed_gives_the_same(
    cohort, tiled, tmp_path, monkeypatch
):
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
    """Its arrays say how their shards are compressed: shards of two kinds would be half
    unreadable."""
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


def test_fault_29_what_killed_writers_left_inside_slides_is_removed(
    cohort, tiled, copied, monkeypatch
):
    """By runs before, by workers of this run whose block another did, and by hard negatives cut
    off."""
    write_rows = blocks_module.write_rows

    def littering(place, planned, rows, pixels):
        written = write_rows(place, planned, rows, pixels)
        (place / "images/c/0/0/0/.0.89abcdef.partial").write_bytes(b"half")
        if place.name == stopped_in:
            raise KeyboardInterrupt
        return written

    monkeypatch.setattr(blocks_module, "write_rows", littering)
    shutil.rmtree(copied.path / "ill")
    (copied.path / "well/.hard-0123.89abcdef.partial/normal").mkdir(parents=True)
    stopped_in = "normal"
    with pytest.raises(KeyboardInterrupt):
        tile(cohort, copied.path)
    (half_done,) = copied.path.glob(".*")
    assert len(list(half_done.glob("whole/*/images/c/0/0/0/.*"))) == 2
    stopped_in = ""
    with monkeypatch.context() as patch:
        patch.setattr(blocks_module.TileBlocks, "output", stopping)
        with pytest.raises(KeyboardInterrupt):
            tile(cohort, copied.path)
    assert list(copied.path.rglob(".*")) == [half_done]
    assert list(half_done.glob("whole/tumor/images/c/0/0/0/0"))
    tile(cohort, copied.path)
    assert not list(copied.path.rglob(".*"))
    assert content_hash(PatchStore(copied.path)) == content_hash(tiled[0])


def stopping(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changed", "value"), [("SHARD_BYTES", 7), ("BLOCK_ROWS", 20), ("STACK_BYTES", 10)]
)
def test_a_slide_begun_in_other_blocks_is_begun_anew(
    cohort, tiled, tmp_path, monkeypatch, changed, value
):
    """Block 0 was rows 0 to 29 in shards of 10; its record must not stand for other rows."""
    one, write_rows = as_cohort(cohort.slides[0]), blocks_module.write_rows

    def stopped(place, planned, rows, pixels):
        if rows.start:
            raise KeyboardInterrupt
        return write_rows(place, planned, rows, pixels)

    monkeypatch.setattr(write, "SHARD_BYTES", 10 * SIDE * SIDE * 3)
    monkeypatch.setattr(write, "BLOCK_ROWS", 30)
    with monkeypatch.context() as patch:
        patch.setattr(blocks_module, "write_rows", stopped)
        with pytest.raises(KeyboardInterrupt):
            tile(one, tmp_path / "store")
    assert len(list((tmp_path / "store").glob(".*.partial/done/*"))) == 1
    monkeypatch.setattr(
        write, changed, value if changed == "BLOCK_ROWS" else value * SIDE * SIDE * 3
    )
    tile(one, tmp_path / "store")
    for name in ("tumor", "normal"):
        mine, whole = (
            zarr.open_array(store / "ill" / name / "images")[:]
            for store in (tmp_path / "store", tiled[0].path)
        )
        assert np.array_equal(mine, whole)
    journal = [json.loads(line) for line in (tmp_path / "store/run.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "block" and line["block"] == 0 for line in journal) == 2


@pytest.mark.slow
def test_fault_23_tiling_killed_at_changes_to_the_disk_and_resumed_gives_the_same(
    cohort, tiled, tmp_path
):
    cohort.save(tmp_path / "cohort.csv")
    command = [
        sys.executable,
        Path(__file__).with_name("tile_kills.py"),
        tmp_path / "cohort.csv",
        tmp_path,
        "61",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert len(rows) > 5
    assert {found for _, found, _ in rows} == {content_hash(tiled[0])}
    assert {left for *_, left in rows} == {"[]"}
    never_killed = tmp_path / rows[-1][0] / "run.jsonl"
    blocks_done = [line for line in never_killed.read_text().splitlines() if '"block"' in line]
    assert len(blocks_done) == sum(
        -(-count // 18) for count in (40, 50, 50, 40, 50)
    )  # three a class


def test_blocks_and_one_go_write_the_same_group(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "SHARD_BYTES", 3 * 83 * 83 * 7)
    monkeypatch.setattr(write, "BLOCK_ROWS", 16)
    slide = cohort.slides[0]
    tile(as_cohort(slide), tmp_path / "blocks")
    quota = compute_quotas([slide], SETTINGS)[slide.id]
    with open_slide(slide.path) as opened:
        chosen = plan_slide(opened, slide, SETTINGS, quota).chosen
        classes = {
            name: (rows, read_pixels(opened, rows, SETTINGS, group=f"{slide.id}/{name}"))
            for name, rows in chosen.items()
        }
        one = tmp_path / "one" / slide.id
        attributes = {"stain": {}, "slide_mpp": opened.info.mpp}
        counts = write_group(
            one, recipe_of(slide, SETTINGS, quota), classes, SETTINGS.arrays, attributes
        )
    files = [
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (tmp_path / "blocks" / slide.id, one)
    ]
    assert files[0] == files[1]
    assert len([name for name in files[0] if name.startswith("tumor/images/c/")]) == -(-40 // 7)
    blocks_done = [
        line
        for line in (tmp_path / "blocks/run.jsonl").read_text().splitlines()
        if '"block"' in line
    ]
    assert len(blocks_done) == -(-40 // 14) + -(-50 // 14)
    assert counts == {"normal": 50, "tumor": 40}


def pending(driver: BlockDriver[SlideToTile], item: SlideToTile) -> tuple[int, ...]:
    state = driver.prepare(item)
    assert isinstance(state, PendingBlocks)
    return state.pending


def test_fault_16_slide_replaced_while_it_is_tiled_fails_and_is_tiled_anew(tmp_path):
    slide = made_slide(tmp_path, "a.tif", seed=1, label="normal", split="train")
    driver = BlockDriver(TileBlocks(tmp_path / "store", SETTINGS))
    one = SlideToTile(slide=slide, quota=compute_quotas([slide], SETTINGS)[slide.id])
    for number in pending(driver, one):
        driver.block(one, number)
    write_tiff(slide.path, stained_slide(8))
    with pytest.raises(SlideError, match=r"a: changed .*inputs.slide"):
        driver.assemble(one)
    assert pending(driver, one)  # nothing of the old one is continued
    (outcome,) = tile(as_cohort(slide), tmp_path / "store").outcomes
    assert outcome.status == "done"


def test_slide_that_two_runs_finish_at_once_keeps_its_shards(cohort, tmp_path, monkeypatch):
    """A worker of a run that was thought dead is still at it when the next run's finishes the same
    slide."""
    well = cohort.slides[1]
    tile_slide(well, store=tmp_path / "alone", settings=SETTINGS)
    item = SlideToTile(slide=well, quota=compute_quotas([well], SETTINGS)[well.id])
    write_rest, others = blocks_module.write_rest, []

    def overtaken(place: Path, *args) -> None:
        if place.name == "normal" and not others:  # the last class
            others.append("on its way")
            found = BlockDriver(TileBlocks(tmp_path / "both", SETTINGS)).assemble(item)
            others[0] = found.status if isinstance(found, SlideOutcome) else "pending"
        write_rest(place, *args)

    monkeypatch.setattr(blocks_module, "write_rest", overtaken)
    assert tile_slide(well, store=tmp_path / "both", settings=SETTINGS).status == "done"
    assert others == ["done"]
    stores = (tmp_path / "alone", tmp_path / "both")
    alone, both = (
        {p.relative_to(s): p.read_bytes() for p in s.rglob("*") if p.is_file()} for s in stores
    )
    assert alone == both
