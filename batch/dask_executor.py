"""The engine of worker processes: tasks go to Dask's workers, and a death of one is told by the
task that met it."""

import logging
import math
import queue
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dask.distributed import Client, Future, LocalCluster
from distributed.scheduler import KilledWorker

from ..storage import ClusterError, format_count
from .blocks import Task
from .clusters import dask_client, forget_refused
from .executor import LostTask, TaskResult
from .settings import BatchSettings
from .task import TaskFailure, TaskReport, TaskTerms, Work, run_task_in_worker, topic_of

__all__ = ["DaskExecutor"]

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # between looks at the scheduler's health
REFUSALS = 3  # of a queueing system that never took a job
FETCH_S = 20.0  # for a result that is known to be there


class DaskExecutor:
    """Tasks on Dask's workers.

    Raises:
        ClusterError: no scheduler, or one this client cannot talk to; from `submit` and `wait`:
        none, or no worker, for
            too long.
    """

    can_kill_tasks = True

    def __init__(
        self,
        work: Work[Any],
        terms: TaskTerms,
        settings: BatchSettings,
        *,
        at_most: int,
        shared: Path | None,
    ) -> None:
        self._work, self._terms, self._settings = work, terms, settings
        self._queue: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._flying: dict[str, tuple[Task[Any], Future]] = {}
        self._attempts = 0
        self._has_done = False
        self._refusals, self._were_taken, self._ask_at = 0, False, 0.0
        self._began: dict[str, tuple[str, float]] = {}  # task: worker, when by its clock
        self._explained: set[str] = (
            set()
        )  # workers whose death a task that had begun on them answers for
        self._threads = 0
        self._looked = -LOOK_S
        self._alive = self._told = time.monotonic()
        self._stack = ExitStack()
        self._client, self._wanted = self._stack.enter_context(
            dask_client(settings, at_most=at_most, shared=shared)
        )
        # It would tell of each death of a worker beside the run, which counts them.
        told = logging.getLogger("distributed.scheduler")
        self._stack.callback(told.setLevel, told.level)
        told.setLevel(logging.CRITICAL)
        self._client.subscribe_topic(topic_of(terms.run), self._hear)

    @property
    def client(self) -> Client:
        return self._client

    @property
    def capacity(self) -> int:
        self._look()
        is_growing = (
            self._settings.min_jobs is not None
        )  # then what waits is what calls for more workers
        threads = max(self._threads, self._wanted) if is_growing else max(1, self._threads)
        # Some wait at the scheduler: a free worker has its next task before we have heard of the
        # last.
        return math.ceil(1.5 * threads)

    def submit(self, task: Task[Any]) -> None:
        self._attempts += 1
        try:
            future = self._client.submit(
                run_task_in_worker,
                self._work,
                task,
                self._terms,
                # A tuple's first part names the group: tasks of a group that is larger than twice
                # the threads wait at the scheduler. What waits in a worker that dies is tried
                # again, see `_lost`.
                key=(topic_of(self._terms.run), task.key, self._attempts),
                pure=False,
            )
        except Exception as error:
            # It closes itself, at any moment, when a scheduler that died does not come back.
            if self._client.status == "closed":
                raise self._gone() from error
            raise
        self._flying[str(future.key)] = task, future
        future.add_done_callback(self._queue.put)

    def wait(self, seconds: float) -> Sequence[TaskResult]:
        self._look()
        ended: list[TaskResult] = []
        deadline = time.monotonic() + seconds
        while not ended and self._flying and (left := deadline - time.monotonic()) > 0:
            try:
                future = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if str(future.key) in self._flying:
                task, _ = self._flying.pop(str(future.key))
                ended.append(TaskResult(task=task, result=self._result(task, future)))
        return ended

    def call_off(self) -> Sequence[Task[Any]]:
        waiting = {
            key: task for key, (task, _) in self._flying.items() if task.key not in self._began
        }
        if waiting:
            self._cancel([self._flying.pop(key)[1] for key in waiting])
        return list(waiting.values())

    def close(self) -> None:
        self._cancel([future for _, future in self._flying.values()])
        self._flying.clear()
        self._stack.close()

    def _cancel(self, futures: Sequence[Future]) -> None:
        try:
            self._client.cancel(futures, force=True)
        except Exception as error:  # a scheduler that is gone: nothing is left to cancel
            logger.debug("%s: nothing could be called off: %r", self._place(), error)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        self._began[message["key"]] = message["worker"], message["at"]

    def _result(self, task: Task[Any], future: Future) -> TaskReport | LostTask:
        try:
            if future.status == "error":
                error: Any = future.exception(timeout=FETCH_S)
                if isinstance(error, KilledWorker):
                    return self._lost(task, error)
                if not self._has_done and is_unlike(error):
                    raise ClusterError(
                        f"{self._place()}: the scheduler or a worker there cannot take our tasks "
                        f"({error!r}); install the same gigaslide there as here"
                    )
                return TaskReport(
                    value=TaskFailure(reason=f"its worker could not do it: {error!r}"), seconds=0.0
                )
            report = future.result(timeout=FETCH_S)
            self._has_done = True
            return report
        except ClusterError:
            raise
        except Exception as error:
            # Called off (CancelledError), or its worker died between the work and the telling:
            # nobody's fault.
            return LostTask(deaths=0, reason=f"its result was lost: {error!r}")
        finally:
            self._began.pop(task.key, None)

    def _lost(self, task: Task[Any], error: KilledWorker) -> LostTask:
        worker = error.last_worker.address
        began = self._began.get(task.key)
        if began is not None and began[0] == worker:
            self._explained.add(worker)
            limit, lasted = self._terms.limit_s, time.time() - began[1]
            if limit is not None and lasted >= 0.9 * limit:  # clocks of machines differ a little
                return LostTask(
                    deaths=1, reason=f"it took longer than {limit:g} s and was killed on {worker}"
                )
        elif worker in self._explained or any(at == worker for at, _ in self._began.values()):
            return LostTask(deaths=0, reason=f"it waited on {worker}, which died")
        reason = f"its worker died ({worker}: killed, out of memory or crashed)"
        return LostTask(deaths=error.allowed_failures + 1, reason=reason)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        client, patience = self._client, self._settings.worker_timeout
        if client.status == "closed":
            raise self._gone()
        self._threads, answers = 0, False
        if client.status == "running":
            try:
                scheduler: Any = client.scheduler
                found: Any = client.sync(scheduler.identity, n_workers=0, callback_timeout=10)
                self._threads, answers = found["total_threads"], True
            except Exception as error:  # whatever a dying connection raises
                logger.debug("%s: %r", self._place(), error)
        if self._settings.cluster and now >= self._ask_at:
            self._ask_again(now)
        if isinstance(client.cluster, LocalCluster) and self._threads < self._wanted:
            client.cluster.scale(self._wanted)  # brings back those whose nannies gave up
        if self._threads:
            self._alive = self._told = now
        elif now - self._alive > patience:
            what = "no worker" if answers else "no scheduler"
            raise ClusterError(
                f"{self._place()}: {what} for {patience:.0f} s (--worker-timeout-s); {_GO_ON}"
            )
        elif now - self._told > min(600.0, patience / 2):
            self._told = now
            logger.warning("%s: no worker for %.0f s; waiting on", self._place(), now - self._alive)

    def _ask_again(self, now: float) -> None:
        """Have jobs that were refused asked for again, ever more slowly: a controller may be busy,
        a quota used up.

        Raises:
            ClusterError: none was ever taken.
        """
        found: Any = self._client.sync(forget_refused, self._client.cluster)
        reasons, taken = found
        self._were_taken |= taken > 0
        if not reasons:
            return
        self._refusals += 1
        if self._refusals >= REFUSALS and not self._were_taken:
            raise ClusterError(
                f"{self._place()} takes no job ({reasons[0]}); see --queue, --account and the "
                "resources"
            )
        pause = min(300.0, 5.0 * 2**self._refusals)
        self._ask_at = now + pause
        jobs = format_count(len(reasons), "job")
        logger.warning(
            "%s refused %s (%s); asked again, at most every %.0f s",
            self._place(),
            jobs,
            reasons[0],
            pause,
        )

    def _gone(self) -> ClusterError:
        return ClusterError(f"{self._place()}: the scheduler is gone; {_GO_ON}")

    def _place(self) -> str:
        return self._settings.scheduler or self._settings.cluster or "this machine"


def is_unlike(error: BaseException | None) -> bool:
    """Whether a task never began, for its code is not to be had there; what it raises itself,
    `run_task` catches."""
    while error is not None and not isinstance(error, ImportError | AttributeError):
        error = error.__cause__
    return error is not None


_GO_ON = "what is done is on disk, run the same command again to go on"
