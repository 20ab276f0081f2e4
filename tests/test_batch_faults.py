"""Workers that die or hang, disks that fail, schedulers that go, signals: the run ends in time, and
goes on later."""

import errno
import itertools
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from distributed import worker_memory
from gigaslide.batch import BatchSettings, open_run_folder, run_blocks
from gigaslide.batch.cluster import clients
from gigaslide.storage import BlockRecord, StoreError, atomic, retry
from sums import COLUMNS, Column, Sums, contents, expected, run
from test_batch_blocks import SCRIPT, journal

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent


def test_faults_7_32_34_dead_and_hanging_workers_cost_their_slides_only(tmp_path, capfd):
    """A block that kills every worker it meets, one that hangs, and one that kills once."""
    good = [Column("good", 60), Column("dies once", 20, "die once")]
    bad = [Column("killer", 40, "die"), Column("hangs", 20, "hang")]
    summary = run(tmp_path, [*bad, *good], workers=2, task_timeout_s=4, max_attempts=2)
    reasons = {o.slide: o.reason for o in summary.outcomes if o.status == "failed"}
    assert reasons.keys() == {"killer", "hangs"}
    assert re.search(r"2 attempts.*block 1.*worker died", reasons["killer"])
    assert re.search(r"2 attempts.*block 1.*longer than 4 s", reasons["hangs"])
    kept = {
        name: data
        for name, data in contents(tmp_path).items()
        if not name.startswith(("killer", "hangs/"))
    }
    assert kept == expected(good)
    met = {c.id: len(list((tmp_path / "marks").glob(f"{c.id}.*"))) for c in [*good, *bad]}
    assert met == {"good": 0, "dies once": 2, "killer": 2, "hangs": 2}
    assert "in befall" in capfd.readouterr().err  # the watch tells where the hanging ones stood
    # Two for each of the bad, one for the one that dies once.
    assert len(journal(tmp_path, "lost")) >= 5


def test_fault_35_worker_over_its_memory_limit_is_killed_and_its_slide_set_aside(
    tmp_path, monkeypatch
):
    """Of 1 GB; the block would take 1.6 GB and then the whole day."""
    bad, good = Column("eats", 12, "eat"), Column("good", 30)
    told: list[str] = []
    monkeypatch.setattr(worker_memory.nanny_logger, "warning", told.append)
    summary = run(tmp_path, [bad, good], workers=1, memory_gb=1.0, max_attempts=2)
    (failed,) = summary.of_status("failed")
    assert failed.slide == "eats"
    assert re.search(r"2 attempts.*block 1.*worker died", failed.reason)
    assert "took longer" not in failed.reason
    assert sum("memory budget" in words for words in told) >= 2  # no other death is told so
    kept = {name: data for name, data in contents(tmp_path).items() if not name.startswith("eats")}
    assert kept == expected([good])


def test_worker_that_leaves_for_good_is_replaced(tmp_path, monkeypatch):
    """Its nanny takes the leaving for an orderly end and brings no other."""
    monkeypatch.setitem(clients.OPTIONS, "distributed.deploy.lost-worker-timeout", "1s")
    one = [Column("leaves", 30, "leave once")]
    summary = run(tmp_path, one, workers=1, worker_timeout_s=60)
    assert summary.exit_status == 0
    assert len(summary.pace.workers) == 2
    assert contents(tmp_path) == expected(one)


