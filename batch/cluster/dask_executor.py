"""Executor on Dask workers. Each worker runs one task at a time, so the death of a worker is
counted against the task that it ran."""

import logging
import queue
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dask.distributed import Future, LocalCluster
from distributed.scheduler import KilledWorker

from ...storage import ClusterError, back_off_s, format_count
from ..blocks import Task
from ..executor import Ended, LostTask
from ..settings import BatchSettings
from ..task import TaskFailure, TaskReport, TaskTerms, Work, run_task_in_worker
from .clients import dask_client
from .job_cluster import withdraw_refused_jobs

__all__ = ["DaskExecutor"]

logger = logging.getLogger(__name__)

CHECK_S = 2.0  # between checks of scheduler and workers
CHECK_SOON_S = 0.5  # while workers are missing
MAX_REFUSALS = 3  # of a queueing system that has not accepted any job
RESUBMIT_S = 5.0  # doubled with every refusal
FETCH_TIMEOUT_S = 20.0  # for a result that is in a worker's memory
RESUME_ADVICE = (
    "completed blocks are on disk; run the same command, or send the same job, again to continue"
)


@dataclass(frozen=True, kw_only=True)
class _Submitted:
    task: Task[Any]
    future: Future
    at: float
    """Monotonic time (s)."""


class DaskExecutor:
    """Tasks on the Dask workers that the settings ask for.

    Raises:
        ClusterError: no usable scheduler; from `capacity`, `submit` and `wait`: no scheduler or no
            worker for longer than the settings allow.
    """

    can_kill_tasks = True

    def __init__(
        self,
        work: Work[Any],
        terms: TaskTerms,
        settings: BatchSettings,
        *,
        max_workers: int,
        shared: Path | None,
    ) -> None:
        self._work, self._terms, self._settings = work, terms, settings
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._submitted: dict[str, _Submitted] = {}
        self._submissions = 0
        self._has_result = False
        self._refusals, self._is_any_job_accepted, self._resubmit_at = 0, False, 0.0
        self._workers = 0
        self._check_at = 0.0
        self._alive_at = self._warned_at = time.monotonic()
        self._stack = ExitStack()
        self.client, self._expected_workers = self._stack.enter_context(
            dask_client(settings, max_workers=max_workers, shared=shared)
        )
        # Dask would log each death of a worker, and each worker that starts late on a busy machine
        # with a traceback of Tornado. The run reports both itself.
        for name in ("distributed.scheduler", "tornado.application"):
            dask_logger = logging.getLogger(name)
            self._stack.callback(dask_logger.setLevel, dask_logger.level)
            dask_logger.setLevel(logging.CRITICAL)

    @property
    def capacity(self) -> int:
        """Number of workers: with one task each, a dead worker ran the task that it is blamed on,
        and a task starts when it is submitted.

        While jobs are added there are more tasks than workers, because Dask adds workers for tasks
        that wait; its scheduler keeps these.
        """
        self._check()
        if self._settings.min_jobs is not None:
            return max(self._workers, self._expected_workers)
        return self._workers

    def submit(self, task: Task[Any]) -> None:
        self._submissions += 1
        try:
            future = self.client.submit(
                run_task_in_worker,
                self._work,
                task,
                self._terms,
                # The first part names a group. The scheduler keeps waiting tasks of a group that
                # is larger than twice the number of threads.
                key=(f"gigaslide-{self._terms.run}", task.key, self._submissions),
                pure=False,
            )
        except Exception as error:
            # A client closes itself some time after its scheduler died.
            if self.client.status == "closed":
                raise self._scheduler_is_gone() from error
            raise
        self._submitted[str(future.key)] = _Submitted(task=task, future=future, at=time.monotonic())
        future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> Ended | None:
        self._check()
        try:
            future = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return None
        submitted = self._submitted.pop(str(future.key))
        return submitted.task, self._result(submitted)

    def close(self) -> None:
        futures = [submitted.future for submitted in self._submitted.values()]
        try:
            self.client.cancel(futures, force=True)
        except Exception as error:  # a scheduler that is gone
            logger.debug("%s: tasks could not be cancelled: %r", self._address(), error)
        try:
            self._stack.close()
        except TimeoutError:  # a busy machine; results are on disk, and workers end with us
            logger.warning("%s: workers did not end in time", self._address())

    def take_rest(self) -> list[Ended]:
        return []  # reports are fetched from workers, which are gone

    def _result(self, submitted: _Submitted) -> TaskReport | LostTask:
        future = submitted.future
        try:
            if future.status == "error":
                error: Any = future.exception(timeout=FETCH_TIMEOUT_S)
                if isinstance(error, KilledWorker):
                    return self._lost(submitted, error)
                return self._failure(error)
            report = future.result(timeout=FETCH_TIMEOUT_S)
        except ClusterError:
            raise
        except Exception as error:  # cancelled, or the worker died before it sent the result
            return LostTask(deaths=0, reason=f"its result was lost: {error!r}")
        self._has_result = True
        return report

    def _failure(self, error: BaseException) -> TaskReport:
        """Report an error that Dask raised; errors of the task itself are part of its report."""
        cause = error.__cause__ or error
        if not self._has_result:
            raise ClusterError(
                f"{self._address()}: the scheduler or a worker cannot run tasks ({cause!r}); "
                "install the same gigaslide there as here"
            )
        return TaskReport(
            value=TaskFailure(reason=f"a worker could not run it: {cause!r}"), seconds=0.0
        )

    def _lost(self, submitted: _Submitted, error: KilledWorker) -> LostTask:
        self._check_at = 0.0  # there are fewer workers now
        worker, limit_s = error.last_worker.address, self._terms.timeout_s
        has_waited = self._settings.min_jobs is not None  # then its start is not known
        if limit_s is None or time.monotonic() - submitted.at < limit_s:
            reason = f"its worker died ({worker}: killed, out of memory or crashed)"
        elif has_waited:
            reason = f"its worker died ({worker}: out of memory, crashed or over {limit_s:g} s)"
        else:
            reason = f"it took longer than {limit_s:g} s and was killed on {worker}"
        return LostTask(deaths=error.allowed_failures + 1, reason=reason)

    def _check(self) -> None:
        """Count the workers every few seconds, and replace those that are gone.

        Raises:
            ClusterError: no scheduler or no worker for too long; no job was accepted.
        """
        now = time.monotonic()
        if now < self._check_at:
            return
        client = self.client
        if client.status == "closed":
            raise self._scheduler_is_gone()
        self._workers, answers = 0, False
        if client.status == "running":
            try:
                scheduler: Any = client.scheduler
                threads: Any = client.sync(scheduler.ncores, callback_timeout=10)
                self._workers, answers = len(threads), True
            except Exception as error:  # whatever a broken connection raises
                logger.debug("%s: %r", self._address(), error)
        is_complete = self._workers >= self._expected_workers
        self._check_at = now + (CHECK_S if is_complete else CHECK_SOON_S)
        if self._settings.cluster and now >= self._resubmit_at:
            self._resubmit(now)
        if isinstance(client.cluster, LocalCluster) and not is_complete:
            client.cluster.scale(self._expected_workers)  # replaces workers that left for good
        self._check_timeout(now, "no worker" if answers else "no scheduler")

    def _check_timeout(self, now: float, missing: str) -> None:
        timeout_s = self._settings.worker_timeout
        if self._workers:
            self._alive_at = self._warned_at = now
        elif now - self._alive_at > timeout_s:
            raise ClusterError(
                f"{self._address()}: {missing} for {timeout_s:.0f} s (--worker-timeout-s); "
                f"{RESUME_ADVICE}"
            )
        elif now - self._warned_at > min(600.0, timeout_s / 2):
            self._warned_at = now
            waited_s = now - self._alive_at
            logger.warning("%s: %s for %.0f s; still waiting", self._address(), missing, waited_s)

    def _resubmit(self, now: float) -> None:
        """Submit refused jobs again, after longer and longer pauses: a controller may be busy, or
        a quota used up.

        Raises:
            ClusterError: no job was ever accepted.
        """
        found: Any = self.client.sync(withdraw_refused_jobs, self.client.cluster)
        reasons, accepted = found
        self._is_any_job_accepted |= accepted > 0
        if not reasons:
            return
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS and not self._is_any_job_accepted:
            raise ClusterError(
                f"{self._address()} accepts no job ({reasons[0]}); check --queue, --account and "
                "the resources"
            )
        pause_s = back_off_s(self._refusals + 1, first_s=RESUBMIT_S)
        self._resubmit_at = now + pause_s
        logger.warning(
            "%s refused %s (%s); submitted again, at most every %.0f s",
            self._address(),
            format_count(len(reasons), "job"),
            reasons[0],
            pause_s,
        )

    def _scheduler_is_gone(self) -> ClusterError:
        return ClusterError(f"{self._address()}: the scheduler is gone; {RESUME_ADVICE}")

    def _address(self) -> str:
        return self._settings.scheduler or self._settings.cluster or "this machine"
