"""Stopping on a signal: SIGTERM and the first SIGINT end what is in hand; the second SIGINT ends at
once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopRequest", "Stopped", "stop_signals"]

GRACE_S = 10.0
"""What tasks in workers get to end after a signal; batch systems kill 30 s after theirs."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop; what is done is on disk, and the same command goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_status(self) -> int:
        """As a shell tells of a process that ended by that signal."""
        return 128 + self.number


class StopRequest:
    """Whether a signal came; `at_once` has it raise `Stopped` wherever the main thread is."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at_once = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            # Outputs are whole or absent and workers die with this process: nothing needs tidying.
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nstopped at once\n")
            os._exit(128 + number)
        first = self.number is None
        self.number = self.number or number
        if self.at_once and first:
            raise Stopped(self.number)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Catch SIGTERM and SIGINT meanwhile. Beside the main thread, which alone hears signals, it
    does nothing."""
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
