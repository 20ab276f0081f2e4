"""Where tasks are done: an engine takes them and gives back what they came to. The one of this
process is here."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .blocks import Task
from .task import TaskReport, TaskTerms, Work, run_task

__all__ = ["Executor", "LocalExecutor", "LostTask", "TaskResult"]


@dataclass(frozen=True, kw_only=True)
class LostTask:
    """A task whose worker is gone."""

    deaths: int
    """How many workers ended under it; 0 where it had not begun, or was only called off."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """A task that an engine is rid of."""

    task: Task[Any]
    result: TaskReport | LostTask


class Executor(Protocol):
    """Does tasks in any order. `wait` raises ClusterError where no result can come any more."""

    @property
    def capacity(self) -> int:
        """How many tasks to hand it at once: enough that no worker waits, and no more."""
        ...

    @property
    def can_kill_tasks(self) -> bool:
        """Whether a stopped run can take the workers' lives, so that a task need not be
        waited for."""
        ...

    def submit(self, task: Task[Any]) -> None: ...

    def wait(self, seconds: float) -> Sequence[TaskResult]:
        """What ended; waits for the first at most so long."""
        ...

    def call_off(self) -> Sequence[Task[Any]]:
        """Those that have not begun, and now never will."""
        ...

    def close(self) -> None: ...


class LocalExecutor:
    """This process, one task at a time."""

    capacity = 1
    can_kill_tasks = False

    def __init__(self, work: Work[Any], terms: TaskTerms) -> None:
        self._work, self._terms = work, terms
        self._tasks: deque[Task[Any]] = deque()

    def submit(self, task: Task[Any]) -> None:
        self._tasks.append(task)

    def wait(self, seconds: float) -> Sequence[TaskResult]:
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        return [TaskResult(task=task, result=run_task(self._work, task, self._terms))]

    def call_off(self) -> Sequence[Task[Any]]:
        waiting = list(self._tasks)
        self._tasks.clear()
        return waiting

    def close(self) -> None:
        self._tasks.clear()
