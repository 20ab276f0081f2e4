"""The tasks of a batch, handed out and taken back until every slide has its outcome."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Generic, Literal

from ..storage import ClusterError, ModelError, StoreError
from .blocks import PendingBlocks, SlideT, Task
from .cluster.dask_executor import DaskExecutor
from .driver import close_kept_slide
from .executor import Executor, LocalExecutor, LostTask
from .outcome import STEPS, BatchSummary, SlideOutcome, fold_reason
from .run_log import RunLog
from .scheduling import SlideProgress, TaskQueue
from .settings import BatchSettings
from .stop import GRACE_S, Stopped, StopRequest, stop_signals
from .task import PACKAGE, TaskFailure, TaskReport, TaskTerms, Work
from .thread_executor import ThreadExecutor

__all__ = ["BatchRun"]

logger = logging.getLogger(__name__)

MANY = 10**6
"""Maximum workers that can be busy at once where one slide has blocks for all."""
WAIT_S = 0.5
"""Maximum time until a signal or a lost lock is noticed between tasks."""

FailureIdentity = Callable[[SlideT], str | None]


def make_executor(
    work: Work[SlideT], terms: TaskTerms, settings: BatchSettings, log: RunLog, *, max_workers: int
) -> Executor:
    """Make the executor of one process alone, or of Dask's workers."""
    if settings.workers == 0:
        return LocalExecutor(work, terms)
    shared = log.folder.shared if log.folder else None
    return DaskExecutor(work, terms, settings, max_workers=max_workers, shared=shared)


