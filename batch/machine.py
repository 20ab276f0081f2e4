"""What this process may use of its machine: cores and memory, control groups (v1 and v2) and batch
jobs considered."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

__all__ = ["available_cores", "available_memory"]

ROOT = Path("/")
UNLIMITED = 2**60  # v1 writes a number near 2**63 for no limit


def available_cores(root: Path = ROOT) -> int:
    """Cores this process may run on: the least of its affinity, its control group's share and its
    Slurm job's."""
    affinity = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    of_job = (
        _of_slurm("CPUS_ON_NODE") or affinity
    )  # Slurm without control groups binds nobody to them
    return max(1, min([affinity, of_job, *(math.floor(quota) for quota in quotas)]))


def available_memory(root: Path = ROOT) -> int:
    """Bytes this process and its children may use: the machine's memory, or the least limit of a
    group above it."""
    limits = [psutil.virtual_memory().total]
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and 0 < limit < UNLIMITED:
                limits.append(limit)
    # MB; Slurm without control groups kills above them all the same.
    for limit in (_of_slurm("MEM_PER_NODE"), _of_slurm("MEM_PER_CPU") * _of_slurm("CPUS_ON_NODE")):
        if limit:
            limits.append(limit * 2**20)
    return min(limits)


def _of_slurm(name: str) -> int:
    """A number of the Slurm job that this process is part of; 0 where there is none."""
    value = os.environ.get(f"SLURM_{name}", "")
    return int(value) if value.isdecimal() else 0


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
        # In a container the path may be the host's, which is not mounted here; the mount itself is
        # then our group.
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
