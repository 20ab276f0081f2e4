"""Cores and memory that this process may use.

Dask measures affinity, the machine and the limits of a container. Added here: limits of nested
control groups (such as those of a Slurm job or a systemd slice) and Slurm's own variables.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dask.system import cpu_count
from distributed.system import memory_limit

__all__ = ["available_cores", "available_memory"]

ROOT = Path("/")


def available_cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may use; fractions are rounded down."""
    limits = [cpu_count()]
    for group in _control_groups(root, "cpu"):
        quota = _cpu_quota(group)
        if quota is not None:
            limits.append(math.floor(quota))
    # Slurm without control groups does not bind a job to its cores.
    if cores := _slurm_number("CPUS_ON_NODE"):
        limits.append(cores)
    return max(1, min(limits))


def available_memory(root: Path = ROOT) -> int:
    """Return the memory that this process and its children may use (bytes)."""
    limits = [memory_limit()]
    for group in _control_groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _read_number(group / name)
            if limit:
                limits.append(limit)
    # Slurm without control groups still kills a job above these limits (MiB).
    of_cores = _slurm_number("MEM_PER_CPU") * _slurm_number("CPUS_ON_NODE")
    for limit in (_slurm_number("MEM_PER_NODE"), of_cores):
        if limit:
            limits.append(limit * 2**20)
    return min(limits)


def _slurm_number(name: str) -> int:
    """Return a number of the Slurm job that this process belongs to; 0 without one."""
    value = os.environ.get(f"SLURM_{name}", "")
    return int(value) if value.isdecimal() else 0


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of its parents, for version 1 and 2."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controllers if controllers else mount
        base = base if base.is_dir() else mount / controller
        group = PurePosixPath(path.lstrip("/"))
        # In a container this may be the host's path, which does not exist here. The last parent is
        # the mount itself, which is then the container's group.
        for part in (group, *group.parents):
            if ".." not in part.parts:
                yield base / part


def _cpu_quota(group: Path) -> float | None:
    """Return the quota of a control group in cores; None without a limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    quota, period = (
        _read_number(group / "cpu.cfs_quota_us"),
        _read_number(group / "cpu.cfs_period_us"),
    )
    return quota / period if quota and period and quota > 0 else None


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
