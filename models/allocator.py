"""Let glibc keep the large buffers that a network frees and asks for again at every step."""

import ctypes
import sys

__all__ = ["keep_large_buffers"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 2**30


def keep_large_buffers() -> None:
    """Give buffers back to the kernel only above 1 GB; nothing happens where the C library is not
    glibc.

    By default every activation is mapped and unmapped anew, and the kernel clears its pages: a
    fifth of the time of a small network on a CPU (benchmarks/allocator.py). Resident memory then
    stays at its peak between steps.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, LARGE)
