"""Stores in a bucket: the same patches, one run at a time, a journal and tables that lie beside them."""

import json
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
import tensorstore
from conftest import as_cohort, stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.patching import CLASSES, HardSettings, PatchStore, add_hard_negatives, tile_cohort, verify_store
from gigaslide.patching import bucket as bucket_module
from gigaslide.patching.bucket import LOCK, BucketLock, store_run
from gigaslide.patching.place import kvstore, read_files, write_file
from gigaslide.wsi import ClusterError, CohortSlide
from test_patching_hard import write_heatmap
from tiling import SETTINGS, made_slide, tile

FEW = {"normal_per_slide": 3, "tumor_per_slide": 2}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(bucket_module, "SETTLE_S", 0.05)


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


def test_unfinished_group_in_a_bucket_is_no_slide_and_is_made_again(bucket, tmp_path):
    from gigaslide.patching import tile as tile_module

    slide = made_slide(tmp_path, "ill.tif", seed=1, label="normal", patient="p1", split="train")
    url, few = "s3://slides/stores/two", {"normal_per_slide": 3}

    def killed(*_, **__):
        raise KeyboardInterrupt
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tile_module, "read_pixels", killed)
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
    bad = CohortSlide(id="bad", path=tmp_path / "bad.tif", label="normal", patient="p2", split="train")
    both = as_cohort(good, bad)
    assert tile(both, url, **FEW).exit_status == 2
    summary, page, failures, lock = read_files(url, ["summary.csv", "run.html", "failures.txt", LOCK])
    assert b"good,done" in (summary or b"")
    assert b"<h1>three</h1>" in (page or b"")
    assert b"Traceback" in (failures or b"")
    assert lock is None
    assert [line["event"] for line in lines(url)] == ["run", "slide", "slide", "end"]
    assert [o.status for o in tile(both, url, **FEW).outcomes] == ["skipped", "failed"]
    assert [line["slide"] for line in lines(url) if line["event"] == "slide"] == ["good", "bad", "good"]
    write_tiff(tmp_path / "bad.tif", stained_slide(2))
    assert [o.status for o in tile(both, url, **FEW).outcomes] == ["skipped", "done"]
    assert read_files(url, ["failures.txt"]) == [None]


def test_fault_25_second_run_on_a_bucket_is_refused_with_the_firsts_name(bucket, tmp_path):
    url = "s3://slides/stores/four"
    slide = made_slide(tmp_path, "a.tif", seed=1, label="normal", patient="p1", split="train")
    with store_run(url, BatchSettings()):
        content = json.loads(read_files(url, [LOCK])[0] or b"")
        with pytest.raises(ClusterError, match=rf"another run.*on {socket.gethostname()}, since .*--clear-lock"):
            tile(as_cohort(slide), url, **FEW)
    assert read_files(url, [LOCK, "zarr.json"]) == [None, None]
    dead = {**content["holder"], "pid": 2**22 - 1, "process_started": 1.0}
    write_file(url, LOCK, json.dumps({**content, "holder": dead}).encode())
    assert tile(as_cohort(slide), url, **FEW).exit_status == 0  # of this machine it is known to be dead
    write_file(url, LOCK, json.dumps({**content, "holder": {**dead, "host": "node17"}}).encode())
    with pytest.raises(ClusterError, match=f"node17, since .*last heard of at {content['beat'][:10]}"):
        tile(as_cohort(slide), url, **FEW)
    settings = BatchSettings(workers=0, clear_lock=True)
    assert tile_cohort(as_cohort(slide), url, SETTINGS.model_copy(update=FEW), settings).exit_status == 0


def test_fault_25_of_many_that_begin_together_one_holds_a_buckets_lock(bucket):
    url, held, go = "s3://slides/stores/five", [], threading.Barrier(6)

    def begin() -> None:
        lock = BucketLock(url)
        go.wait()
        try:
            with lock:
                held.append(lock)
                done.wait(20)
        except ClusterError:
            refused.release()

    done, refused = threading.Event(), threading.Semaphore(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_module, "SETTLE_S", 1.0)
        threads = [threading.Thread(target=begin) for _ in range(6)]
        for thread in threads:
            thread.start()
        assert all(refused.acquire(timeout=20) for _ in range(5))
        done.set()
        for thread in threads:
            thread.join()
    assert len(held) == 1
    assert read_files(url, [LOCK]) == [None]


def test_run_whose_lock_in_a_bucket_was_taken_away_knows(bucket):
    url = "s3://slides/stores/six"
    with BucketLock(url, beat_s=0.02) as lock:
        beats = threading.Semaphore(0)
        lock.on_beat = beats.release
        assert beats.acquire(timeout=10)
        assert not lock.is_lost
        write_file(url, LOCK, b"{}")
        lock._thread.join(10)
        assert lock.is_lost
    assert read_files(url, [LOCK]) == [b"{}"]  # it is not ours to remove
    tensorstore.KvStore.open(kvstore(url)).result().write(LOCK, None).result()


def test_hard_negatives_in_a_bucket_are_those_of_a_folder(bucket, cohort, copied, tmp_path):
    url = "s3://slides/stores/seven"
    one = as_cohort(replace(cohort.slides[1]))
    write_heatmap(tmp_path / "predictions", "well")
    stores = []
    for place in (url, tmp_path / "folder"):
        tile(one, place, **FEW)
        hard = HardSettings(threshold=0.9, per_slide=4)
        summary = add_hard_negatives(one, place, tmp_path / "predictions", hard, BatchSettings(workers=0))
        assert summary.outcomes[0].counts == {"normal": 4}
        stores.append(verify_store(PatchStore(place)))
    assert stores[0] == stores[1]
    assert stores[0].sha256
    assert [line["event"] for line in lines(url)].count("end") == 2
