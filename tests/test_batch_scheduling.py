"""Order and number of the tasks in flight; a fake executor stands for workers."""

import os
import signal
import tracemalloc
from collections import Counter, deque
from collections.abc import Mapping, Sequence
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
    open_run_folder,
    run_blocks,
)
from gigaslide.batch import run as run_module
from gigaslide.batch.blocks import Task
from gigaslide.batch.executor import LostTask, TaskResult
from gigaslide.batch.scheduling import TaskQueue
from gigaslide.batch.task import TaskTerms, run_task
from gigaslide.storage import BlockRecord, Output, Recipe


@dataclass(frozen=True)
class Many:
    id: str
    blocks: int


@dataclass(frozen=True)
class Nothing:
    """`BlockWork` that does nothing."""

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
    """Three capacity; loses each task of a block once whose number ends in 99."""

    capacity, can_kill_tasks = 3, True

    def __init__(self, work: Nothing, terms: TaskTerms) -> None:
        self.work, self.terms = work, terms
        self.tasks: deque[Task] = deque()
        self.done: Counter[str] = Counter()
        self.most = 0

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self.most = max(self.most, len(self.tasks))

    def wait(self, seconds: float) -> Sequence[TaskResult]:
        task = self.tasks.popleft()
        self.done[task.key] += 1
        if task.step == "block" and task.number % 100 == 99 and self.done[task.key] == 1:
            return [TaskResult(task=task, result=LostTask(deaths=0, reason="gone"))]
        return [TaskResult(task=task, result=run_task(self.work, task, self.terms))]

    def call_off(self) -> Sequence[Task]:
        waiting = list(self.tasks)
        self.tasks.clear()
        return waiting

    def close(self) -> None:
        pass


def test_what_waits_when_a_signal_comes_is_never_begun(tmp_path, monkeypatch):
    class Stopping(FakeExecutor):
        def wait(self, seconds: float) -> Sequence[TaskResult]:
            ended = super().wait(seconds)
            if sum(self.done.values()) == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return ended

    executor = Stopping(
        Nothing(tmp_path), TaskTerms(run="r", attempts=3, limit_s=None, log_level=20)
    )
    monkeypatch.setattr(run_module, "make_executor", lambda *_, **__: executor)
    with open_run_folder(tmp_path, BatchSettings()) as folder, pytest.raises(Stopped):
        run_blocks(Nothing(tmp_path), [Many("s", 40)], BatchSettings(), folder=folder)
    assert sum(executor.done.values()) == 5
    assert executor.most == 3  # two others were waiting


def test_a_million_patches_are_few_tasks_at_a_time_and_little_memory(tmp_path, monkeypatch):
    executors: list[FakeExecutor] = []

    def executor(work, terms: TaskTerms, *_, **__) -> FakeExecutor:
        executors.append(FakeExecutor(work, terms))
        return executors[0]

    monkeypatch.setattr(run_module, "make_executor", executor)
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


def test_slides_in_hand_come_before_others_are_begun():
    queue: TaskQueue[Many] = TaskQueue()
    for k in range(3):
        queue.add(Many(f"s{k}", 2))
    first = queue.next_task()
    assert first is not None
    assert (first.slide.id, first.step, queue.unstarted) == ("s0", "prepare", 2)
    state = queue.take_back(first)
    assert state is not None
    queue.add_blocks(state, [0, 1])
    assert [str(queue.next_task()) for _ in range(3)] == [
        "s0, block 0",
        "s0, block 1",
        "s1, prepare",
    ]


def test_suspected_task_is_done_last_and_alone():
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("bad", 3))
    queue.add(Many("good", 1))
    queue.add_blocks(queue.take_back(queue.next_task()), [0, 1, 2])
    task = queue.next_task()
    for _ in range(2):  # of three tries two are gone
        assert str(task) == "bad, block 0"
        queue.take_back(task)
        assert queue.retry(task, deaths=1, tries=3)
        task = queue.next_task()
    assert str(task) == "good, prepare"  # begun before the other blocks of the suspected slide
    queue.add_blocks(queue.take_back(task), [0])
    good = queue.next_task()
    assert str(good) == "good, block 0"
    assert queue.next_task() is None  # the suspected one waits for it
    queue.complete_block(queue.take_back(good))
    finish = queue.next_task()
    assert str(finish) == "good, assemble"
    queue.take_back(finish)
    queue.remove("good")
    alone = queue.next_task()
    assert str(alone) == "bad, block 0"
    assert queue.next_task() is None  # nor is anything begun beside it
    queue.complete_block(queue.take_back(alone))
    assert [str(queue.next_task()) for _ in range(2)] == [
        "bad, block 1",
        "bad, block 2",
    ]  # cleared of suspicion


@pytest.mark.parametrize("suspect", ["prepare", "assemble"])
def test_fault_7_slide_whose_plan_or_finish_was_suspected_goes_on_to_its_end(suspect):
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("s", 2))
    queue.add(Many("good", 0))
    begun: list[str] = []
    while not queue.is_empty:
        task = queue.next_task()
        assert task is not None, f"hangs after {begun}"
        begun.append(str(task))
        state = queue.take_back(task)
        assert state is not None
        if str(task).startswith(f"s, {suspect}") and begun.count(str(task)) < 3:
            assert queue.retry(task, deaths=1, tries=3)
        elif task.step == "prepare":
            queue.add_blocks(state, range(task.slide.blocks))
        elif task.step == "block":
            queue.complete_block(state)
        else:
            queue.remove(task.slide.id)
    tries = {"prepare": 1, "assemble": 1, suspect: 3}
    assert Counter(word for word in begun if word.startswith("s,")) == {
        f"s, {suspect}": tries[suspect],
        **{f"s, {step}": count for step, count in tries.items()},
        "s, block 0": 1,
        "s, block 1": 1,
    }
    assert (
        begun.index("good, assemble")
        < [k for k, word in enumerate(begun) if word == f"s, {suspect}"][2]
    )


def test_run_that_has_nothing_to_begin_and_nothing_under_way_says_so_and_does_not_spin(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(TaskQueue, "next_task", lambda self: None)
    with (
        open_run_folder(tmp_path, BatchSettings()) as folder,
        pytest.raises(RuntimeError, match="no task"),
    ):
        run_blocks(Nothing(tmp_path), [Many("s", 1)], BatchSettings(workers=0), folder=folder)


def test_task_that_is_lost_for_ever_through_no_fault_of_its_own_ends_its_slide():
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("s", 1))
    lost = 0
    while True:
        task = queue.next_task()
        assert task is not None
        queue.take_back(task)
        lost += 1
        if not queue.retry(task, deaths=0, tries=2):
            break
    assert lost == 60


def test_what_ends_after_its_slide_is_over_is_left():
    queue: TaskQueue[Many] = TaskQueue()
    queue.add(Many("s", 1))
    task = queue.next_task()
    queue.remove("s")
    assert queue.take_back(task) is None
    assert queue.is_empty
