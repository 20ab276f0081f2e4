"""Iterators that run in threads of their own, ahead of the loop that uses them."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["compute_ahead", "read_ahead"]

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()


def read_ahead(items: Iterator[T], *, ahead: int = 2) -> Generator[T]:
    """Yield the items in order; a thread prepares up to `ahead` of them meanwhile.

    An error in the thread is raised here. Nothing runs any more once this iterator is closed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        ready = deque(thread.submit(next, items, _END) for _ in range(ahead))
        while (item := ready.popleft().result()) is not _END:
            ready.append(thread.submit(next, items, _END))
            yield item


def compute_ahead(
    function: Callable[[T], R], items: Iterator[T], *, at_once: int
) -> Generator[tuple[T, R]]:
    """Yield each item with what function returns for it, in order; at_once threads compute it for
    the item that is yielded next and those after it.

    An error in a thread is raised here. Nothing runs any more once this iterator is closed.
    """
    with ThreadPoolExecutor(at_once, thread_name_prefix="compute-ahead") as threads:
        running: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            running.append((item, threads.submit(function, item)))
            if len(running) == at_once:
                done, result = running.popleft()
                yield done, result.result()
        while running:
            done, result = running.popleft()
            yield done, result.result()
