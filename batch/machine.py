"""What this process may use of its machine: cores and memory, control groups (v1 and v2) and batch jobs considered."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

__all__ = ["machine_cores", "machine_memory"]

ROOT = Path("/")
UNLIMITED = 2**60  # v1 writes a number near 2**63 for no limit


def machine_cores(root: Path = ROOT) -> int:
    """Cores this process may run on: its affinity, or its control group's share of time if that is less; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([affinity, *(math.floor(quota) for quota in quotas)]))


def machine_memory(root: Path = ROOT) -> int:
    """Bytes this process and its children may use: the machine's memory, or the least limit of a group above it."""
    limits = [psutil.virtual_memory().total]
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and 0 < limit < UNLIMITED:
                limits.append(limit)
    in_job = os.environ.get("SLURM_MEM_PER_NODE", "")  # MB; Slurm without control groups kills above it all the same
    if in_job.isdecimal() and int(in_job):
        limits.append(int(in_job) * 2**20)
    return min(limits)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of all above it, for one controller."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controllers if controllers else mount
        base = base if base.is_dir() else mount / controller
        inner = PurePosixPath(path.lstrip("/"))
        # In a container the path may be the host's, which is not mounted here; the mount itself is then our group.
        for part in (inner, *inner.parents):
            if ".." not in part.parts:
                yield base / part


def _quota(folder: Path) -> float | None:
    """Cores' worth of time a group may use; None where nothing limits it."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
