"""Work in blocks: the same files for any number of workers and after any interruption; journal,
lock and leftovers."""

import errno
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gigaslide.batch import BatchSettings, BlockDriver, open_run_folder
from gigaslide.storage import BlockRecord, ClusterError, FolderLock, StoreError, checksum_parts
from gigaslide.storage import partial_output as partial_module
from gigaslide.storage.partial_output import FolderPartial
from pydantic import ValidationError
from sums import COLUMNS, Column, Sums, contents, expected, run

SCRIPT = Path(__file__).with_name("sums.py")


def journal(out: Path, event: str) -> list[dict]:
    lines = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("workers", [0, 2])
def test_blocks_make_the_same_files_wherever_they_run(tmp_path, workers):
    heard: list[dict[str, int]] = []
    summary = run(tmp_path, COLUMNS, workers=workers, on_block=heard.append)
    assert summary.headline() == "3 slides: 3 done, 0 skipped, 0 partial, 0 failed"
    assert contents(tmp_path) == expected(COLUMNS)
    assert sorted(counts["rows"] for counts in heard) == sorted([5, 5, 2, 5, 5, 2])
    assert sum(pace.counts.get("rows", 0) for pace in summary.pace.workers.values()) == sum(
        c.count for c in COLUMNS
    )
    again = run(tmp_path, COLUMNS, workers=0)
    assert {o.status for o in again.outcomes} == {"skipped"}


