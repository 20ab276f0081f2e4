"""Cores and memory that a process may use, below control groups and Slurm jobs."""

from pathlib import Path

import pytest
from gigaslide.batch import machine
from gigaslide.batch.machine import available_cores, available_memory

CORES, BYTES = 64, 10**12  # of the machine
NESTED_V2 = {
    "proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_batch\n",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max": "500000000\n",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_batch/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/cpu.max": "350000 100000\n",
}
HIGH_V2 = {
    "proc/self/cgroup": "0::/user.slice\n",
    "sys/fs/cgroup/user.slice/memory.high": "600000000\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
}
CONTAINER_V1 = {
    "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
    # in the container its own group is the root
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "700000000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
}
SLURM_V1 = {
    "proc/self/cgroup": "5:memory:/slurm/job_7/step_0\n4:cpu,cpuacct:/slurm/job_7/step_0\n",
    "sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes": "800000000\n",
    "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "250000\n",
    "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n",
}
UNLIMITED = {
    "proc/self/cgroup": "5:memory:/\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
}


@pytest.fixture(autouse=True)
def _large_machine(monkeypatch):
    monkeypatch.setattr(machine, "cpu_count", lambda: CORES)
    monkeypatch.setattr(machine, "memory_limit", lambda: BYTES)
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        (NESTED_V2, 3, 500_000_000),
        (HIGH_V2, CORES, 600_000_000),
        (CONTAINER_V1, CORES, 700_000_000),
        (SLURM_V1, 2, 800_000_000),
        (UNLIMITED, CORES, BYTES),
        ({}, CORES, BYTES),
    ],
)
def test_fault_35_lowest_limit_of_all_parent_groups_holds(tmp_path, files, cores, memory):
    root = written(tmp_path, files)
    assert (available_cores(root), available_memory(root)) == (cores, memory)


def test_fault_35_limits_of_a_slurm_job_without_control_groups_hold(tmp_path, monkeypatch):
    root = written(tmp_path, NESTED_V2)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "400")
    assert available_memory(root) == 400 * 2**20
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert (available_memory(root), available_cores(root)) == (200 * 2**20, 2)
