"""Let glibc keep the large buffers that a network and its input free and ask for again at every
step."""

import ctypes
import os
import sys

__all__ = ["keep_large_buffers"]

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h
NEVER = -1


def keep_large_buffers() -> None:
    """Give no buffers back to the kernel; nothing happens where the C library is not glibc.

    By default every activation is mapped and unmapped anew, and the kernel clears its pages: a
    fifth of the time of a small network on a CPU (benchmarks/training/allocator.py), and up to half
    of that of drawing its batches. Resident memory then stays at its peak between steps; one heap a
    core, not eight, bounds what the threads that draw batches leave behind.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, os.cpu_count() or 1)
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