def test_fault_23_killed_at_changes_to_the_disk_and_resumed_gives_the_same_files(tmp_path):
    command = [sys.executable, str(SCRIPT), "kills", str(tmp_path), "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    *wrong, last = done.stdout.splitlines()
    assert not wrong
    assert int(last.split()[0]) > 10


def test_resume_does_what_is_missing_and_what_is_not_as_it_was_written(tmp_path):
    driver, (a, *_) = BlockDriver(Sums(tmp_path)), COLUMNS
    driver.prepare(a)
    for k in range(3):
        driver.block(a, k)
    partial = driver.work.output(a).partial()
    assert sorted(partial.check_records()) == [0, 1, 2]
    (partial.whole / "c" / "0").write_text("1\n2\n3\n4\n5")  # another file
    torn = partial.whole / "c" / "2"
    torn.write_bytes(b"\0" * torn.stat().st_size)  # of the same length
    assert sorted(partial.records()) == [0, 1, 2]
    assert sorted(partial.check_records()) == [1]
    assert sorted(partial.records()) == [1]  # an old record must not stand for a file written anew
    run(tmp_path, [a])
    assert sorted(line["block"] for line in journal(tmp_path, "block")) == [0, 2]
    assert contents(tmp_path) == expected([a])


def test_partial_output_of_another_recipe_is_not_continued(tmp_path):
    old = FolderPartial(tmp_path / "a", {"count": 1})
    assert not old.is_begun()
    old.begin()
    (old.whole / "x").write_text("old")
    old.save_record(0, BlockRecord(files={"x": checksum_parts([b"old"])}, counts={"rows": 1}))
    assert old.is_begun()
    new = FolderPartial(tmp_path / "a", {"count": 2})
    assert not new.is_begun()
    new.begin()
    assert not new.check_records()
    assert not old.is_begun()
    with pytest.raises(StoreError, match="x: block 4"):
        new.save_record(4, BlockRecord(files={"x": [3, 0]}))


def test_fault_29_leftovers_are_removed_and_half_done_slides_kept(tmp_path):
    driver, (a, *_) = BlockDriver(Sums(tmp_path)), COLUMNS
    driver.prepare(a)
    driver.block(a, 0)
    (tmp_path / ".x.0123abcd.partial").mkdir()
    (tmp_path / ".summary.csv.0123abcd.partial").write_text("torn")
    (tmp_path / ".gone.partial" / "done").mkdir(parents=True)
    with open_run_folder(tmp_path, BatchSettings()):
        assert [path.name for path in tmp_path.glob(".*.partial")] == [".a.partial"]


def test_failed_slides_are_tried_again_when_asked_or_when_they_changed(tmp_path):
    bad, good = Column("bad", 12, "refuse"), Column("good", 12)
    assert run(tmp_path, [bad, good]).exit_status == 2
    for settings, tried in (({}, False), ({"retry_failed": True}, True), ({}, False)):
        (outcome, _) = run(tmp_path, [bad, good], **settings).outcomes
        assert outcome.status == "failed"
        assert ("no numbers here" in outcome.reason, "--retry-failed" in outcome.reason) == (
            True,
            not tried,
        )
    (outcome, _) = run(tmp_path, [Column("bad", 13), good]).outcomes  # another identity
    assert outcome.status == "done"
    with (tmp_path / "run.jsonl").open("a") as file:
        file.write('{"event": "slide", "slide": "good", "sta')  # a kill in the middle of a line
    assert [o.status for o in run(tmp_path, [Column("bad", 13), good]).outcomes] == [
        "skipped",
        "skipped",
    ]
    whole = [
        line
        for line in (tmp_path / "run.jsonl").read_text().splitlines()
        if not line.endswith('"sta')
    ]
    assert {json.loads(line)["event"] for line in whole} == {"run", "plan", "block", "slide", "end"}


def hold(path: str, queue) -> None:
    with open_run_folder(Path(path), BatchSettings()):
        queue.put(os.getpid())
        time.sleep(600)


def test_fault_25_second_run_is_refused_with_the_firsts_name_and_takes_over_when_that_died(
    tmp_path,
):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    first = context.Process(target=hold, args=(str(tmp_path), queue))
    first.start()
    pid = queue.get(timeout=120)
    try:
        with pytest.raises(
            ClusterError,
            match=f"another run.*process {pid} on {socket.gethostname()}.*--clear-lock",
        ):
            run(tmp_path, COLUMNS)
        assert not (tmp_path / "run.jsonl").exists()
    finally:
        first.kill()
        first.join()
    assert run(tmp_path, COLUMNS).exit_status == 0
    assert not (tmp_path / ".run.lock").exists()


def test_fault_25_lock_of_another_machine_is_refused_until_it_is_cleared(tmp_path):
    with open_run_folder(tmp_path, BatchSettings()) as mine:
        text = json.loads((tmp_path / ".run.lock").read_text())
        (tmp_path / ".run.lock").write_text(
            json.dumps({**text, "host": "node17", "token": "other"})
        )
        assert not mine.lock.is_lost
    assert (tmp_path / ".run.lock").exists()  # it is not ours to remove
    os.utime(tmp_path / ".run.lock", (time.time() - 4 * 3600,) * 2)
    with pytest.raises(ClusterError, match=r"on node17, since .*last heartbeat 4\.0 h ago"):
        run(tmp_path, COLUMNS)
    assert run(tmp_path, COLUMNS, clear_lock=True).exit_status == 0
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_fault_25_where_there_are_no_hard_links_one_of_two_runs_has_the_lock(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    with open_run_folder(tmp_path, BatchSettings()):
        assert json.loads((tmp_path / ".run.lock").read_text())["pid"] == os.getpid()
        with pytest.raises(
            ClusterError, match=rf"another run works on this output: process {os.getpid()} on"
        ):
            run(tmp_path, COLUMNS)
    assert run(tmp_path, COLUMNS).exit_status == 0
    assert not (tmp_path / ".run.lock").exists()


def test_an_empty_folder_where_the_output_belongs_costs_nothing(tmp_path):
    a = COLUMNS[0]
    (tmp_path / a.id).mkdir()
    run(tmp_path, [a])
    assert contents(tmp_path) == expected([a])


def test_run_whose_lock_was_taken_away_stops(tmp_path):
    from gigaslide.batch import run_blocks

    lock = FolderLock(tmp_path / ".run.lock", beat_s=0.05)
    with open_run_folder(tmp_path / "x", BatchSettings()) as folder, lock:
        (tmp_path / ".run.lock").write_text("{}")
        deadline = time.monotonic() + 60
        while not lock.is_lost and time.monotonic() < deadline:
            time.sleep(0.02)
        object.__setattr__(folder, "lock", lock)
        with pytest.raises(ClusterError, match="took this one's lock away"):
            run_blocks(Sums(tmp_path / "x"), COLUMNS, BatchSettings(workers=0), folder=folder)
    assert journal(tmp_path / "x", "stopped")


def test_settings_name_one_place_to_work_in():
    for wrong in (
        {"workers": 2, "cluster": "slurm"},
        {"cluster": "slurm", "scheduler": "tcp://a:1"},
        {"scheduler": "localhost:8786"},
        {"scheduler": "tcp://a:1", "tls_ca_file": "ca", "tls_cert_file": "c", "tls_key_file": "k"},
        {"scheduler": "tls://a:1", "tls_ca_file": "ca"},
        {"walltime": "4h"},
    ):
        with pytest.raises(ValidationError):
            BatchSettings(**wrong)


@pytest.mark.parametrize("sync_blocks", [False, True])
def test_block_is_on_disk_when_recorded_where_another_machine_may_finish(
    tmp_path, monkeypatch, sync_blocks
):
    synced: list[Path] = []
    made = FolderPartial(tmp_path / "a", {"of": "c"}, sync_blocks=sync_blocks)
    made.begin()
    monkeypatch.setattr(partial_module, "sync_file", synced.append)
    (made.whole / "c").write_text("ten numbers")
    made.save_record(0, BlockRecord(files={"c": checksum_parts([b"ten numbers"])}))
    assert synced == [made.whole / "c"] * sync_blocks
    for number, name in ((1, "gone"), (2, "c")):
        with pytest.raises(StoreError, match=f"{name}: block {number}"):
            made.save_record(number, BlockRecord(files={name: [3, 0]}))
