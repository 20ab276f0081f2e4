"""Work for requests on threads: a few at once, a bounded queue, and none for clients that left."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
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
        self._limiter: CapacityLimiter | None = None
        self._turn: CapacityLimiter | None = None
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
            async with self._turns():
                if await request.is_disconnected():
                    raise ClientDisconnect()
                return await self._call(lambda: work(*args, **kwargs))

    async def finish(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call work on a thread, when it is its turn, though the client may leave; in a place."""
        async with self._turns():
            return await self._call(lambda: work(*args, **kwargs))

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

    def _turns(self) -> CapacityLimiter:
        if self._turn is None:  # it needs a running loop
            self._turn = CapacityLimiter(self.threads)
        return self._turn

    async def _call(self, work: Callable[[], T]) -> T:
        if self._limiter is None:
            self._limiter = CapacityLimiter(self.threads)
        self.started += 1
        return await to_thread.run_sync(work, limiter=self._limiter)
