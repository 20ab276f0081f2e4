"""Batches drawn ahead on threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from .sampler import Batch, Sampler

__all__ = ["prefetched"]


def prefetched(sampler: Sampler, *, start: int, stop: int, threads: int = 2) -> Iterator[Batch]:
    """Batches start to stop - 1 in order, drawn ahead on threads (decoding and OpenCV release the
    GIL)."""
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(
            pool.submit(sampler.draw, number)
            for number in range(start, min(stop, start + 2 * threads))
        )
        following = start + len(ahead)
        while ahead:
            batch = ahead.popleft().result()
            if following < stop:
                ahead.append(pool.submit(sampler.draw, following))
                following += 1
            yield batch
