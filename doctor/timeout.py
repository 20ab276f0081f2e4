"""A time limit for work that may hang."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

__all__ = ["run_with_timeout"]

Result = TypeVar("Result")


def run_with_timeout(work: Callable[[], Result], *, seconds: float) -> Result | None:
    """Return the result of work, or raise its error; None if it takes longer.

    The work runs on its own daemon thread, which is abandoned after the time limit: a read that
    hangs ends with its process only, and does not keep the process from ending.
    """
    future: Future[Result] = Future()
    Thread(target=_fulfil, args=(future, work), daemon=True).start()
    wait([future], timeout=seconds)
    return future.result() if future.done() else None


def _fulfil(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # the caller's thread raises it again
        future.set_exception(error)
