"""Stores in a bucket: the same patches, one run at a time, a journal and tables that lie beside
them."""

import json
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
import tensorstore
from conftest import as_cohort, stained_slide, write_tiff
from gigaslide.batch import BatchSettings, open_run_folder, run_folder
from gigaslide.cli import main
from gigaslide.cohort import CohortSlide
from gigaslide.patching import (
    HardSettings,
    PatchStore,
    add_hard_negatives,
    tile_cohort,
    verify_store,
)
from gigaslide.storage import (
    LOCK,
    BucketLock,
    ClusterError,
    StoreError,
    bucket_lock,
    delete_file,
    read_files,
    write_file,
)
from gigaslide.storage.lock import Holder
from gigaslide.wsi import CLASSES
from test_patching_hard import write_heatmap
from tiling import SETTINGS, made_slide, tile

FEW = {"normal_per_slide": 3, "tumor_per_slide": 2}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(bucket_lock, "SETTLE_S", 0.05)


def test_store_in_a_bucket_is_written_read_and_verified(bucket, cohort, tmp_path, capfd):
    slide = made_slide(tmp_path, "ill.tif", seed=1, label="tumor", patient="p1", split="train")
    few = {"normal_per_slide": 6, "tumor_per_slide": 5}
    url = "s3://slides/stores/one"
    assert tile(as_cohort(slide), url, **few).exit_status == 0
    tile(as_cohort(slide), tmp_path / "local", **few)
    local, remote = PatchStore(tmp_path / "local"), PatchStore(url)
    assert [s.counts for s in remote.slides] == [s.counts for s in local.slides]
    for name in CLASSES:
        order = np.array([3, 0, -1, 3])
        assert np.array_equal(remote.read("ill", name, order), local.read("ill", name, order))
        assert np.array_equal(remote.windows("ill", name).xy, local.windows("ill", name).xy)
    assert not verify_store(remote).damaged
    assert {o.status for o in tile(as_cohort(slide), url, **few).outcomes} == {"skipped"}
    (changed,) = tile(as_cohort(slide), url, normal_per_slide=3, tumor_per_slide=5).outcomes
    assert "made again: settings.normal_per_slide: 6 → 3" in changed.reason
    assert PatchStore(url).slides[0].counts == {"normal": 3, "tumor": 5}
    assert main(["store", "info", url]) == 0
    assert "ill" in capfd.readouterr().out


def test_unfinished_group_in_a_bucket_is_no_slide_and_is_gone_on_with(bucket, tmp_path):
    from gigaslide.patching import blocks as blocks_module

    slide = made_slide(tmp_path, "ill.tif", seed=1, label="normal", patient="p1", split="train")
    url, few = "s3://slides/stores/two", {"normal_per_slide": 3}

    def killed(*_, **__):
        raise KeyboardInterrupt
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "read_pixels", killed)
        with pytest.raises(KeyboardInterrupt):
            tile(as_cohort(slide), url, **few)
    assert PatchStore(url).slides == ()
    assert tile(as_cohort(slide), url, **few).outcomes[0].counts["normal"] == 3
    assert len(PatchStore(url).slides) == 1


def lines(url: str) -> list[dict]:
    return [json.loads(line) for line in (read_files(url, ["run.jsonl"])[0] or b"").splitlines()]


def test_journal_and_tables_lie_in_the_bucket_and_failures_are_not_tried_again(bucket, tmp_path):
    url = "s3://slides/stores/three"
    good = made_slide(tmp_path, "good.tif", seed=1, label="normal", patient="p1", split="train")
    (tmp_path / "bad.tif").write_bytes(b"")
    bad = CohortSlide(
        id="bad", path=tmp_path / "bad.tif", label="normal", patient="p2", split="train"
    )
    both = as_cohort(good, bad)
    assert tile(both, url, **FEW).exit_status == 2
    summary, page, failures, lock = read_files(
        url, ["summary.csv", "run.html", "failures.txt", LOCK]
    )
    assert b"good,done" in (summary or b"")
    assert b"<h1>three</h1>" in (page or b"")
    assert b"Traceback" in (failures or b"")
    assert lock is None
    assert [line["event"] for line in lines(url)] == [
        "run",
        "plan",
        "block",
        "slide",
        "slide",
        "end",
    ]
    assert [o.status for o in tile(both, url, **FEW).outcomes] == ["skipped", "failed"]
    assert [line["slide"] for line in lines(url) if line["event"] == "slide"] == [
        "good",
        "bad",
        "good",
    ]
    write_tiff(tmp_path / "bad.tif", stained_slide(2))
    assert [o.status for o in tile(both, url, **FEW).outcomes] == ["skipped", "done"]
    assert read_files(url, ["failures.txt"]) == [None]


