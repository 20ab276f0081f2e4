"""The same work on every slide, here or in worker processes; a slide that fails is recorded and the
others go on."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Generic

from ..storage import ClusterError, StoreError
from .blocks import BlockPlan, BlockWork, SlideT, Task, WholeSlides
from .dask_executor import DaskExecutor
from .executor import Executor, LocalExecutor, LostTask, TaskResult
from .journal import RunFolder
from .outcome import BatchSummary, SlideOutcome
from .perform import PACKAGE, Failure, Report, Terms
from .record import Record
from .scheduling import SlideProgress, TaskQueue
from .settings import BatchSettings
from .stop import GRACE_S, Stopped, StopRequest, stop_signals

__all__ = ["run_blocks", "run_slides"]

logger = logging.getLogger(__name__)

BLOCK_LIMIT_S = 600.0
WAIT_S = 0.5  # the longest that a signal or a lost lock goes unseen between tasks


def run_slides(
    work: Callable[[SlideT], SlideOutcome],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    folder: RunFolder | None = None,
    identity: Callable[[SlideT], str | None] | None = None,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
) -> BatchSummary:
    """Do work that takes a slide whole on every slide, one task a slide.

    work is a picklable callable; whatever it raises becomes the outcome "failed" of its slide. A
    folder keeps the run's journal and its tables, as for `run_blocks`; identity says what a failure
    holds for. on_outcome hears of each slide as it ends.

    Raises:
        ClusterError: workers or scheduler are gone, or cannot be had; or the folder's lock was
        taken away.
        StoreError: the disk is full.
        Stopped: a signal asked to stop.
    """
    record = Record(run=uuid.uuid4().hex[:8], folder=folder, on_outcome=on_outcome)
    whole = WholeSlides(work) if identity is None else WholeSlides(work, identity)
    return _run(whole, slides, settings, record, limit_s=settings.task_timeout_s)


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

    Slides that failed in an earlier run by the same identity are not tried again unless
    settings.retry_failed. At the end the folder has a summary.csv, a run.html, and a failures.txt
    where a slide failed. on_block hears what each block made.

    Raises:
        ClusterError: workers or scheduler are gone, or cannot be had; or the folder's lock was
        taken away.
        StoreError: the disk is full.
        Stopped: a signal asked to stop.
    """
    limit_s = BLOCK_LIMIT_S if settings.task_timeout_s is None else settings.task_timeout_s
    record = Record(
        run=uuid.uuid4().hex[:8], folder=folder, on_outcome=on_outcome, on_block=on_block
    )
    return _run(work, slides, settings, record, limit_s=limit_s)


def _run(
    work: BlockWork[SlideT],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    record: Record,
    *,
    limit_s: float | None,
) -> BatchSummary:
    level = logging.getLogger(PACKAGE).getEffectiveLevel()
    terms = Terms(run=record.run, tries=settings.max_attempts, limit_s=limit_s, log_level=level)
    record.note("run", slides=len(slides), settings=settings.model_dump(mode="json"))
    with stop_signals() as stop:
        run = _Run(work, settings, record, stop)
        run.look_at(slides)
        try:
            if run.queue.unstarted:
                with closing(
                    make_executor(work, terms, settings, record, max_workers=run.queue.unstarted)
                ) as executor:
                    stop.at_once = not executor.can_kill_tasks
                    run.drive(executor)
                    stop.at_once = False
        except BaseException as error:
            record.note("stopped", reason=str(error) or type(error).__name__)
            raise
        return record.end([slide.id for slide in slides])


def make_executor(
    work: BlockWork[SlideT],
    terms: Terms,
    settings: BatchSettings,
    record: Record,
    *,
    max_workers: int,
) -> Executor:
    if settings.workers == 0:
        return LocalExecutor(work, terms)
    if not isinstance(work, WholeSlides):
        max_workers = 10**6  # one slide may have blocks for all of them
    return DaskExecutor(
        work,
        terms,
        settings,
        max_workers=max_workers,
        shared=record.folder.shared if record.folder else None,
    )


