"""Work for requests on threads: a few at once, a bounded queue, and none for clients that left."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.requests import ClientDisconnect, Request

from .answers import Problem

__all__ = ["WorkQueue"]

MOST_WAITING = 64

P = ParamSpec("P")
T = TypeVar("T")


class WorkQueue:
    """Threads that read slides; requests past the queue's length are refused."""

    def __init__(self, threads: int | None = None, most_waiting: int = MOST_WAITING) -> None:
        self.threads = threads or 2 * (os.cpu_count() or 1)
        self._most = self.threads + most_waiting
        self._threads = _Threads(self.threads)
        self._turns = asyncio.Semaphore(self.threads)
        self.inside = 0
        """Requests that wait or are worked for."""
        self.started = 0
        """Requests that were worked for."""

    async def run(
        self, request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call work on a thread, when it is this request's turn.

        Raises:
            Problem: too many requests wait.
            ClientDisconnect: the client left before its turn.
        """
        with self.place():
            waits = self._turns.locked()
            async with self._turns:
                if waits and await request.is_disconnected():
                    raise ClientDisconnect()
                return await self._call(partial(work, *args, **kwargs))

    async def finish(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call work on a thread, when it is its turn, even if the client has left. To be called
        inside `place`."""
        async with self._turns:
            return await self._call(partial(work, *args, **kwargs))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place in the queue, before the body of a request fills memory.

        Raises:
            Problem: too many requests wait.
        """
        if self.inside >= self._most:
            raise Problem(503, "too many requests at once; try again", headers={"Retry-After": "1"})
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def _call(self, work: Callable[[], T]) -> T:
        self.started += 1
        return await self._threads.call(work)


class _Threads:
    """Threads that work for an event loop. Results that are ready at about the same time wake the
    loop once, because to wake it takes as long as to read a stored tile."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="gigaslide-work")
        self._ready: deque[Callable[[], None]] = deque()
        self._wakes = False

    async def call(self, work: Callable[[], T]) -> T:
        """Call work on a thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._executor.submit(self._work, work, future, loop)
        return await future

    def _work(
        self, work: Callable[[], T], future: asyncio.Future[T], loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            tell = partial(future.set_result, work())
        except StopIteration as error:  # asyncio refuses to pass it on: the request would hang
            fault = RuntimeError("work on a thread raised StopIteration")
            fault.__cause__ = error
            tell = partial(future.set_exception, fault)
        except BaseException as error:
            tell = partial(future.set_exception, error)
        self._ready.append(partial(_tell, future, tell))
        if not self._wakes:
            self._wakes = True
            try:
                loop.call_soon_threadsafe(self._tell_all)
            except RuntimeError:  # the server has ended meanwhile
                self._wakes = False

    def _tell_all(self) -> None:
        self._wakes = False  # first: what is ready from now on wakes the loop again
        while self._ready:
            self._ready.popleft()()


def _tell(future: asyncio.Future[T], tell: Callable[[], None]) -> None:
    if not future.done():  # cancelled, where the server stops
        tell()
