"""The same work on every slide, here or in worker processes; a slide that fails is recorded and the others go on."""

import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic

from ..wsi import ClusterError, StoreError, whole_file
from .blocks import BlockPlan, BlockWork, SlideT, Task, WholeSlides
from .engine import Ended, Engine, Here, Lost
from .journal import RunFolder
from .on_dask import OnDask
from .outcome import BatchSummary, Pace, SlideOutcome
from .page import run_html
from .perform import PACKAGE, Failure, Report, Terms
from .settings import BatchSettings
from .stop import GRACE_S, Stopped, StopRequest, stop_signals

__all__ = ["run_blocks", "run_slides"]

logger = logging.getLogger(__name__)

BLOCK_LIMIT_S = 600.0
WAIT_S = 0.5  # the longest that a signal or a lost lock goes unseen between tasks
LOST_AT_MOST = 30  # times a task may be lost through no fault of its own


def run_slides(
    work: Callable[[SlideT], SlideOutcome],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
) -> BatchSummary:
    """Do work that takes a slide whole on every slide, one task a slide.

    work is a picklable callable; whatever it raises becomes the outcome "failed" of its slide. on_outcome hears of
    each slide as it ends.

    Raises:
        ClusterError: workers or scheduler are gone, or cannot be had.
        Stopped: a signal asked to stop.
    """
    return _run(WholeSlides(work), slides, settings, limit_s=settings.task_limit_s, folder=None, on_outcome=on_outcome)


def run_blocks(
    work: BlockWork[SlideT],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    folder: RunFolder,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
    on_block: Callable[[dict[str, int]], None] | None = None,
) -> BatchSummary:
    """Do work in blocks on every slide, into a folder that this run holds; keep its journal there.

    Slides that failed in an earlier run by the same identity are not tried again unless settings.retry_failed.
    At the end the folder has a summary.csv, a run.html, and a failures.txt where a slide failed.
    on_block hears what each block made.

    Raises:
        ClusterError: workers or scheduler are gone, or cannot be had; or the folder's lock was taken away.
        StoreError: the disk is full.
        Stopped: a signal asked to stop.
    """
    limit_s = BLOCK_LIMIT_S if settings.task_limit_s is None else settings.task_limit_s
    return _run(work, slides, settings, limit_s=limit_s, folder=folder, on_outcome=on_outcome, on_block=on_block)


def _run(
    work: BlockWork[SlideT],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    limit_s: float | None,
    folder: RunFolder | None,
    on_outcome: Callable[[SlideOutcome], None] | None,
    on_block: Callable[[dict[str, int]], None] | None = None,
) -> BatchSummary:
    level = logging.getLogger(PACKAGE).getEffectiveLevel()
    terms = Terms(run=uuid.uuid4().hex[:8], tries=settings.tries, limit_s=limit_s, log_level=level)
    with stop_signals() as stop:
        run = _Run(work, slides, settings, terms, folder, stop, on_outcome, on_block)
        return run.whole()


@dataclass
class _State(Generic[SlideT]):
    """What is known of one slide that is being worked on."""

    slide: SlideT
    pending: deque[int] = field(default_factory=deque)
    left: int = 0
    seconds: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter)
    losses: int = 0
    held: deque[Task[SlideT]] = field(default_factory=deque)
    """Tasks of a slide under suspicion: done last, each alone, so that a death is surely theirs."""
    is_held: bool = False


