"""Order and number of the tasks in progress; a fake executor stands for workers."""

import os
import signal
import tracemalloc
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from gigaslide.batch import (
    BatchSettings,
    BlockPlan,
    SlideContext,
    SlideOutcome,
    Stopped,
    batch_run,
    open_run_folder,
    run_blocks,
)
from gigaslide.batch.blocks import Task
from gigaslide.batch.executor import Ended, LostTask
from gigaslide.batch.scheduling import TaskQueue
from gigaslide.batch.task import TaskTerms, run_task
from gigaslide.storage import BlockRecord, Output, Recipe


@dataclass(frozen=True)
class Many:
    id: str
    blocks: int


@dataclass(frozen=True)
class Nothing:
    """`BlockWork` without work."""

    out: Path

    def output(self, slide: Many) -> Output:
        recipe = Recipe(stage="nothing", settings={}, inputs={"id": slide.id})
        return Output(location=self.out / slide.id, recipe=recipe)

    def open(self, slide: Many) -> AbstractContextManager[None]:
        return nullcontext()

    def prepare(self, context: SlideContext[Many]) -> BlockPlan:
        return BlockPlan(blocks=context.slide.blocks)

    def block(self, context: SlideContext[Many], number: int) -> BlockRecord:
        return BlockRecord(counts={"patches": 1024})

    def assemble(
        self, context: SlideContext[Many], records: Mapping[int, BlockRecord]
    ) -> dict[str, int]:
        return {}

    def outcome(self, slide: Many, attributes: Mapping[str, int]) -> SlideOutcome:
        return SlideOutcome(slide=slide.id, status="done")


class FakeExecutor:
    """Runs three tasks at a time; loses every block whose number ends in 99 once."""

    capacity, can_kill_tasks = 3, True

    def __init__(self, work: Nothing, terms: TaskTerms) -> None:
        self.work, self.terms = work, terms
        self.tasks: deque[Task] = deque()
        self.done: Counter[str] = Counter()
        self.most = 0

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self.most = max(self.most, len(self.tasks))

    def wait(self, timeout_s: float) -> Ended | None:
        task = self.tasks.popleft()
        self.done[task.key] += 1
        if task.step == "block" and task.number % 100 == 99 and self.done[task.key] == 1:
            return task, LostTask(deaths=0, reason="gone")
        return task, run_task(self.work, task, self.terms)

    def take_rest(self) -> list[Ended]:
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def executors(monkeypatch) -> list[FakeExecutor]:
    """The executor of each run."""
    made: list[FakeExecutor] = []

    def make(work: Nothing, terms: TaskTerms, *_, **__) -> FakeExecutor:
        made.append(FakeExecutor(work, terms))
        return made[-1]

    monkeypatch.setattr(batch_run, "make_executor", make)
    return made


def test_fault_36_no_task_is_submitted_after_a_signal(tmp_path, monkeypatch, executors):
    true_wait = FakeExecutor.wait

    def wait(self, timeout_s: float) -> Ended | None:
        if sum(self.done.values()) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return true_wait(self, timeout_s)

    monkeypatch.setattr(FakeExecutor, "wait", wait)
    with open_run_folder(tmp_path, BatchSettings()) as folder, pytest.raises(Stopped):
        run_blocks(Nothing(tmp_path), [Many("s", 40)], BatchSettings(), folder=folder)
    assert executors[0].most == 3
    assert sum(executors[0].done.values()) == 5 + 3  # those that had been submitted


def test_fault_38_a_million_patches_are_few_tasks_at_a_time_and_little_memory(tmp_path, executors):
    slides = [Many(f"s{k}", 40) for k in range(25)]  # 25 × 40 × 1024 = 1.0 million
    tracemalloc.start()
    with open_run_folder(tmp_path, BatchSettings()) as folder:
        summary = run_blocks(Nothing(tmp_path), slides, BatchSettings(), folder=folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {outcome.status for outcome in summary.outcomes} == {"done"}
    (used,) = executors
    assert used.most == 3
    assert sum(used.done.values()) == 25 * (40 + 2)
    made = sum(pace.counts["patches"] for pace in summary.pace.workers.values())
    assert made == 25 * 40 * 1024
    assert peak < 10e6


def test_started_slides_come_before_new_ones():
    queue: TaskQueue[Many] = TaskQueue()
    for k in range(3):
        queue.add(Many(f"s{k}", 2))
    first = queue.next_task()
    assert first is not None
    assert (first.slide.id, first.step, queue.unstarted) == ("s0", "prepare", 2)
    progress = queue.take_back(first)
    assert progress is not None
    queue.add_blocks(progress, [0, 1])
    assert [str(queue.next_task()) for _ in range(3)] == [
        "s0, block 0",
        "s0, block 1",
        "s1, prepare",
    ]


@pytest.mark.parametrize("lost_step", ["prepare", "block", "assemble"])
def test_fault_7_lost_task_comes_next_and_its_slide_continues(lost_step):
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("s", 2))
    queue.add(Many("good", 0))
    started: list[str] = []
    while not queue.is_empty:
        task = queue.next_task()
        assert task is not None, f"no task after {started}"
        started.append(f"{task.slide.id} {task.step} {task.number}")
        progress = queue.take_back(task)
        assert progress is not None
        if task.slide.id == "s" and task.step == lost_step and started.count(started[-1]) < 3:
            assert queue.retry(task, deaths=1, max_attempts=3)
        elif task.step == "prepare":
            queue.add_blocks(progress, range(task.slide.blocks))
        elif task.step == "block":
            queue.complete_block(progress)
        else:
            queue.remove(task.slide.id)
    once = ["s prepare 0", "s block 0", "s block 1", "s assemble 0"]
    attempts = [3 if lost_step in name else 1 for name in once]
    expected = [name for name, n in zip(once, attempts, strict=True) for _ in range(n)]
    assert started == [*expected, "good prepare 0", "good assemble 0"]


@pytest.mark.parametrize(("deaths", "attempts"), [(1, 3), (2, 2), (0, 30 * 3)])
def test_fault_34_a_lost_task_is_tried_at_most_so_often(deaths, attempts):
    """Also one that is lost again and again without a death of its worker."""
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("s", 1))
    losses, is_retried = 0, True
    while is_retried:
        task = queue.next_task()
        assert task is not None
        queue.take_back(task)
        losses += 1
        is_retried = queue.retry(task, deaths=deaths, max_attempts=3)
    assert losses == attempts


def test_run_without_a_task_to_submit_or_wait_for_says_so_and_does_not_spin(tmp_path, monkeypatch):
    monkeypatch.setattr(TaskQueue, "next_task", lambda self: None)
    with open_run_folder(tmp_path, BatchSettings()) as folder, pytest.raises(RuntimeError):
        run_blocks(Nothing(tmp_path), [Many("s", 1)], BatchSettings(workers=0), folder=folder)


def test_result_of_a_slide_that_has_its_outcome_is_ignored():
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("s", 1))
    task = queue.next_task()
    queue.remove("s")
    assert queue.take_back(task) is None
    assert queue.is_empty
