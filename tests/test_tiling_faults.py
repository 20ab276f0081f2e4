"""Whatever ends a tiling half-way, the same command goes on to the same store: its content's hash
says so."""

import itertools
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dask.distributed import Client, LocalCluster
from distributed.chaos import KillWorker
from gigaslide.batch import BatchSummary
from gigaslide.cohort import Cohort
from gigaslide.patching import PatchStore, verify_store
from gigaslide.storage import ClusterError, StoreError
from schedulers import dask, heard, scheduler
from slow_tiling import A_BLOCK, tile_slowly
from sums import COLUMNS, contents, expected, run
from test_batch_blocks import journal
from tiling import content_hash

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
BLOCKS = sum(
    -(-count // A_BLOCK) for count in (40, 50, 50, 40, 50)
)  # of the five classes that have patches


@pytest.fixture(scope="module")
def true_hash(tiled) -> str:
    return content_hash(tiled[0])


def resumed(cohort: Cohort, store: Path) -> BatchSummary:
    """Go on to the end, here."""
    summary = tile_slowly(cohort, store, workers=0)
    assert not list(store.rglob(".*"))
    return summary


def test_fault_26_tiling_on_a_full_disk_stops_and_goes_on_when_there_is_room(
    cohort, true_hash, tmp_path
):
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=False
        ).returncode
    ):
        pytest.skip("no small tmpfs can be mounted here")
    try:
        store, done = small / "store", []
        for filling in (3_500_000, 2_500_000, 1_000_000):
            (small / "other").write_bytes(bytes(filling))
            with pytest.raises(
                StoreError, match=r"disk is full .*No space left.*run the same command again"
            ):
                tile_slowly(cohort, store, workers=0)
            done.append(len(journal(store, "block")))
            assert all(slide.counts for slide in PatchStore(store).slides)
        (small / "other").unlink()
        subprocess.run(["mount", "-o", "remount,size=60m", small], check=True)
        assert resumed(cohort, store).exit_status == 0
        assert content_hash(PatchStore(store)) == true_hash
        assert not verify_store(PatchStore(store)).damaged
        assert done[0] < done[-1] < BLOCKS
        assert (
            len(journal(store, "block")) == BLOCKS
        )  # nothing was done twice, nothing half done was taken for done
    finally:
        subprocess.run(["umount", small], check=True)


def test_fault_31_errors_that_tensorstore_tells_in_words_are_tried_again(
    cohort, true_hash, tmp_path, monkeypatch
):
    from gigaslide.patching import blocks
    from gigaslide.storage import retry, wait_for

    class Failing:
        def result(self, timeout: float | None = None) -> None:
            raise ValueError("INTERNAL: Failed writing: Input/output error [os_error_code='5']")

    calls, write_rows = itertools.count(), blocks.write_rows

    def failing(*args) -> tuple[list[int], dict]:
        if next(calls) in (1, 4, 5):  # the last two are two tries of one block
            wait_for(Failing(), "a shard")
        return write_rows(*args)

    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(blocks, "write_rows", failing)
    store = tmp_path / "store"
    assert resumed(cohort, store).exit_status == 0
    assert content_hash(PatchStore(store)) == true_hash
    assert sorted(line["attempts"] for line in journal(store, "block"))[-3:] == [1, 2, 3]


