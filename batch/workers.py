"""The workers that some settings ask for, in words."""

from .machine import available_cores
from .settings import BatchSettings

__all__ = ["describe_workers"]

QUEUE_NAMES = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF", "sge": "SGE", "htcondor": "HTCondor"}


def describe_workers(settings: BatchSettings, *, at_most: int | None = None) -> str:
    """Describe where tasks run, such as "8 processes on this machine".

    at_most is the number of tasks, where it is known and limits the processes.
    """
    if settings.scheduler:
        return f"workers of the Dask at {settings.scheduler}"
    if settings.cluster is not None:
        queue = f", queue {settings.queue}" if settings.queue else ""
        return f"jobs of {QUEUE_NAMES[settings.cluster]}{queue}"
    if settings.workers == 0:
        return "this process"
    wanted = settings.workers or available_cores()
    count = wanted if at_most is None else max(1, min(wanted, at_most))
    return f"{count} {'process' if count == 1 else 'processes'} on this machine"