class BatchRun(Generic[SlideT]):
    """Hands out tasks, few at a time, and takes their results, until every slide has an outcome."""

    def __init__(
        self,
        work: Work[SlideT],
        settings: BatchSettings,
        log: RunLog,
        identity: FailureIdentity[SlideT],
        *,
        first_step: Literal["slide", "prepare"],
        tasks_at_once: int = 1,
    ) -> None:
        self.work, self.settings, self.log, self.identity = work, settings, log, identity
        self.queue: TaskQueue[SlideT] = TaskQueue(first_step=first_step)
        self.is_in_blocks = first_step == "prepare"
        self.tasks_at_once = tasks_at_once
        self.stop = StopRequest()

    def run(self, slides: Sequence[SlideT], *, timeout_s: float | None) -> BatchSummary:
        terms = TaskTerms(
            run=self.log.run,
            max_attempts=self.settings.max_attempts,
            timeout_s=timeout_s,
            log_level=logging.getLogger(PACKAGE).getEffectiveLevel(),
            sync_blocks=bool(self.settings.cluster or self.settings.scheduler),
        )
        self.log.note("run", slides=len(slides), settings=self.settings.model_dump(mode="json"))
        with stop_signals() as self.stop:
            self._queue(slides)
            try:
                if self.queue.unstarted:
                    self._work_through(terms)
            except BaseException as error:
                self.log.note("stopped", reason=str(error) or type(error).__name__)
                raise
            return self.log.end([slide.id for slide in slides], is_in_threads=self._uses_threads)

    @property
    def _uses_threads(self) -> bool:
        return self.settings.workers == 0 and self.tasks_at_once > 1

    def _queue(self, slides: Sequence[SlideT]) -> None:
        """Queue the slides, except those that failed before and would fail again."""
        folder = self.log.folder
        failures = (
            folder.journal.failures(folder.stage)
            if folder is not None and not self.settings.retry_failed
            else {}
        )
        for slide in slides:
            before = failures.get(slide.id)
            identity = self.identity(slide) if before else None
            if before is not None and identity is not None and before.get("identity") == identity:
                reason = (
                    "failed in an earlier run and is not tried again (--retry-failed does): "
                    f"{before.get('reason')}"
                )
                self.log.keep(SlideOutcome(slide=slide.id, status="failed", reason=reason))
            else:
                self.queue.add(slide)

    def _work_through(self, terms: TaskTerms) -> None:
        max_workers = MANY if self.is_in_blocks else self.queue.unstarted
        if self._uses_threads:
            executor: Executor = ThreadExecutor(self.work, terms, threads=self.tasks_at_once)
        else:
            executor = make_executor(
                self.work, terms, self.settings, self.log, max_workers=max_workers
            )
        try:
            with closing(executor):
                self.stop.at_once = not executor.can_kill_tasks
                try:
                    self.drive(executor)
                finally:
                    close_kept_slide()
                self.stop.at_once = False
        except BaseException:
            self._take_rest(executor)
            raise

    def _take_rest(self, executor: Executor) -> None:
        """Log what tasks completed while the run was interrupted: it is on disk."""
        for task, report in executor.take_rest():
            if isinstance(report, TaskReport) and not isinstance(report.value, TaskFailure):
                with suppress(KeyboardInterrupt):  # of who asks again to stop
                    self._take(task, report)

    def drive(self, executor: Executor) -> None:
        """Hand out tasks and take results until every slide has its outcome; see `run_blocks`."""
        stop_at, folder = None, self.log.folder
        while not self.queue.is_empty:
            if folder is not None and folder.lock.is_lost:
                raise ClusterError(
                    f"{folder.location}: another run took this one's lock away; this one stops"
                )
            if self.stop.number is not None:
                stop_at = stop_at or time.monotonic() + GRACE_S
                if not self.queue.running or time.monotonic() > stop_at:
                    raise Stopped(self.stop.number)
            else:
                self._hand_out(executor)
            ended = executor.wait(WAIT_S)
            if ended is not None:
                self._take(*ended)

    def _hand_out(self, executor: Executor) -> None:
        capacity = executor.capacity
        while self.queue.running < capacity:
            task = self.queue.next_task()
            if task is None:
                if not self.queue.running:
                    raise RuntimeError(
                        "slides are left but no task: an error of gigaslide; please report it"
                    )
                return
            executor.submit(task)

    def _take(self, task: Task[SlideT], report: TaskReport | LostTask) -> None:
        state = self.queue.take_back(task)
        if state is None:
            return  # the slide failed meanwhile
        if isinstance(report, LostTask):
            self._take_lost(state, task, report)
            return
        for logged in report.records:
            logging.getLogger(logged.name).handle(logged)
        state.seconds += report.seconds
        if isinstance(report.value, TaskFailure):
            self._take_failure(state, task, report.value)
        else:
            self._take_value(state, task, report)

    def _take_value(
        self, state: SlideProgress[SlideT], task: Task[SlideT], report: TaskReport
    ) -> None:
        value, pace = report.value, self.log.pace
        of_step = {STEPS[task.step]: report.seconds} if task.step in STEPS else {}
        if isinstance(value, SlideOutcome):
            is_news = task.step != "assemble" and value.status != "skipped"
            counts = value.counts if is_news else {}
            pace.add(report.worker, report.seconds, counts, parts=of_step)
            seconds = state.seconds if value.status != "skipped" else value.seconds
            self._close(replace(value, seconds=seconds), attempts=report.attempts)
        elif isinstance(value, PendingBlocks):
            pace.add(report.worker, report.seconds, {}, parts=of_step)
            self.log.plan(task.slide.id, value, seconds=report.seconds)
            if state.plans < self.settings.max_attempts:
                self.queue.add_blocks(state, value.pending)
            else:
                reason = f"written files did not last ({state.plans} times)"
                self._take_failure(state, task, TaskFailure(reason=reason))
        else:
            pace.add(report.worker, report.seconds, value.counts, parts=value.seconds)
            seconds = round(report.seconds, 3)
            self.log.block(
                task.slide.id,
                task.number,
                value.counts,
                seconds=seconds,
                loading=round(value.seconds.get("loading", 0.0), 3),
                worker=report.worker,
                attempts=report.attempts,
            )
            self.queue.complete_block(state)

    def _take_failure(
        self, state: SlideProgress[SlideT], task: Task[SlideT], failure: TaskFailure
    ) -> None:
        where = f" (block {task.number})" if task.step == "block" else ""
        if failure.disk_is_full and self.log.folder is not None:
            raise StoreError(
                f"{self.log.folder.location}: the disk is full ({task}: {failure.reason}); free "
                "some space and run the same command again to continue"
            )
        if failure.model_is_unusable:
            raise ModelError(failure.reason)
        logger.warning(
            "%s failed%s: %s",
            task.slide.id,
            where,
            failure.reason,
            extra={"once": f"failed: {fold_reason(task.slide.id, failure.reason)}"},
        )
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
        most = self.settings.max_attempts
        is_retried = self.queue.retry(task, deaths=lost.deaths, max_attempts=most)
        deaths = state.deaths[task.key]
        self.log.note(
            "lost", slide=task.slide.id, task=str(task), reason=lost.reason, deaths=deaths
        )
        if not is_retried:
            attempts = f"after {deaths or state.losses} attempts"
            reason = f"given up {attempts} ({task.step} {task.number}): {lost.reason}"
            self._take_failure(state, task, TaskFailure(reason=reason))
        elif lost.deaths:
            logger.warning("%s: %s; attempt %d of %d follows", task, lost.reason, deaths + 1, most)

    def _close(self, outcome: SlideOutcome, *, attempts: int = 1) -> None:
        state = self.queue.remove(outcome.slide)
        is_failure = state is not None and outcome.status == "failed"
        identity = self.identity(state.slide) if state is not None and is_failure else None
        attempts = max(attempts, state.attempts if state else 1)
        self.log.outcome(outcome, attempts=attempts, identity=identity)