class _Run(Generic[SlideT]):
    """Hands out tasks, few at a time, and takes what they came to, until every slide has its outcome."""

    def __init__(
        self,
        work: BlockWork[SlideT],
        slides: Sequence[SlideT],
        settings: BatchSettings,
        terms: Terms,
        folder: RunFolder | None,
        stop: StopRequest,
        on_outcome: Callable[[SlideOutcome], None] | None,
        on_block: Callable[[dict[str, int]], None] | None,
    ) -> None:
        self.work, self.slides, self.settings, self.terms = work, slides, settings, terms
        self.folder, self.stop, self.on_outcome, self.on_block = folder, stop, on_outcome, on_block
        self.waiting: deque[SlideT] = deque()
        self.active: dict[str, _State[SlideT]] = {}
        self.ready: deque[Task[SlideT]] = deque()
        self.flying: dict[str, Task[SlideT]] = {}
        self.outcomes: dict[str, SlideOutcome] = {}
        self.pace = Pace()

    def whole(self) -> BatchSummary:
        start = time.perf_counter()
        self.note("run", slides=len(self.slides), settings=self.settings.model_dump(mode="json"))
        self._set_aside_earlier_failures()
        try:
            if self.waiting:
                with closing(self._engine()) as engine:
                    self.stop.at_once = not engine.may_be_killed
                    self._drive(engine)
                    self.stop.at_once = False
        except BaseException as error:
            self.note("stopped", reason=str(error) or type(error).__name__)
            raise
        summary = BatchSummary(
            outcomes=tuple(self.outcomes[slide.id] for slide in self.slides),
            pace=replace(self.pace, seconds=time.perf_counter() - start),
        )
        self.note("end", headline=summary.headline())
        if self.folder is not None:
            summary.save(self.folder.path)
            with whole_file(self.folder.path / "run.html") as page:
                page.write_text(run_html(summary, name=self.folder.path.name), encoding="utf-8")
        return summary

    def note(self, event: str, **fields: object) -> None:
        if self.folder is not None:
            self.folder.journal.write(event, run=self.terms.run, **fields)

    def _engine(self) -> Engine:
        if self.settings.workers == 0:
            return Here(self.work, self.terms)
        shared: Path | None = None if self.folder is None else self.folder.path
        at_most = len(self.waiting) if isinstance(self.work, WholeSlides) else 10**6
        return OnDask(self.work, self.terms, self.settings, at_most=at_most, shared=shared)

    def _set_aside_earlier_failures(self) -> None:
        failures = self.folder.journal.failures() if self.folder is not None and not self.settings.retry_failed else {}
        for slide in self.slides:
            before = failures.get(slide.id)
            identity = self.work.identity(slide) if before else None
            if before is not None and identity is not None and before.get("identity") == identity:
                reason = f"not tried again, for it failed before (--retry-failed does): {before.get('reason')}"
                self._close(SlideOutcome(slide=slide.id, status="failed", reason=reason), is_news=False)
            else:
                self.waiting.append(slide)

    def _drive(self, engine: Engine) -> None:
        stop_at = None
        while self.waiting or self.active:
            if self.folder is not None and self.folder.lock.is_lost:
                raise ClusterError(f"{self.folder.path}: another run took this one's lock away; this one stops")
            if self.stop.number is not None:
                stop_at = stop_at or time.monotonic() + GRACE_S
                if not self.flying or time.monotonic() > stop_at:
                    raise Stopped(self.stop.number)
            else:
                self._hand_out(engine)
            for ended in engine.wait(WAIT_S):
                del self.flying[ended.task.key]
                self._take(ended)

    def _hand_out(self, engine: Engine) -> None:
        slots = engine.slots
        while len(self.flying) < slots and (task := self._next()) is not None:
            self.flying[task.key] = task
            engine.submit(task)

    def _next(self) -> Task[SlideT] | None:
        """What to do next: what slides in hand need before another is begun; what is under suspicion last, alone."""
        if self.ready:
            return self.ready.popleft()
        for state in self.active.values():
            if state.pending and not state.is_held:
                return Task(state.slide, "block", state.pending.popleft())
        if self.waiting:
            slide = self.waiting.popleft()
            self.active[slide.id] = _State(slide)
            return Task(slide, "plan")
        if not self.flying:
            for state in self.active.values():
                if state.held:
                    return state.held.popleft()
                if state.pending:
                    return Task(state.slide, "block", state.pending.popleft())
        return None

    def _take(self, ended: Ended) -> None:
        state = self.active.get(ended.task.slide.id)
        if state is None:
            return  # the slide failed while this was under way
        if isinstance(ended.result, Lost):
            self._take_lost(state, ended.task, ended.result)
        else:
            self._take_report(state, ended.task, ended.result)

    def _take_report(self, state: _State[SlideT], task: Task[SlideT], report: Report) -> None:
        for record in report.records:
            logging.getLogger(record.name).handle(record)
        state.seconds += report.seconds
        value = report.value
        if isinstance(value, Failure):
            self._take_failure(state, task, value)
        elif isinstance(value, SlideOutcome):
            self.pace.took(report.worker, report.seconds, {} if task.step == "finish" else value.counts)
            seconds = state.seconds if value.status != "skipped" else value.seconds
            self._close(replace(value, seconds=seconds), tries=report.tries)
        elif isinstance(value, BlockPlan):
            self.pace.took(report.worker, report.seconds, {})
            self.note("plan", slide=task.slide.id, blocks=value.blocks, pending=len(value.pending))
            state.pending.extend(value.pending)
            state.left = len(value.pending)
            self._finish_if_done(state)
        else:
            self.pace.took(report.worker, report.seconds, value)
            self.note(
                "block",
                slide=task.slide.id,
                block=task.number,
                seconds=round(report.seconds, 3),
                worker=report.worker,
                tries=report.tries,
            )
            state.left -= 1
            if self.on_block is not None:
                self.on_block(value)
            self._finish_if_done(state)

    def _finish_if_done(self, state: _State[SlideT]) -> None:
        if state.left == 0:
            self.ready.append(Task(state.slide, "finish"))

    def _take_failure(self, state: _State[SlideT], task: Task[SlideT], failure: Failure) -> None:
        where = f" (block {task.number})" if task.step == "block" else ""
        if failure.disk_is_full and self.folder is not None:
            raise StoreError(
                f"{self.folder.path}: the disk is full ({task}: {failure.reason}); free some space and run the same "
                "command again to go on"
            )
        logger.warning("%s failed%s: %s", task.slide.id, where, failure.reason)
        self._close(
            SlideOutcome(
                slide=task.slide.id,
                status="failed",
                reason=failure.reason,
                seconds=state.seconds,
                traceback=failure.traceback,
            )
        )

    def _take_lost(self, state: _State[SlideT], task: Task[SlideT], lost: Lost) -> None:
        state.deaths[task.key] += lost.deaths
        state.losses += 1
        deaths, tries = state.deaths[task.key], self.settings.tries
        self.note("lost", slide=task.slide.id, task=str(task), reason=lost.reason, deaths=deaths)
        if deaths >= tries or state.losses >= LOST_AT_MOST * tries:
            reason = f"set aside after {deaths} of its workers died; at the last, in {task.step} {task.number}, "
            self._take_failure(state, task, Failure(reason=reason + lost.reason))
            return
        if lost.deaths:
            logger.warning("%s: %s; try %d of %d follows", task, lost.reason, deaths + 1, tries)
        if deaths + 1 >= tries and deaths:
            state.is_held = True
            state.held.append(task)
        else:
            self.ready.appendleft(task)

    def _close(self, outcome: SlideOutcome, *, tries: int = 1, is_news: bool = True) -> None:
        state = self.active.pop(outcome.slide, None)
        self.ready = deque(task for task in self.ready if task.slide.id != outcome.slide)
        self.outcomes[outcome.slide] = outcome
        if is_news and self.folder is not None:
            identity = self.work.identity(state.slide) if state is not None and outcome.status == "failed" else None
            self.note(
                "slide",
                slide=outcome.slide,
                status=outcome.status,
                reason=outcome.reason,
                seconds=round(outcome.seconds, 3),
                counts=outcome.counts,
                tries=max([tries, *(deaths + 1 for deaths in (state.deaths if state else Counter()).values())]),
                identity=identity,
            )
        if self.on_outcome is not None:
            self.on_outcome(outcome)
