"""Queue of the tasks of a run: few slides in progress at a time, lost tasks first."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from .blocks import SlideT, Step, Task

__all__ = ["SlideProgress", "TaskQueue"]

MAX_LOSSES = 30  # per attempt: tasks of one slide that may be lost without a worker's death


@dataclass
class SlideProgress(Generic[SlideT]):
    """Progress of one slide that has been started."""

    slide: SlideT
    pending: deque[int] = field(default_factory=deque)
    """Blocks that have not been handed out."""
    unfinished: int = 0
    """Blocks that are not complete."""
    seconds: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter)
    """Number of workers that died while they ran a task, by the task's key."""
    losses: int = 0
    plans: int = 0
    """Number of times blocks were planned: once, and again if blocks did not last on disk."""

    @property
    def attempts(self) -> int:
        """Highest number of attempts of one of its tasks."""
        return 1 + max(self.deaths.values(), default=0)


class TaskQueue(Generic[SlideT]):
    """Slides of a run that have no outcome yet, and their tasks."""

    def __init__(self, *, first_step: Step = "prepare") -> None:
        self._first_step: Step = first_step
        self._unstarted: deque[SlideT] = deque()
        self._started: dict[str, SlideProgress[SlideT]] = {}
        self._ready: deque[Task[SlideT]] = deque()
        self._running: set[str] = set()

    @property
    def unstarted(self) -> int:
        """Number of slides without a task so far."""
        return len(self._unstarted)

    @property
    def running(self) -> int:
        """Number of tasks that were handed out and not taken back."""
        return len(self._running)

    @property
    def is_empty(self) -> bool:
        return not (self._unstarted or self._started)

    def add(self, slide: SlideT) -> None:
        self._unstarted.append(slide)

    def next_task(self) -> Task[SlideT] | None:
        """Hand out a task; tasks of started slides come before a new slide is started."""
        task = self._next()
        if task is not None:
            self._running.add(task.key)
        return task

    def _next(self) -> Task[SlideT] | None:
        if self._ready:
            return self._ready.popleft()
        for progress in self._started.values():
            if progress.pending:
                return Task(progress.slide, "block", progress.pending.popleft())
        if self._unstarted:
            slide = self._unstarted.popleft()
            self._started[slide.id] = SlideProgress(slide)
            return Task(slide, self._first_step)
        return None

    def take_back(self, task: Task[SlideT]) -> SlideProgress[SlideT] | None:
        """Return the progress of the slide of a task that ended; None if the slide has its
        outcome."""
        self._running.discard(task.key)
        return self._started.get(task.slide.id)

    def add_blocks(self, progress: SlideProgress[SlideT], numbers: Sequence[int]) -> None:
        """Queue these blocks of a slide."""
        progress.plans += 1
        progress.pending.extend(numbers)
        progress.unfinished = len(numbers)
        self._assemble_if_complete(progress)

    def complete_block(self, progress: SlideProgress[SlideT]) -> None:
        progress.unfinished -= 1
        self._assemble_if_complete(progress)

    def _assemble_if_complete(self, progress: SlideProgress[SlideT]) -> None:
        if progress.unfinished == 0:
            self._ready.append(Task(progress.slide, "assemble"))

    def retry(self, task: Task[SlideT], *, deaths: int, max_attempts: int) -> bool:
        """Queue a lost task again and return True, or return False after its last attempt.

        deaths: number of workers that died while they ran it in this attempt.
        """
        progress = self._started[task.slide.id]
        progress.deaths[task.key] += deaths
        progress.losses += 1
        if progress.deaths[task.key] >= max_attempts:
            return False
        if progress.losses >= MAX_LOSSES * max_attempts:
            return False
        self._ready.appendleft(task)
        return True

    def remove(self, slide_id: str) -> SlideProgress[SlideT] | None:
        """Drop all queued tasks of a slide that has its outcome, and return its progress."""
        self._ready = deque(task for task in self._ready if task.slide.id != slide_id)
        return self._started.pop(slide_id, None)
