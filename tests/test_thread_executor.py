"""Slides in work at the same time in threads of one process."""

import json
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gigaslide.batch import BatchSettings, Listener, Stopped, open_run_folder, run_blocks
from gigaslide.batch.blocks import Task
from gigaslide.batch.task import TaskFailure, TaskReport, TaskTerms
from gigaslide.batch.thread_executor import ThreadExecutor
from gigaslide.inference import PredictSettings
from gigaslide.inference import predict as predict_module
from gigaslide.storage import BlockRecord
from predicting import predict, write_model, write_slides
from sums import COLUMNS, Column, Sums, contents, expected

TERMS = TaskTerms(run="r", max_attempts=1, timeout_s=None, log_level=0)


@dataclass(frozen=True)
class Together(Sums):
    """The first two blocks of the first slide wait for each other."""

    both: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def block(self, context, number_) -> BlockRecord:
        if context.slide == COLUMNS[0] and number_ < 2:
            self.both.wait(timeout=20)
        return super().block(context, number_)


@dataclass(frozen=True)
class Endless(Sums):
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def block(self, context, number_) -> BlockRecord:
        self.begun.set()
        try:
            while True:
                time.sleep(0.01)
        finally:
            self.ended.set()


def run_here(work: Sums, columns: list[Column], **more):
    batch = BatchSettings(workers=0)
    with open_run_folder(work.out, batch) as folder:
        return run_blocks(work, columns, batch, folder=folder, tasks_at_once=2, **more)


def test_two_tasks_run_at_once_and_give_the_files_of_one(tmp_path):
    summary = run_here(Together(tmp_path), COLUMNS)
    assert summary.headline() == "3 slides: 3 done, 0 skipped, 0 partial, 0 failed"
    assert contents(tmp_path) == expected(COLUMNS)
    assert [outcome.slide for outcome in summary.outcomes] == [column.id for column in COLUMNS]
    names = set(summary.pace.workers)
    assert summary.pace.is_in_threads
    assert {name.rpartition(", ")[2] for name in names} == {"thread 1", "thread 2"}


def test_a_slide_that_fails_does_not_stop_the_other_thread(tmp_path):
    columns = [Column("bad", deed="refuse"), *COLUMNS]
    summary = run_here(Sums(tmp_path), columns)
    assert {o.slide: o.status for o in summary.outcomes} == {
        "bad": "failed",
        **{column.id: "done" for column in COLUMNS},
    }


def test_a_single_slide_keeps_one_task_at_a_time(tmp_path):
    summary = run_here(Sums(tmp_path), [Column("a", count=30)])
    assert [name for name in summary.pace.workers if "thread" in name] == []


def test_closing_interrupts_a_task_and_the_output_is_continued(tmp_path):
    work = Endless(tmp_path)
    slide = Column("a")
    with closing(ThreadExecutor(work, TERMS, threads=2)) as executor:
        executor.submit(Task(slide, "prepare"))
        ended = executor.wait(20)
        assert ended is not None
        assert isinstance(ended[1], TaskReport)
        assert not isinstance(ended[1].value, TaskFailure)
        executor.submit(Task(slide, "block", 0))
        assert work.begun.wait(20)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert work.ended.is_set()
    run_here(Sums(tmp_path), [slide, Column("b")])
    assert contents(tmp_path) == expected([slide, Column("b")])


def test_an_interrupted_run_ends_and_continues(tmp_path):
    def stop(counts) -> None:
        raise Stopped(15)

    with pytest.raises(Stopped):
        run_here(Sums(tmp_path, 0.05), COLUMNS, listener=Listener(on_block=stop))
    assert not [thread for thread in threading.enumerate() if "_run_tasks" in thread.name]
    run_here(Sums(tmp_path), COLUMNS)
    assert contents(tmp_path) == expected(COLUMNS)


@dataclass(frozen=True)
class Second(Sums):
    """The first block of the first slide ends once another block has stopped the run."""

    begun: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)

    def block(self, context, number_) -> BlockRecord:
        if context.slide == COLUMNS[0] and number_ == 0:
            self.begun.set()
            assert self.stopping.wait(timeout=20)
        return super().block(context, number_)


def test_blocks_that_end_while_a_run_is_interrupted_are_in_its_journal(tmp_path, monkeypatch):
    monkeypatch.setattr("gigaslide.batch.thread_executor.IDLE_S", 5.0)
    work = Second(tmp_path)
    seen = []

    def stop(counts) -> None:
        seen.append(counts)
        if work.begun.is_set():
            work.stopping.set()
            raise Stopped(15)

    with pytest.raises(Stopped):
        run_here(work, COLUMNS, listener=Listener(on_block=stop))
    lines = list(map(json.loads, (tmp_path / "run.jsonl").read_text().splitlines()))
    told = [(line["slide"], line["block"]) for line in lines if line["event"] == "block"]
    assert (COLUMNS[0].id, 0) in told
    assert len(told) == len(seen)
    records = [
        (path.parts[-3].removeprefix(".").removesuffix(".partial"), int(path.stem))
        for path in tmp_path.glob(".*.partial/done/*.json")
    ]
    assert sorted(records) == sorted(line for line in told if not (tmp_path / line[0]).exists())
    run_here(Sums(tmp_path), COLUMNS)
    assert contents(tmp_path) == expected(COLUMNS)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_slides_predicted_two_at_a_time_have_the_same_bytes(tmp_path, monkeypatch, mode):
    cohort, model = write_slides(tmp_path, 1, 2, 3), write_model(tmp_path / "m")
    settings = PredictSettings(mode=mode, orientations=1, exact_above=0.55, batch_size=16)
    found = []
    for count in (1, 2):
        monkeypatch.setattr(predict_module, "TASKS_AT_ONCE", count)
        out = tmp_path / str(count)
        predict(cohort, model, out, settings)
        assert (len(set(read_workers(out))) > 1) == (count > 1)
        found.append(
            {
                path.relative_to(out): path.read_bytes()
                for path in out.glob("*/**/*")
                if path.is_file()
            }
        )
    assert found[0] == found[1]
    assert len(found[0]) > 6


def read_workers(out: Path) -> list[str]:
    lines = map(json.loads, (out / "run.jsonl").read_text().splitlines())
    return [line["worker"] for line in lines if line["event"] == "block"]
