"""One task in the process that does it: retried, watched, with its log records returned."""

import copy
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from dask.distributed import get_worker

from ..storage import GigaslideError, ModelError, call_with_retries, is_disk_full
from .blocks import BlockWork, SlideT, Task
from .driver import BlockDriver
from .outcome import SlideOutcome

__all__ = [
    "PACKAGE",
    "TaskFailure",
    "TaskReport",
    "TaskTerms",
    "Work",
    "run_task",
    "run_task_in_worker",
]

logger = logging.getLogger(__name__)

PACKAGE = "gigaslide"
"""Logger above all of ours."""

Work = BlockWork[SlideT] | Callable[[SlideT], SlideOutcome]
"""Work in blocks, or work that takes a slide whole."""


@dataclass(frozen=True, kw_only=True)
class TaskFailure:
    """Reason why a task gave no result."""

    reason: str
    traceback: str = ""
    disk_is_full: bool = False
    """Then no other task can end better."""
    model_is_unusable: bool = False
    """The network of the run cannot be loaded: no other task can end better."""


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """Result of a task, and which worker gave it."""

    value: Any
    """`PendingBlocks`, `BlockRecord`, `SlideOutcome` or `TaskFailure`."""
    seconds: float
    worker: str = ""
    attempts: int = 1
    records: list[logging.LogRecord] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TaskTerms:
    """Settings that all tasks of a run share."""

    run: str
    max_attempts: int
    """Maximum attempts after temporary errors."""
    timeout_s: float | None
    log_level: int
    sync_blocks: bool = False
    """See `BlockDriver`."""


def run_task(work: Work[SlideT], task: Task[SlideT], terms: TaskTerms) -> TaskReport:
    """Do a task here. An exception becomes a `TaskFailure`, a temporary one only after retries."""
    start, attempts = time.perf_counter(), 1

    def on_retry(error: Exception, pause_s: float) -> None:
        nonlocal attempts
        attempts += 1
        logger.warning("%s: %s; next attempt in %.1f s", task, _reason(error), pause_s)

    try:
        value = call_with_retries(
            lambda: _do(work, task, terms), attempts=terms.max_attempts, on_retry=on_retry
        )
    except Exception as error:
        # The one place where everything is caught: a slide must never stop the others.
        value = TaskFailure(
            reason=_reason(error) + (f" ({attempts} times)" if attempts > 1 else ""),
            traceback=traceback.format_exc(),
            disk_is_full=is_disk_full(error),
            model_is_unusable=isinstance(error, ModelError),
        )
    seconds = time.perf_counter() - start
    return TaskReport(value=value, seconds=seconds, worker=os.uname().nodename, attempts=attempts)


def _do(work: Any, task: Task[Any], terms: TaskTerms) -> Any:
    if task.step == "slide":
        return work(task.slide)
    driver = BlockDriver(work, run=terms.run, sync_blocks=terms.sync_blocks)
    if task.step == "block":
        return driver.block(task.slide, task.number)
    return driver.prepare(task.slide) if task.step == "prepare" else driver.assemble(task.slide)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, GigaslideError) else f"{type(error).__name__}: {error}"


def run_task_in_worker(work: Work[SlideT], task: Task[SlideT], terms: TaskTerms) -> TaskReport:
    """Do a task in a Dask worker, which is killed if the task takes too long."""
    worker = get_worker()
    # The workers' own logger writes to a job's log file, which then shows on which slide a worker
    # died.
    logging.getLogger("distributed.worker.gigaslide").info("on %s", task)
    ours, collector = logging.getLogger(PACKAGE), _RecordCollector()
    # Set with each task, because a worker that replaces a dead one has the default level.
    ours.setLevel(terms.log_level)
    ours.addHandler(collector)
    try:
        with _time_limit(terms.timeout_s, is_alone=worker.state.nthreads == 1):
            report = run_task(work, task, terms)
    finally:
        ours.removeHandler(collector)
    return replace(report, worker=worker.address, records=collector.records)


@contextmanager
def _time_limit(timeout_s: float | None, *, is_alone: bool) -> Iterator[None]:
    """End this process if the block takes longer than the limit.

    is_alone: no other task runs in this process. Then faulthandler watches, which needs no Python:
    it also ends C code that never releases the interpreter, and prints where every thread stood.
    """
    if timeout_s is None:
        yield
    elif is_alone:
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=sys.__stderr__ or sys.stderr)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    else:
        timer = threading.Timer(timeout_s, os._exit, args=(1,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class _RecordCollector(logging.Handler):
    """Log records of one task, to be returned with its report: Dask's own forwarding loses what
    comes while the cluster closes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        plain = copy.copy(record)  # its arguments may not pickle
        plain.msg, plain.args = self.format(record), None
        plain.exc_info = plain.exc_text = plain.stack_info = None
        self.records.append(plain)