def test_fault_25_second_run_on_a_bucket_is_refused_with_the_firsts_name(bucket, tmp_path):
    url = "s3://slides/stores/four"
    slide = made_slide(tmp_path, "a.tif", seed=1, label="normal", patient="p1", split="train")
    with open_run_folder(url, BatchSettings()):
        content = json.loads(read_files(url, [LOCK])[0] or b"")
        with pytest.raises(
            ClusterError, match=rf"another run.*on {socket.gethostname()}, since .*--clear-lock"
        ):
            tile(as_cohort(slide), url, **FEW)
    assert read_files(url, [LOCK, "zarr.json"]) == [None, None]
    dead = {**content["holder"], "pid": 2**22 - 1, "process_started": 1.0}
    write_file(url, LOCK, json.dumps({**content, "holder": dead}).encode())
    assert (
        tile(as_cohort(slide), url, **FEW).exit_status == 0
    )  # of this machine it is known to be dead
    write_file(url, LOCK, json.dumps({**content, "holder": {**dead, "host": "node17"}}).encode())
    with pytest.raises(
        ClusterError, match=f"node17, since .*last heartbeat at {content['beat'][:10]}"
    ):
        tile(as_cohort(slide), url, **FEW)
    settings = BatchSettings(workers=0, clear_lock=True)
    assert (
        tile_cohort(as_cohort(slide), url, SETTINGS.model_copy(update=FEW), settings).exit_status
        == 0
    )


def test_fault_25_of_many_that_begin_together_one_holds_a_buckets_lock(bucket, monkeypatch):
    assert held_at_once("s3://slides/stores/five", monkeypatch) == 1


def test_fault_25_of_many_that_take_a_dead_runs_lock_over_one_holds_it(bucket, monkeypatch):
    """All look before any writes, which is where taking away and then making would let two in."""
    url = "s3://slides/stores/eight"
    dead = {**Holder.me().to_json(), "pid": 2**22 - 1, "process_started": 1.0}
    write_file(url, LOCK, json.dumps({"holder": dead, "beat": "long ago"}).encode())
    assert held_at_once(url, monkeypatch) == 1


def test_fault_25_who_is_said_to_be_dead_is_not_who_takes_the_lock_meanwhile(bucket, monkeypatch):
    url = "s3://slides/stores/nine"
    there = {**Holder.me().to_json(), "host": "node17"}
    write_file(url, LOCK, json.dumps({"holder": there, "beat": "long ago"}).encode())
    assert held_at_once(url, monkeypatch, clear=True) == 1


def held_at_once(url: str, monkeypatch: pytest.MonkeyPatch, *, clear: bool = False) -> int:
    """Six begin together, each after all have looked; how many of them hold the lock before any
    lets it go."""
    monkeypatch.setattr(
        bucket_lock, "SETTLE_S", 0.0
    )  # one step, not patience, keeps the others out
    looked, first, look = threading.Barrier(6), threading.local(), BucketLock._look
    held, ended, done = [], threading.Semaphore(0), threading.Event()

    def look_together(lock: BucketLock, **how):
        found = look(lock, **how)
        if not hasattr(first, "look"):
            first.look = found
            looked.wait(60)
        return found

    def begin() -> None:
        try:
            with BucketLock(url, clear=clear) as lock:
                held.append(lock)
                ended.release()
                done.wait(60)
        except ClusterError:
            ended.release()

    monkeypatch.setattr(BucketLock, "_look", look_together)
    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert all(ended.acquire(timeout=60) for _ in threads)
    done.set()
    for thread in threads:
        thread.join()
    assert read_files(url, [LOCK]) == [None]
    return len(held)


