"""Executors run tasks; the one for this process is here, the one for Dask workers in
dask_executor."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from .blocks import Task
from .task import TaskReport, TaskTerms, Work, run_task

__all__ = ["Ended", "Executor", "LocalExecutor", "LostTask"]


@dataclass(frozen=True, kw_only=True)
class LostTask:
    """A task that has no result because its worker is gone."""

    deaths: int
    """Number of workers that died while they ran it; 0 if only its result was lost."""
    reason: str


Ended = tuple[Task[Any], TaskReport | LostTask]
"""A completed task with its report, or one that was lost."""


class Executor(Protocol):
    """Runs tasks in any order. `submit` and `wait` raise ClusterError when no result can come
    any more."""

    @property
    def capacity(self) -> int:
        """Number of tasks that it can run at the same time."""
        ...

    @property
    def can_kill_tasks(self) -> bool:
        """True if closing the executor ends tasks that are still running."""
        ...

    def submit(self, task: Task[Any]) -> None: ...

    def wait(self, timeout_s: float) -> Ended | None:
        """Return a task that ended; None if none does within this time (s)."""
        ...

    def close(self) -> None: ...

    def take_rest(self) -> list[Ended]:
        """Return the tasks that ended, once it is closed, and that `wait` did not return."""
        ...


class LocalExecutor:
    """Runs one task at a time in this process."""

    capacity = 1
    can_kill_tasks = False

    def __init__(self, work: Work[Any], terms: TaskTerms) -> None:
        self._work, self._terms = work, terms
        self._tasks: deque[Task[Any]] = deque()

    def submit(self, task: Task[Any]) -> None:
        self._tasks.append(task)

    def wait(self, timeout_s: float) -> Ended | None:
        if not self._tasks:
            return None
        task = self._tasks.popleft()
        return task, run_task(self._work, task, self._terms)

    def close(self) -> None:
        self._tasks.clear()

    def take_rest(self) -> list[Ended]:
        return []