class _Run(Generic[SlideT]):
    """Hands out tasks, few at a time, and takes what they came to, until every slide has its
    outcome."""

    def __init__(
        self, work: BlockWork[SlideT], settings: BatchSettings, record: Record, stop: StopRequest
    ) -> None:
        self.work, self.settings, self.record, self.stop = work, settings, record, stop
        self.queue: TaskQueue[SlideT] = TaskQueue()

    def look_at(self, slides: Sequence[SlideT]) -> None:
        """Put the slides on the agenda, but for those that failed before and would fail again."""
        folder = self.record.folder
        failures = (
            folder.journal.failures(folder.stage)
            if folder is not None and not self.settings.retry_failed
            else {}
        )
        for slide in slides:
            before = failures.get(slide.id)
            identity = self.work.identity(slide) if before else None
            if before is not None and identity is not None and before.get("identity") == identity:
                reason = (
                    "not tried again, for it failed before (--retry-failed does): "
                    f"{before.get('reason')}"
                )
                self.record.known(SlideOutcome(slide=slide.id, status="failed", reason=reason))
            else:
                self.queue.add(slide)

    def drive(self, executor: Executor) -> None:
        """Raises ClusterError, StoreError and Stopped as `run_blocks` says."""
        stop_at, folder = None, self.record.folder
        while not self.queue.is_empty:
            if folder is not None and folder.lock.is_lost:
                raise ClusterError(
                    f"{folder.place}: another run took this one's lock away; this one stops"
                )
            if self.stop.number is not None:
                stop_at = stop_at or time.monotonic() + GRACE_S
                if not self.queue.running or time.monotonic() > stop_at:
                    raise Stopped(self.stop.number)
            else:
                self._hand_out(executor)
            for ended in executor.wait(WAIT_S):
                self._take(ended)

    def _hand_out(self, executor: Executor) -> None:
        capacity = executor.capacity
        while self.queue.running < capacity:
            task = self.queue.next_task()
            if task is None:
                if not self.queue.running:
                    raise RuntimeError(
                        "slides are left of which nothing is to be done: a fault of ours; please "
                        "report it"
                    )
                return
            executor.submit(task)

    def _take(self, ended: TaskResult) -> None:
        state = self.queue.take_back(ended.task)
        if state is None:
            return  # the slide failed while this was under way
        if isinstance(ended.result, LostTask):
            self._take_lost(state, ended.task, ended.result)
            return
        report = ended.result
        for logged in report.records:
            logging.getLogger(logged.name).handle(logged)
        state.seconds += report.seconds
        if isinstance(report.value, Failure):
            self._take_failure(state, ended.task, report.value)
        else:
            self._take_value(state, ended.task, report)

    def _take_value(self, state: SlideProgress[SlideT], task: Task[SlideT], report: Report) -> None:
        value, pace = report.value, self.record.pace
        if isinstance(value, SlideOutcome):
            is_news = task.step != "finish" and value.status != "skipped"
            pace.took(report.worker, report.seconds, value.counts if is_news else {})
            seconds = state.seconds if value.status != "skipped" else value.seconds
            self._close(replace(value, seconds=seconds), tries=report.tries)
        elif isinstance(value, BlockPlan):
            pace.took(report.worker, report.seconds, {})
            self.record.note(
                "plan", slide=task.slide.id, blocks=value.blocks, pending=len(value.pending)
            )
            if state.plans < self.settings.max_attempts:
                self.queue.add_blocks(state, value.pending)
            else:
                reason = f"what was written did not last ({state.plans} times)"
                self._take_failure(state, task, Failure(reason=reason))
        else:
            pace.took(report.worker, report.seconds, value)
            seconds = round(report.seconds, 3)
            self.record.block(
                task.slide.id,
                task.number,
                value,
                seconds=seconds,
                worker=report.worker,
                tries=report.tries,
            )
            self.queue.complete_block(state)

    def _take_failure(
        self, state: SlideProgress[SlideT], task: Task[SlideT], failure: Failure
    ) -> None:
        where = f" (block {task.number})" if task.step == "block" else ""
        if failure.disk_is_full and self.record.folder is not None:
            raise StoreError(
                f"{self.record.folder.place}: the disk is full ({task}: {failure.reason}); free "
                "some space and run the same command again to go on"
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

    def _take_lost(self, state: SlideProgress[SlideT], task: Task[SlideT], lost: LostTask) -> None:
        tries = self.settings.max_attempts
        is_tried_again = self.queue.retry(task, deaths=lost.deaths, max_attempts=tries)
        deaths = state.deaths[task.key]
        self.record.note(
            "lost", slide=task.slide.id, task=str(task), reason=lost.reason, deaths=deaths
        )
        if not is_tried_again:
            reason = (
                f"set aside after {deaths} of its workers died; at the last, in {task.step} "
                f"{task.number}, "
            )
            self._take_failure(state, task, Failure(reason=reason + lost.reason))
        elif lost.deaths:
            logger.warning("%s: %s; try %d of %d follows", task, lost.reason, deaths + 1, tries)

    def _close(self, outcome: SlideOutcome, *, tries: int = 1) -> None:
        state = self.queue.remove(outcome.slide)
        identity = (
            self.work.identity(state.slide)
            if state is not None and outcome.status == "failed"
            else None
        )
        self.record.outcome(
            outcome, tries=max(tries, state.attempts if state else 1), identity=identity
        )
