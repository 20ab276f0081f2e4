"""What is to be done next: few slides in hand at a time, what is under suspicion last and alone."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from .blocks import SlideT, Step, Task

__all__ = ["SlideProgress", "TaskQueue"]

LOST_AT_MOST = 30  # times the tries that a slide may lose tasks through no fault of its own


@dataclass
class SlideProgress(Generic[SlideT]):
    """What is known of one slide that is being worked on."""

    slide: SlideT
    pending: deque[int] = field(default_factory=deque)
    left: int = 0
    seconds: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter)
    """Workers that ended under a task, by its key."""
    losses: int = 0
    plans: int = 0
    """How often it was said what is to be done: once, and again where blocks did not last."""
    held: deque[Task[SlideT]] = field(default_factory=deque)
    """Tasks under suspicion: done last, each alone, so that a death is surely theirs."""
    is_suspected: bool = False

    @property
    def attempts(self) -> int:
        """Of its task that took the most."""
        return 1 + max(self.deaths.values(), default=0)


class TaskQueue(Generic[SlideT]):
    """The slides of a run that are not over yet, and the tasks that are under way."""

    def __init__(self, *, first_step: Step = "prepare") -> None:
        self._first_step: Step = first_step
        self._unstarted: deque[SlideT] = deque()
        self._in_hand: dict[str, SlideProgress[SlideT]] = {}
        self._ready: deque[Task[SlideT]] = deque()
        self._running: dict[str, Task[SlideT]] = {}

    @property
    def unstarted(self) -> int:
        """Slides that were not begun."""
        return len(self._unstarted)

    @property
    def running(self) -> int:
        """Tasks under way."""
        return len(self._running)

    @property
    def is_empty(self) -> bool:
        return not (self._unstarted or self._in_hand)

    def add(self, slide: SlideT) -> None:
        self._unstarted.append(slide)

    def next_task(self) -> Task[SlideT] | None:
        """What to begin now: what slides in hand need before another is begun; what is suspected
        last, alone."""
        task = self._next()
        if task is not None:
            self._running[task.key] = task
        return task

    def _next(self) -> Task[SlideT] | None:
        if self._ready:
            return self._ready.popleft()
        for state in self._in_hand.values():
            if state.pending and not state.is_suspected:
                return Task(state.slide, "block", state.pending.popleft())
        if self._unstarted:
            slide = self._unstarted.popleft()
            self._in_hand[slide.id] = SlideProgress(slide)
            return Task(slide, self._first_step)
        if not self._running:
            for state in self._in_hand.values():
                if state.held:
                    return state.held.popleft()
        return None

    def take_back(self, task: Task[SlideT]) -> SlideProgress[SlideT] | None:
        """The slide of a task that ended; None where the slide was over before."""
        del self._running[task.key]
        return self._in_hand.get(task.slide.id)

    def add_blocks(self, state: SlideProgress[SlideT], pending: Sequence[int]) -> None:
        """These blocks of a slide are to be done."""
        state.plans += 1
        state.pending.extend(pending)
        state.left = len(pending)
        state.is_suspected = bool(state.held)
        self._finish_if_done(state)

    def complete_block(self, state: SlideProgress[SlideT]) -> None:
        state.left -= 1
        state.is_suspected = bool(state.held)
        self._finish_if_done(state)

    def _finish_if_done(self, state: SlideProgress[SlideT]) -> None:
        if state.left == 0:
            self._ready.append(Task(state.slide, "assemble"))

    def retry(self, task: Task[SlideT], *, deaths: int, tries: int) -> bool:
        """A task's worker is gone; whether it is tried again. Before its last try it waits until
        nothing else is left.

        deaths: how many workers ended under it.
        """
        state = self._in_hand[task.slide.id]
        state.deaths[task.key] += deaths
        state.losses += 1
        if state.deaths[task.key] >= tries or state.losses >= LOST_AT_MOST * tries:
            return False
        if state.deaths[task.key] and state.deaths[task.key] + 1 >= tries:
            state.held.append(task)
            state.is_suspected = True
        else:
            self._ready.appendleft(task)
        return True

    def remove(self, slide_id: str) -> SlideProgress[SlideT] | None:
        """The slide is over: nothing more of it is begun."""
        self._ready = deque(task for task in self._ready if task.slide.id != slide_id)
        return self._in_hand.pop(slide_id, None)
