"""Retries: which errors are temporary, and the one loop that waits and tries again."""

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

__all__ = [
    "OBJECT_STORE_RETRIES",
    "back_off_s",
    "call_with_retries",
    "is_disk_full",
    "is_temporary",
]

TEMPORARY = {
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
"""Error numbers of disks and networks that may be gone a second later."""
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
FIRST_PAUSE_S = 0.5
OBJECT_STORE_RETRIES: dict[str, Any] = {
    "max_retries": 8,
    "initial_delay": "1s",
    "max_delay": "32s",
}
"""Retries inside TensorStore: two minutes. Its default of a quarter of an hour outlasts a task's
time limit, and the worker would be killed as hanging."""

T = TypeVar("T")


def is_temporary(error: BaseException) -> bool:
    """True if the error or one of its causes may be gone a second later. A full disk is not."""
    return bool(_numbers(error) & TEMPORARY) and not is_disk_full(error)


def is_disk_full(error: BaseException) -> bool:
    return bool(_numbers(error) & DISK_FULL)


def back_off_s(attempt: int, *, first_s: float, longest_s: float = 300.0) -> float:
    """Pause after that many failed attempts (s): doubled each time, with a quarter of jitter so
    that workers come back apart."""
    return min(longest_s, first_s * 2 ** (attempt - 1)) * random.uniform(0.75, 1.25)


def call_with_retries(
    call: Callable[[], T],
    *,
    attempts: int,
    is_temporary: Callable[[Exception], bool] = is_temporary,
    on_retry: Callable[[Exception, float], object] | None = None,
) -> T:
    """Return the result of call; call again after a temporary error, up to that many attempts.

    on_retry receives the error and the pause before the next attempt (s).

    Raises:
        Exception: the error of the last attempt.
    """
    for attempt in range(1, attempts):
        try:
            return call()
        except Exception as error:
            if not is_temporary(error):
                raise
            pause_s = back_off_s(attempt, first_s=FIRST_PAUSE_S)
            if on_retry is not None:
                on_retry(error, pause_s)
            time.sleep(pause_s)
    return call()


def _numbers(error: BaseException) -> set[int | None]:
    return {cause.errno for cause in _causes(error) if isinstance(cause, OSError)}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
