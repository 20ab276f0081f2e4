"""Number of local workers, and a description of where tasks run."""

from .machine import available_cores
from .settings import BatchSettings

__all__ = ["count_local_workers", "describe_workers"]

QUEUE_NAMES = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF", "sge": "SGE", "htcondor": "HTCondor"}


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
