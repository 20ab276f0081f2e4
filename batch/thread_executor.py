"""Executor that runs a few tasks at the same time, in threads of this process."""

import ctypes
import threading
import time
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from .blocks import Task
from .driver import close_kept_slide
from .executor import Ended
from .stop import GRACE_S
from .task import TaskTerms, Work, run_task

__all__ = ["ThreadExecutor"]

IDLE_S = 0.1  # in which a thread without a task ends


class ThreadExecutor:
    """Runs tasks in threads, each of which keeps a slide of its own open.

    For work that spends most of its time outside Python, such as prediction of small slides.
    """

    can_kill_tasks = False

    def __init__(self, work: Work[Any], terms: TaskTerms, *, threads: int) -> None:
        self.capacity = threads
        self._work, self._terms = work, terms
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._ended: SimpleQueue[Ended | BaseException] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run_tasks, args=(number,), daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task[Any]) -> None:
        self._tasks.put(task)

    def wait(self, timeout_s: float) -> Ended | None:
        try:
            ended = self._ended.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def close(self) -> None:
        """End the threads. A task that still runs is interrupted, as by Ctrl+C, once the library
        that it is in returns."""
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout=IDLE_S)
            if thread.is_alive() and thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
                )
        deadline = time.monotonic() + GRACE_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def take_rest(self) -> list[Ended]:
        rest: list[Ended] = []
        with suppress(Empty):
            while True:
                if not isinstance(ended := self._ended.get_nowait(), BaseException):
                    rest.append(ended)
        return rest

    def _run_tasks(self, number: int) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                report = run_task(self._work, task, self._terms)
                name = f"{report.worker}, thread {number + 1}"
                self._ended.put((task, replace(report, worker=name)))
        except BaseException as error:  # not of the task: that is a failure of its slide
            self._ended.put(error)
        finally:
            close_kept_slide()
