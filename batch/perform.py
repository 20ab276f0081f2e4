"""One task in the process that does it: tried again where that may help, watched, its log lines
brought home."""

import copy
import errno
import faulthandler
import logging
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from dask.distributed import get_worker

from ..storage import GigaslideError
from .blocks import BlockWork, SlideT, Task

__all__ = ["PACKAGE", "Failure", "Report", "Terms", "perform", "perform_in_worker"]

logger = logging.getLogger(__name__)

PACKAGE = "gigaslide"  # the logger above all of ours
PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""Errors of disks and networks that may be gone a second later."""
FULL = {errno.ENOSPC, errno.EDQUOT}
BACK_OFF_S = 0.5  # before the second try; doubled before each further one


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task came to nothing."""

    reason: str
    traceback: str = ""
    disk_is_full: bool = False
    """Then no other task can end better."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a task came to, and where."""

    value: Any
    """What the method of `BlockWork` gave, or a `Failure`."""
    seconds: float
    worker: str = ""
    tries: int = 1
    records: list[logging.LogRecord] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What holds for every task of a run."""

    run: str
    tries: int
    limit_s: float | None
    log_level: int


def perform(work: BlockWork[SlideT], task: Task[SlideT], terms: Terms) -> Report:
    """Do a task here. Whatever it raises becomes a `Failure`; errors that may pass are met with
    patience first."""
    start = time.perf_counter()
    value, tried = None, 0
    while tried < terms.tries:
        tried += 1
        value, may_pass = _once(work, task)
        if not may_pass or tried == terms.tries:
            break
        pause = (
            BACK_OFF_S * 2 ** (tried - 1) * random.uniform(0.75, 1.25)
        )  # workers of one run come back apart
        logger.warning("%s: %s; tried again in %.1f s", task, value.reason, pause)
        time.sleep(pause)
    if isinstance(value, Failure) and tried > 1:
        value = replace(value, reason=f"{value.reason} ({tried} times)")
    return Report(
        value=value,
        seconds=time.perf_counter() - start,
        worker=f"{os.uname().nodename}",
        tries=tried,
    )


def _once(work: BlockWork[SlideT], task: Task[SlideT]) -> tuple[Any, bool]:
    """What the task gave or its failure, and whether that may pass."""
    try:
        if task.step == "plan":
            return work.plan(task.slide), False
        if task.step == "block":
            return work.block(task.slide, task.number), False
        return work.finish(task.slide), False
    except Exception as error:
        # The one place where everything is caught: a slide must never stop the others.
        reason = (
            str(error) if isinstance(error, GigaslideError) else f"{type(error).__name__}: {error}"
        )
        numbers = {cause.errno for cause in _causes(error) if isinstance(cause, OSError)}
        full = bool(numbers & FULL)
        failure = Failure(reason=reason, traceback=traceback.format_exc(), disk_is_full=full)
        return failure, bool(numbers & PASSING) and not full


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def perform_in_worker(work: BlockWork[SlideT], task: Task[SlideT], terms: Terms) -> Report:
    """Run a task in a Dask worker, which is killed when the task takes too long."""
    worker = get_worker()
    # The workers' own logger, which writes to a job's log file: it tells on which slide a dead one
    # was.
    logging.getLogger("distributed.worker.gigaslide").info("on %s", task)
    ours, kept = logging.getLogger(PACKAGE), _Kept()
    # Set with each task, for a worker that takes the place of a dead one starts anew.
    ours.setLevel(terms.log_level)
    ours.addHandler(kept)
    try:
        with _watched(terms.limit_s, alone=worker.state.nthreads == 1):
            report = perform(work, task, terms)
    finally:
        ours.removeHandler(kept)
    return Report(
        value=report.value,
        seconds=report.seconds,
        worker=worker.address,
        tries=report.tries,
        records=kept.records,
    )


@contextmanager
def _watched(limit_s: float | None, *, alone: bool) -> Iterator[None]:
    """End this process if the block takes longer than the limit.

    alone: no other task runs in this process. Then the watch is faulthandler's, which needs no
    Python: it also ends C code that never lets go of the interpreter, and writes where everything
    stood.
    """
    if limit_s is None:
        yield
    elif alone:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__ or sys.stderr)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    else:
        timer = threading.Timer(limit_s, os._exit, args=(1,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class _Kept(logging.Handler):
    """Records of one task, on their way home. Dask's own forwarding drops what comes as the cluster
    closes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        plain = copy.copy(record)  # what it was called with need not pickle
        plain.msg, plain.args = self.format(record), None
        plain.exc_info = plain.exc_text = plain.stack_info = None
        self.records.append(plain)