def test_run_whose_lock_in_a_bucket_was_taken_away_knows_and_leaves_what_is_the_others(bucket):
    url = "s3://slides/stores/six"
    with open_run_folder(url, BatchSettings()) as folder:
        assert isinstance(folder.lock, BucketLock)
        beat = folder.lock._beat
        folder.journal.write("ours")
        assert beat()
        assert not folder.lock.is_lost
        write_file(url, LOCK, b"{}")
        write_file(url, "run.jsonl", b"theirs")
        write_file(url, "summary.csv", b"theirs")
        (folder.path / "summary.csv").write_text("ours")
        assert not beat()
        assert folder.lock.is_lost
    # The lock is not ours to remove, nor the rest to write.
    assert read_files(url, [LOCK, "run.jsonl", "summary.csv"]) == [b"{}", b"theirs", b"theirs"]
    delete_file(url, LOCK)


def test_lock_that_goes_between_two_beats_is_seen_before_the_last_copy(bucket):
    url = "s3://slides/stores/ten"
    with open_run_folder(url, BatchSettings()) as folder:
        write_file(url, LOCK, b"{}")
        write_file(url, "run.jsonl", b"theirs")
        folder.journal.write("ours")
        assert not folder.lock.is_lost
    assert read_files(url, [LOCK, "run.jsonl"]) == [b"{}", b"theirs"]
    delete_file(url, LOCK)


def test_beat_that_is_refused_tells_of_the_loss_and_one_that_fails_is_not_the_last(
    bucket, monkeypatch, caplog
):
    url = "s3://slides/stores/eleven"
    with BucketLock(url) as lock:

        def failing() -> None:
            raise RuntimeError("no such thing")

        lock.on_beat = failing
        assert lock._beat()
        assert "heartbeat failed: no such thing" in caplog.text
        assert not lock.is_lost
        copies = []
        lock.on_beat = lambda: copies.append(1)
        assert lock._beat()
        assert copies == [1]
        write = BucketLock._write

        def others_first(lock: BucketLock, **how) -> bool:
            write_file(url, LOCK, b"{}")
            return write(lock, **how)

        monkeypatch.setattr(BucketLock, "_write", others_first)
        assert not lock._beat()
        assert lock.is_lost
        assert copies == [1]
    delete_file(url, LOCK)


def test_beats_come_by_themselves(bucket):
    beaten = threading.Semaphore(0)
    with BucketLock("s3://slides/stores/thirteen", beat_s=0.01) as lock:
        lock.on_beat = beaten.release
        assert all(beaten.acquire(timeout=60) for _ in range(2))
        assert not lock.is_lost


def test_fault_36_server_that_hangs_does_not_hold_up_the_end_of_a_run(bucket, monkeypatch, caplog):
    url, hangs = "s3://slides/stores/twelve", threading.Event()
    monkeypatch.setattr(run_folder, "STOPPED_S", 0.1)
    monkeypatch.setattr(run_folder, "_copy", lambda *_: hangs.wait(60))
    with pytest.raises(KeyboardInterrupt), open_run_folder(url, BatchSettings()):
        raise KeyboardInterrupt
    assert not hangs.is_set()
    assert "last copy of journal and tables took longer" in caplog.text
    hangs.set()
    lock = BucketLock(url)
    _promise, never = tensorstore.Promise.new()
    with pytest.raises(StoreError, match=r"does not answer: no answer within 0\.1 s"):
        lock._wait(never, timeout_s=0.1)


def test_bucket_that_cannot_be_copied_to_is_told_in_one_line(bucket, tmp_path, monkeypatch, caplog):
    (tmp_path / "summary.csv").write_text("")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "gopher://nowhere")
    run_folder._copy("s3://slides/stores/none", tmp_path, ["failures.txt"])
    assert "journal and tables cannot be copied" in caplog.text


def test_hard_negatives_in_a_bucket_are_those_of_a_folder(bucket, cohort, copied, tmp_path):
    url = "s3://slides/stores/seven"
    one = as_cohort(replace(cohort.slides[1]))
    write_heatmap(tmp_path / "predictions", "well")
    stores = []
    for place in (url, tmp_path / "folder"):
        tile(one, place, **FEW)
        hard = HardSettings(threshold=0.9, per_slide=4)
        summary = add_hard_negatives(
            one, place, tmp_path / "predictions", hard, BatchSettings(workers=0)
        )
        assert summary.outcomes[0].counts == {"normal": 4}
        stores.append(verify_store(PatchStore(place)))
    assert stores[0] == stores[1]
    assert stores[0].sha256
    assert [line["event"] for line in lines(url)].count("end") == 2
