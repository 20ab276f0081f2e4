"""Seconds and memory of a program, as figures by name."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

Figures = dict[str, float]


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that ended."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


@contextmanager
def measured(figures: Figures) -> Iterator[None]:
    start, cpu = time.perf_counter(), cpu_seconds()
    yield
    figures |= {"seconds": time.perf_counter() - start, "cpu": cpu_seconds() - cpu}