def started(cohort: Cohort, folder: Path) -> tuple[subprocess.Popen, Path]:
    """A tiling by two workers that has done three blocks, in a session of its own, and its
    store."""
    cohort.save(folder / "cohort.csv")
    store = folder / "store"
    command = [
        sys.executable,
        TESTS / "slow_tiling.py",
        folder / "cohort.csv",
        store,
        "2",
        "1.5",
    ]  # 15 s of work are left
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while not ((store / "run.jsonl").exists() and len(journal(store, "block")) >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, store


def goes_on(cohort: Cohort, store: Path, true_hash: str) -> None:
    """Go on to the end here: exactly what is not on disk is done again, and some was left to do."""
    before = len(journal(store, "block"))
    on_disk = len(list(store.glob(".*.partial/done/*[0-9].json")))
    for slide in PatchStore(store).slides:
        on_disk += sum(-(-count // A_BLOCK) for count in slide.counts.values())
    assert resumed(cohort, store).exit_status == 0
    assert content_hash(PatchStore(store)) == true_hash
    again = len(journal(store, "block")) - before
    assert 3 <= before <= on_disk < BLOCKS
    assert again == BLOCKS - on_disk


def test_fault_36_tiling_that_is_told_to_stop_does_and_goes_on(cohort, true_hash, tmp_path):
    process, store = started(cohort, tmp_path)
    told = datetime.now(UTC)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM  # the cluster is closed too
    (stopped,) = journal(store, "stopped")
    assert "SIGTERM" in stopped["reason"]
    assert (datetime.fromisoformat(stopped["time"]) - told).total_seconds() < 30
    goes_on(cohort, store, true_hash)


def test_fault_23_tiling_and_its_workers_killed_together_goes_on(cohort, true_hash, tmp_path):
    process, store = started(cohort, tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    goes_on(cohort, store, true_hash)  # the lock of a dead process on this machine is taken over


async def doom(dask_worker) -> None:
    """Dask's own chaos for a worker that works already: it dies of a segmentation fault after half
    a second or so."""
    await KillWorker(delay="500 ms", mode="segfault").setup(dask_worker)


def test_fault_32_workers_killed_at_random_while_tiling(cohort, true_hash, tmp_path):
    store, blocks = tmp_path / "store", itertools.count()
    local = LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with local as cluster, Client(cluster, set_as_default=False) as client:

        def hear(_: dict[str, int]) -> None:
            if next(blocks) in (1, 9):  # those that a nanny brings are met the second time
                client.run(doom, on_error="ignore")

        where = cluster.scheduler_address
        summary = tile_slowly(
            cohort, store, pause_s=0.3, scheduler=where, max_attempts=20, on_block=hear
        )
    assert summary.exit_status == 0
    assert len(summary.pace.workers) > 2  # new ones came for those that died
    assert content_hash(PatchStore(store)) == true_hash
    done = [(line["slide"], line["block"]) for line in journal(store, "block")]
    assert len(done) == len(set(done)) == BLOCKS  # no block was taken twice
    assert len(journal(store, "lost")) <= BLOCKS / 2  # what is done again is a small part


def test_fault_33_tiling_whose_tls_scheduler_dies_goes_on(
    cohort, true_hash, tmp_path, certificates
):
    settings = {
        "tls_ca_file": certificates["--tls-ca-file"],
        "tls_cert_file": certificates["--tls-cert"],
        "tls_key_file": certificates["--tls-key"],
    }
    words = [word for pair in certificates.items() for word in pair]
    process, address = scheduler("--protocol", "tls", *words)
    worker = dask(
        "worker", address, "--nthreads", "1", "--death-timeout", "60", "--no-dashboard", *words
    )
    try:
        heard(worker, "Registered to")
        summary = run(tmp_path / "sums", COLUMNS, scheduler=address, **settings)
        assert contents(tmp_path / "sums") == expected(COLUMNS)
        assert {name.split("://")[0] for name in summary.pace.workers} == {"tls"}
        store = tmp_path / "store"
        done = []

        def kill(counts: dict[str, int]) -> None:
            done.append(counts)
            if len(done) == 2:
                process.kill()

        with pytest.raises(ClusterError, match=r"no scheduler for 3 s|gone"):
            tile_slowly(
                cohort,
                store,
                pause_s=0.1,
                scheduler=address,
                worker_timeout_s=3,
                on_block=kill,
                **settings,
            )
    finally:
        for child in (process, worker):
            child.kill()
            child.communicate()
    assert 2 <= len(journal(store, "block")) < BLOCKS
    assert resumed(cohort, store).exit_status == 0
    assert content_hash(PatchStore(store)) == true_hash
