"""One job of workers, in the words of each queueing system that dask-jobqueue knows."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

from ..storage import SettingsError
from .settings import BatchSettings

__all__ = ["JOB_MEMORY_GB", "format_walltime", "job_options"]

JOB_MEMORY_GB = 4.0
SYSTEMS = {
    "slurm": ("SLURMCluster", {"queue": "queue", "account": "account"}),
    "pbs": ("PBSCluster", {"queue": "queue", "account": "account"}),
    "lsf": ("LSFCluster", {"queue": "queue", "account": "project"}),
    "sge": ("SGECluster", {"queue": "queue", "account": "project"}),
    "htcondor": ("HTCondorCluster", {}),
}
"""By name: dask-jobqueue's class, and what it calls our settings."""


def job_options(
    settings: BatchSettings, *, environment: dict[str, str], logs: Path | None
) -> tuple[str, dict[str, Any]]:
    """dask-jobqueue's class for the settings, and what it wants to know of one job.

    A job has as many workers of one thread as cores; they find these variables set, and their logs
    go to that folder.

    Raises:
        SettingsError: something that this system does not know, or that it wants to be told
        otherwise.
    """
    assert settings.cluster is not None
    kind, names = SYSTEMS[settings.cluster]
    given = {"queue": settings.queue, "account": settings.account}
    unknown = [name for name, value in given.items() if value and name not in names]
    if unknown:
        raise SettingsError(
            f"--{unknown[0]}: {settings.cluster} has none; give it as a directive with "
            "--job-directives"
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
    return kind, {
        "cores": settings.cores,
        "processes": settings.cores,
        "memory": f"{settings.cores * (settings.memory_gb or JOB_MEMORY_GB):g} GB",
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
                f"--job-directives {wrong[0]}: htcondor's directives are of the form name = value"
            )
        return {name.strip(): value.strip() for name, _, value in pairs}
    has_slots = any(option.split()[:1] == ["-pe"] for option in settings.job_directives)
    if settings.cluster == "sge" and settings.cores > 1 and not has_slots:
        raise SettingsError(
            f"--cores {settings.cores}: sge gives a job several cores by a parallel environment "
            "only, and each site names its own; see qconf -spl and add --job-directives='-pe NAME "
            f"{settings.cores}'"
        )
    return list(settings.job_directives)


def format_walltime(settings: BatchSettings) -> str:
    """The time limit as the system reads it; empty where it knows none."""
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
