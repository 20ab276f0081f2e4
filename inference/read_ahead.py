"""An iterator that runs in a thread of its own, ahead of the loop that uses it."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["read_ahead"]

T = TypeVar("T")

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
