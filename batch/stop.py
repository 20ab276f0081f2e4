"""Stop a run on SIGTERM or SIGINT. Tasks in progress may complete; a second SIGINT ends them."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopRequest", "Stopped", "stop_signals"]

GRACE_S = 10.0
"""Time that tasks in workers get after a signal; batch systems kill 30 s after theirs."""


class Stopped(KeyboardInterrupt):
    """A signal stopped the run. Completed work is on disk, and the same command continues."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_status(self) -> int:
        """Exit status of a process that the signal ended, as shells report it."""
        return 128 + self.number


class StopRequest:
    """Signal handler that keeps the number of the first signal.

    If `at_once` is true it also raises `Stopped` in the main thread, wherever that is.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.at_once = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            # Outputs are whole or absent and workers end with this process: nothing to clean up.
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nstopped at once\n")
            os._exit(128 + number)
        is_first = self.number is None
        self.number = self.number or number
        if self.at_once and is_first:
            raise Stopped(self.number)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Handle SIGTERM and SIGINT in this context. Outside the main thread, which alone receives
    signals, it does nothing."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
