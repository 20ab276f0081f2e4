"""Workers: where they run, how many there are, and the Dask options and environment variables of
each, on this machine and in jobs."""

from .machine import available_cores
from .settings import BatchSettings

__all__ = [
    "WORKER_OPTIONS",
    "count_local_workers",
    "describe_workers",
    "options_as_environment",
    "worker_environment",
]

QUEUE_NAMES = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF", "sge": "SGE", "htcondor": "HTCondor"}

WORKER_OPTIONS = {
    # A worker near its memory limit holds no results that it could spill; a paused one would wait
    # for ever. Above 95 % it is killed, and its task is tried again.
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # By default, profiling and the dashboard's figures take 5 % of the one core of a worker, and of
    # the scheduler's.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
}

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_TRIM_THRESHOLD_": 2**28}
"""Bytes. Dask's workers return every freed buffer to the system at once; our next task needs the
same memory, and the page faults would cost more than decoding."""

THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def count_local_workers(settings: BatchSettings, *, at_most: int | None = None) -> int:
    """Return the number of worker processes on this machine, at least 1.

    at_most is the number of tasks, if it is known and limits the processes.
    """
    wanted = settings.workers or settings.gpus
    if wanted is None:
        wanted = available_cores() // settings.threads_per_worker
    return max(1, wanted if at_most is None else min(wanted, at_most))


def describe_workers(settings: BatchSettings, *, at_most: int | None = None) -> str:
    """Describe where tasks run, such as "8 processes on this machine"; at_most as above."""
    if settings.scheduler:
        return f"workers of the Dask at {settings.scheduler}"
    if settings.cluster is not None:
        queue = f", queue {settings.queue}" if settings.queue else ""
        return f"jobs of {QUEUE_NAMES[settings.cluster]}{queue}"
    if settings.workers == 0:
        return "this process"
    count = count_local_workers(settings, at_most=at_most)
    return f"{count} {'process' if count == 1 else 'processes'} on this machine"


def worker_environment(threads: int) -> dict[str, int]:
    """Return the variables to set before a worker process starts, for its compute threads."""
    return {**ALLOCATOR, **dict.fromkeys(THREAD_VARIABLES, threads)}


def options_as_environment(threads: int) -> dict[str, str]:
    """Return variables that set the options of a worker that a job starts by Dask's command."""
    options = {
        **WORKER_OPTIONS,
        "distributed.nanny.pre-spawn-environ": worker_environment(threads),
    }
    return {_variable(name): str(value) for name, value in options.items()}


def _variable(option: str) -> str:
    """Return the name of the environment variable that sets an option of Dask."""
    return f"DASK_{option}".replace(".", "__").replace("-", "_").upper()
