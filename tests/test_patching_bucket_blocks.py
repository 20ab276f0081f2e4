"""Tiling into a bucket in blocks: whatever ends it, the next run goes on to what a folder holds."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bucket import after, s3fs
from conftest import as_cohort
from gigaslide.batch import BatchSettings, BlockDriver, PendingBlocks, SlideOutcome
from gigaslide.cohort import CohortSlide
from gigaslide.patching import PatchStore, tile_cohort, tile_slide, verify_store, write
from gigaslide.patching.blocks import SlideToTile, TileBlocks
from gigaslide.patching.quota import compute_quotas
from gigaslide.storage import (
    Location,
    PartialOutput,
    StoreError,
    bucket_lock,
    delete_file,
    files,
    join_location,
    list_files,
    read_files,
    remove_leftovers,
    retry,
    write_file,
)
from gigaslide.storage.partial_output import BucketPartial
from slow_tiling import A_BLOCK, tile_slowly
from test_patching_bucket import lines
from tiling import SETTINGS, SIDE, made_slide, tile

FEW = {"normal_per_slide": 10, "tumor_per_slide": 8}
FEWER = SETTINGS.model_copy(update=FEW)
BLOCKS = 2 + 2  # of two shards of three rows


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_BYTES", 3 * SIDE * SIDE * 3)
        patch.setattr(write, "BLOCK_ROWS", 6)
        patch.setattr(bucket_lock, "SETTLE_S", 0.02)
        patch.setattr(
            files,
            "OBJECT_STORE_RETRIES",
            {"max_retries": 1, "initial_delay": "1ms", "max_delay": "2ms"},
        )
        patch.setattr(retry, "FIRST_PAUSE_S", 0.001)
        yield


@pytest.fixture(scope="module")
def slide(tmp_path_factory) -> CohortSlide:
    folder = tmp_path_factory.mktemp("slides")
    return made_slide(folder, "ill.tif", seed=1, label="tumor", patient="p1", split="train")


@pytest.fixture(scope="module")
def folder(slide, tmp_path_factory) -> Path:
    """The store as it is in a folder."""
    path = tmp_path_factory.mktemp("folder") / "store"
    assert tile(as_cohort(slide), path, **FEW).exit_status == 0
    return path


def described(name: str, slide: CohortSlide) -> str:
    """A store without patches."""
    url = f"s3://slides/blocks/{name}"
    row = {"label": slide.label, "patient": slide.patient, "split": slide.split}
    PatchStore.describe(url, settings=FEWER.model_dump(mode="json"), slides={slide.id: row})
    return url


def contents(store: Location) -> dict[str, str]:
    """MD5 of every file below a store's own, which is what S3 calls the ETag of what was sent in
    one go."""
    if isinstance(store, Path):
        files = (path for path in store.rglob("*") if path.is_file())
        found = {
            path.relative_to(store).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
            for path in files
        }
    else:
        prefix = store.removeprefix("s3://")
        listed = s3fs().find(prefix, detail=True)
        found = {
            name.removeprefix(f"{prefix}/"): listed[name]["ETag"].strip('"') for name in listed
        }
    return {name: tag for name, tag in found.items() if "/" in name}


def blocks_of(url: str) -> list[int]:
    """Those that were done by runs that ended."""
    return [line["block"] for line in lines(url) if line["event"] == "block"]


@pytest.mark.slow
def test_fault_23_stopped_at_changes_of_the_bucket_and_resumed_gives_what_a_folder_holds(
    bucket, requests, slide, folder
):
    changes, killed, half_done, shards = 0, True, set(), []
    while killed:
        url, killed = described(f"killed {changes}", slide), False
        requests(after(changes))
        try:
            tile_slide(slide, store=url, settings=FEWER)
        except StoreError:
            killed = True
        requests()
        records = BucketPartial(f"{url}/ill").records().values()
        done = {name for record in records for name in record.files}
        half_done.add(len(done))
        is_whole = read_files(url, ["ill/zarr.json"]) != [None]
        assert len(PatchStore(url).slides) == is_whole  # no reader sees half a group
        shards.clear()
        requests(
            lambda method, path: shards.append(path) if method == "PUT" and "/c/" in path else None
        )
        outcome = tile_slide(slide, store=url, settings=FEWER)
        assert outcome.status == ("skipped" if is_whole else "done")
        assert not [
            path for path in shards if path.partition("/ill/")[2] in done
        ]  # nothing done is done again
        remove_leftovers(url)  # as a run does when it begins
        assert contents(url) == contents(folder)
        changes += 15
    assert changes > 3 * 15
    assert len(half_done) > 2


def begun(slide: CohortSlide, store: Location) -> tuple[BlockDriver[SlideToTile], SlideToTile]:
    """A slide all of whose blocks are done."""
    driver = BlockDriver(TileBlocks(store, FEWER))
    item = SlideToTile(slide=slide, quota=compute_quotas([slide], FEWER)[slide.id])
    plan = driver.prepare(item)
    assert isinstance(plan, PendingBlocks)
    assert plan.pending == tuple(range(plan.blocks)) == tuple(range(BLOCKS))
    for number in plan.pending:
        driver.block(item, number)
    return driver, item


def test_a_block_is_done_while_its_shards_are_as_it_wrote_them_and_none_is_fetched_to_see(
    bucket, slide, folder
):
    url = described("records", slide)
    driver, item = begun(slide, url)
    images = join_location(url, "ill", "normal", "images")
    names = [f"c/{shard}/0/0/0" for shard in range(4)]
    shards = [content or b"" for content in read_files(images, names)]

    def pending() -> tuple[int, ...]:
        plan = driver.prepare(item)
        assert isinstance(plan, PendingBlocks)
        return plan.pending

    bucket.sent = 0
    assert pending() == ()
    assert bucket.sent < 8000 < min(map(len, shards))
    of_normal = [
        number
        for number, record in BucketPartial(f"{url}/ill").records().items()
        if "normal" in record.counts
    ]
    write_file(images, names[3], shards[3])
    assert pending() == ()
    write_file(images, names[3], shards[3][::-1])
    assert pending() == (of_normal[1],)
    delete_file(images, names[0])
    assert pending() == tuple(of_normal)
    write_file(f"{url}/.ill.partial/done", "000000.json", b'{"files": ')
    assert pending() == (0, *of_normal)
    tile(as_cohort(slide), url, **FEW)
    assert contents(url) == contents(folder)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_fault_23_finishing_that_was_cut_off_before_its_tidying_is_finished(
    bucket, slide, folder, tmp_path, monkeypatch, kind
):
    """By another worker of the same run, which asks for no plan again."""
    store = described("tidying", slide) if kind == "bucket" else tmp_path / "store"
    if kind == "folder":
        PatchStore.describe(
            store, **{k: PatchStore(folder).attributes[k] for k in ("settings", "slides")}
        )
    driver, item = begun(slide, store)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PartialOutput, "clean_up", killed)
        with pytest.raises(KeyboardInterrupt):
            driver.assemble(item)
    assert len(PatchStore(store).slides) == 1
    outcome = driver.assemble(item)
    assert isinstance(outcome, SlideOutcome)
    assert (outcome.status, outcome.counts) == ("done", {"tumor": 8, "normal": 10})
    assert contents(store) == contents(folder)


def test_a_slide_begun_by_another_recipe_is_begun_anew_in_a_bucket(bucket, slide, tmp_path):
    url = described("another recipe", slide)
    begun(slide, url)
    assert PatchStore(url).slides == ()
    other = {
        "normal_per_slide": 4,
        "tumor_per_slide": 5,
    }  # fewer shards: none of the first may stay
    for store in (url, tmp_path / "store"):
        (outcome,) = tile(as_cohort(slide), store, **other).outcomes
        assert (outcome.status, outcome.counts) == ("done", {"normal": 4, "tumor": 5})
    assert contents(url) == contents(tmp_path / "store")


def test_fault_29_leftovers_in_a_bucket_are_no_slides_and_are_removed(bucket, slide, folder):
    url = described("leftovers", slide)
    tile(as_cohort(slide), url, **FEW)
    for name in (
        ".ill.partial/rows/tumor",
        ".gone.partial/done/000001.json",
        ".half.partial/recipe.json",
    ):
        write_file(url, name, b"{}")
    assert [found.id for found in PatchStore(url).slides] == ["ill"]
    (outcome,) = tile(as_cohort(slide), url, **FEW).outcomes
    assert outcome.status == "skipped"
    assert list_files(url, prefix=".") == [
        ".half.partial/recipe.json"
    ]  # a later run of its cohort goes on with it


def test_fault_31_requests_that_fail_are_tried_again_and_at_last_told(
    bucket, requests, slide, folder
):
    def flaky(number: int) -> Callable[[str, str], str | None]:
        """The request of that number for this slide fails as often as TensorStore itself tries, and
        once more."""
        seen: list[tuple[str, str]] = []

        def refusal(method: str, path: str) -> str | None:
            if "ill" not in path:
                return None
            seen.append((method, path))
            is_it = (method, path) == next(iter(list(dict.fromkeys(seen))[number:]), None)
            return "503 Slow Down" if is_it and seen.count((method, path)) <= 3 else None

        return refusal

    tries = []
    for number in (16, 40):
        url = described(f"flaky {number}", slide)
        requests(flaky(number))
        (outcome,) = tile(as_cohort(slide), url, **FEW).outcomes
        assert outcome.status == "done"
        assert contents(url) == contents(folder)
        tries += [line["attempts"] for line in lines(url) if line["event"] == "block"]
    assert max(tries) == 2
    url = described("down", slide)
    requests(lambda method, path: "503 Slow Down" if method == "PUT" and "/c/2/" in path else None)
    (outcome,) = tile(as_cohort(slide), url, **FEW).outcomes
    assert outcome.status == "failed"
    assert "images/c/2/0/0/0: cannot be written: ABORTED" in outcome.reason
    assert outcome.reason.endswith("(3 times)")


def test_fault_26_a_bucket_that_takes_no_more_is_told_and_gone_on_with(
    bucket, requests, slide, folder
):
    url = described("full", slide)
    requests(
        lambda method, path: (
            "507 Insufficient Storage" if method == "PUT" and "/normal/images/c/3" in path else None
        )
    )
    (outcome,) = tile(as_cohort(slide), url, **FEW).outcomes
    assert outcome.status == "failed"
    assert "507" in outcome.reason
    assert PatchStore(url).slides == ()
    records = len(list_files(url, prefix=".ill.partial/done/"))
    assert records == len(blocks_of(url)) == BLOCKS - 1
    requests()
    settings = BatchSettings(workers=0, retry_failed=True)
    assert tile_cohort(as_cohort(slide), url, FEWER, settings).exit_status == 0
    assert len(blocks_of(url)) == BLOCKS
    assert contents(url) == contents(folder)


SLOW_BLOCKS = -(-40 // A_BLOCK) - (-50 // A_BLOCK)


@pytest.mark.slow
def test_two_workers_on_one_slide_into_a_bucket(bucket, slide, tmp_path):
    url, heard = "s3://slides/blocks/two workers", []
    summary = tile_slowly(
        as_cohort(slide), url, pause_s=0.5, workers=2, memory_gb=1.5, on_block=heard.append
    )
    assert summary.exit_status == 0
    assert len(summary.pace.workers) == 2
    assert sorted(blocks_of(url)) == list(range(SLOW_BLOCKS)) == list(range(len(heard)))
    assert {
        name: sum(made.get(name, 0) for made in heard) for name in ("tumor", "normal")
    } == summary.outcomes[0].counts
    tile_slowly(as_cohort(slide), tmp_path / "store", workers=0)
    assert contents(url) == contents(tmp_path / "store")
    assert verify_store(PatchStore(url)) == verify_store(PatchStore(tmp_path / "store"))


@pytest.mark.slow
def test_fault_23_tiling_into_a_bucket_that_is_killed_goes_on(bucket, slide, tmp_path):
    url = "s3://slides/blocks/sigkill"
    as_cohort(slide).save(tmp_path / "cohort.csv")
    script = Path(__file__).with_name("slow_tiling.py")
    process = subprocess.Popen([sys.executable, script, tmp_path / "cohort.csv", url, "0", "0.3"])
    deadline = time.monotonic() + 120
    while len(list_files(url, prefix=".ill.partial/done/")) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    records = len(list_files(url, prefix=".ill.partial/done/"))
    assert tile_slowly(as_cohort(slide), url, workers=0).exit_status == 0
    assert len(blocks_of(url)) == SLOW_BLOCKS - records < SLOW_BLOCKS - 2
    tile_slowly(as_cohort(slide), tmp_path / "store", workers=0)
    assert contents(url) == contents(tmp_path / "store")
