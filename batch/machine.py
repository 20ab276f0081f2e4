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
MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")


def available_cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may use; fractions are rounded down."""
    quotas = [_cpu_quota(group) for group in _control_groups(root, "cpu")]
    of_groups = [max(1, math.floor(quota)) for quota in quotas if quota]
    # Slurm without control groups does not bind a job to its cores.
    limits = [cpu_count(), _slurm_number("CPUS_ON_NODE"), *of_groups]
    return min(limit for limit in limits if limit)


def available_memory(root: Path = ROOT) -> int:
    """Return the memory that this process and its children may use (bytes)."""
    groups = list(_control_groups(root, "memory"))
    of_groups = [_read_number(group / name) for group in groups for name in MEMORY_FILES]
    # Slurm without control groups still kills a job above these limits (MiB).
    of_cores = _slurm_number("MEM_PER_CPU") * _slurm_number("CPUS_ON_NODE")
    of_job = [_slurm_number("MEM_PER_NODE") * 2**20, of_cores * 2**20]
    return min(limit for limit in (memory_limit(), *of_groups, *of_job) if limit)


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


def _cpu_quota(group: Path) -> float:
    """Return the quota of a control group in cores; 0 without a limit."""
    try:
        quota, period = (int(word) for word in (group / "cpu.max").read_text().split())
    except (OSError, ValueError):  # version 1, or "max"
        quota = _read_number(group / "cpu.cfs_quota_us")
        period = _read_number(group / "cpu.cfs_period_us")
    return quota / period if quota > 0 and period else 0.0


def _read_number(path: Path) -> int:
    """Return the number in a file; 0 without a number or a file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
