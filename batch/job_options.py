"""Options of one job of workers, for each queueing system that dask-jobqueue knows."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

from ..storage import SettingsError
from .settings import BatchSettings

__all__ = ["JOB_MEMORY_GB", "format_walltime", "job_options", "workers_per_job"]

JOB_MEMORY_GB = 4.0  # per worker
SYSTEMS = {
    "slurm": ("SLURMCluster", {"queue": "queue", "account": "account"}),
    "pbs": ("PBSCluster", {"queue": "queue", "account": "account"}),
    "lsf": ("LSFCluster", {"queue": "queue", "account": "project"}),
    "sge": ("SGECluster", {"queue": "queue", "account": "project"}),
    "htcondor": ("HTCondorCluster", {}),
}
"""dask-jobqueue's class by system, and its names for our settings."""


def workers_per_job(settings: BatchSettings) -> int:
    """Return the number of worker processes in one job."""
    return max(1, settings.cores // settings.threads_per_worker)


def job_options(
    settings: BatchSettings, *, environment: dict[str, str], logs: Path | None
) -> tuple[str, dict[str, Any]]:
    """Return the name of dask-jobqueue's class for the settings, and its arguments for one job.

    environment: variables that the workers find set. logs: folder for their log files.

    Raises:
        SettingsError: an option that this system does not have, or needs in another form.
    """
    assert settings.cluster is not None
    kind, names = SYSTEMS[settings.cluster]
    given = {"queue": settings.queue, "account": settings.account}
    unknown = [name for name, value in given.items() if value and name not in names]
    if unknown:
        raise SettingsError(
            f"--{unknown[0]}: not available on {settings.cluster}; give a directive with "
            "--job-directives instead"
        )
    options: dict[str, Any] = {names[name]: value for name, value in given.items() if value}
    walltime = format_walltime(settings)
    if walltime:
        options["walltime"] = walltime
    if settings.cluster == "htcondor":
        options["disk"] = "1 GB"
    if settings.interface:
        options["interface"] = settings.interface
    if logs is not None:
        options["log_directory"] = str(logs)
    workers = workers_per_job(settings)
    return kind, {
        "cores": settings.cores,
        "processes": workers,
        "memory": f"{workers * (settings.memory_gb or JOB_MEMORY_GB):g} GB",
        # Dask's threads run tasks; a worker runs one, whatever its number of compute threads.
        "worker_extra_args": ["--nthreads", "1"],
        "job_name": "gigaslide",
        "job_extra_directives": _directives(settings),
        "job_script_prologue": [
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            *settings.job_prologue,
        ],
        "death_timeout": 120,
        "python": sys.executable,
        **options,
    }


def _directives(settings: BatchSettings) -> list[str] | dict[str, str]:
    if settings.cluster == "htcondor":
        pairs = [option.partition("=") for option in settings.job_directives]
        wrong = [name for name, equals, _ in pairs if not equals]
        if wrong:
            raise SettingsError(
                f"--job-directives {wrong[0]}: a directive of htcondor has the form name = value"
            )
        return {name.strip(): value.strip() for name, _, value in pairs}
    has_slots = any(option.split()[:1] == ["-pe"] for option in settings.job_directives)
    if settings.cluster == "sge" and settings.cores > 1 and not has_slots:
        raise SettingsError(
            f"--cores {settings.cores}: sge gives a job several cores only in a parallel "
            "environment, whose name differs between sites; find it with qconf -spl and add "
            f"--job-directives='-pe NAME {settings.cores}'"
        )
    return list(settings.job_directives)


def format_walltime(settings: BatchSettings) -> str:
    """Return the time limit in the system's format; empty for a system without one."""
    seconds = settings.walltime_s
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if settings.cluster == "htcondor":
        return ""
    if settings.cluster == "lsf":  # has no seconds: a third number would be refused
        minutes = math.ceil(seconds / 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    clock = f"{minutes % 60:02d}:{seconds % 60:02d}"
    if settings.cluster in ("pbs", "sge") or not days:
        return f"{hours:02d}:{clock}"
    return f"{days}-{hours % 24:02d}:{clock}"