def test_fault_31_any_one_io_error_is_got_over_and_a_lasting_one_told(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    true_fsync, columns = os.fsync, COLUMNS[:2]
    calls = itertools.count()

    def failing(number: int) -> None:
        in_task = any(frame.name == "run_task" for frame in traceback.extract_stack())
        if in_task and next(calls) in fail:
            raise OSError(errno.EIO, "Input/output error")
        true_fsync(number)

    def summary_of(name: str):
        with open_run_folder(tmp_path / name, BatchSettings()) as folder:
            return run_blocks(Sums(folder.path), columns, BatchSettings(workers=0), folder=folder)

    monkeypatch.setattr(os, "fsync", failing)
    fail, n = {0}, 0
    while True:
        calls = itertools.count()
        assert summary_of(str(n)).exit_status == 0
        assert contents(tmp_path / str(n)) == expected(columns)
        if next(calls) <= n:
            break
        n += 1
        fail = {n}
    assert n > 10
    calls, fail = itertools.count(), range(10**6)
    summary = summary_of("lasting")
    assert [o.reason for o in summary.outcomes] == [
        "OSError: [Errno 5] Input/output error (3 times)"
    ] * 2


def test_fault_31_what_never_reaches_the_disk_fails_its_slide_and_is_made_anew_later(
    tmp_path, monkeypatch
):
    """A disk tells once of a write that failed: the block of that file is done again, not only the
    asking."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    refused: list[str] = []

    def refusing(path: Path) -> None:
        if path.parent.name == "c" and path.name not in refused[-1:]:
            refused.append(path.name)
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync_file", refusing)
        summary = run(tmp_path, COLUMNS[:1])
    assert [o.reason for o in summary.outcomes] == ["written files did not last (3 times)"]
    assert [line["block"] for line in journal(tmp_path, "block")] == [
        0,
        1,
        2,
        *map(int, refused[:2]),
    ]
    assert run(tmp_path, COLUMNS[:1], retry_failed=True).exit_status == 0
    assert contents(tmp_path) == expected(COLUMNS[:1])


def test_fault_26_disk_that_is_full_after_it_failed_otherwise_stops_the_run_too(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    errors = iter([errno.EIO, errno.ENOSPC])

    def failing(*_) -> BlockRecord:
        number = next(errors)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Sums, "block", failing)
    with pytest.raises(StoreError, match=r"disk is full.*a, block 0.*No space left.*2 times"):
        run(tmp_path, COLUMNS)
    assert not journal(tmp_path, "slide")  # no slide has failed of its own


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_fault_26_full_disk_stops_the_run_and_space_lets_it_go_on(tmp_path):
    small, columns = tmp_path / "small", [Column("a", 4000), Column("b", 4000)]
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        for filling in (900_000, 600_000, 300_000):
            (small / "other").write_bytes(bytes(filling))
            with pytest.raises(StoreError, match=r"small.*disk is full.*No space left"):
                run(small, columns)
            assert not list(small.glob("*/sum.json"))
        (small / "other").unlink()
        subprocess.run(["mount", "-o", "remount,size=40m", small], check=True)
        assert run(small, columns).exit_status == 0
        assert contents(small) == expected(columns)
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_36_sigterm_stops_in_time_and_the_run_goes_on_later(tmp_path, workers):
    process, long = started(tmp_path, workers)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 25
    assert "SIGTERM" in journal(tmp_path, "stopped")[-1]["reason"]
    done = len(journal(tmp_path, "block"))
    assert run(tmp_path, [long]).exit_status == 0
    assert len(journal(tmp_path, "block")) <= 200 + 2  # what was done is not done again
    assert done >= 3
    assert contents(tmp_path) == expected([long])


def test_fault_36_second_sigint_stops_at_once(tmp_path):
    process, long = started(
        tmp_path, 2, "hangs"
    )  # a block that does not end: the first one waits for it
    for _ in range(200):  # two that come as one are one: again until it was heard
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=0.1) == 128 + signal.SIGINT
            break
        except subprocess.TimeoutExpired:
            pass
    assert "stopped at once" in (tmp_path / "told").read_text()
    assert run(tmp_path, [long]).exit_status == 0
    assert contents(tmp_path) == expected([long])


def started(out: Path, workers: int, what: str = "long") -> tuple[subprocess.Popen, Column]:
    """A run of 200 slow blocks that has done three."""
    with (out / "told").open("wb") as told:
        command = [sys.executable, SCRIPT, what, out, "1000", str(workers)]
        process = subprocess.Popen(command, stderr=told, start_new_session=True)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if (out / "run.jsonl").exists() and len(journal(out, "block")) >= 3:
            return process, Column("long", 1000)
        time.sleep(0.05)
    process.kill()
    raise AssertionError("no three blocks were done within three minutes")
