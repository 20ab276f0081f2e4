"""Work that may hang, given up after a time."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from threading import Thread
from typing import TypeVar

__all__ = ["within"]

Made = TypeVar("Made")


def within(seconds: float, work: Callable[[], Made]) -> Made | None:
    """What work returns or raises; None where it takes longer.

    It runs on a thread of its own, which is then left behind: a read that never returns ends only
    with its process, and does not keep that from ending.
    """
    future: Future[Made] = Future()
    Thread(target=_settle, args=(future, work), daemon=True).start()
    wait_for([future], timeout=seconds)
    return future.result() if future.done() else None


def _settle(future: Future[Made], work: Callable[[], Made]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # raised again where the result is asked for
        future.set_exception(error)
