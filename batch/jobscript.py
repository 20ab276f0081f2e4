"""A script for sbatch that runs one command on all cores of one job: for people who send their jobs
themselves."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from .job_options import JOB_MEMORY_GB, format_walltime
from .settings import BatchSettings

__all__ = ["job_script", "without_job_options"]

OF_THE_JOB = (
    "cluster",
    "queue",
    "account",
    "jobs",
    "min-jobs",
    "cores",
    "walltime",
    "interface",
    "job-directives",
    "job-prologue",
    "memory-gb",
    "workers",
)
"""Options that the script's header says instead."""


def job_script(command: Sequence[str], settings: BatchSettings, *, folder: Path) -> str:
    """The script: resources of the settings, then the command, run in folder with a worker on each
    core.

    One minute before its time is over the job is told to stop; the same script sent again goes on.
    """
    memory_gb = settings.memory_gb or JOB_MEMORY_GB
    header = [
        "--job-name=gigaslide",
        "--ntasks=1",
        f"--cpus-per-task={settings.cores}",
        f"--mem={round(settings.cores * memory_gb * 1e9 / 2**20)}M",
        f"--time={format_walltime(settings)}",
        *([f"--partition={settings.queue}"] if settings.queue else []),
        *([f"--account={settings.account}"] if settings.account else []),
        "--output=gigaslide-%j.log",
        "--signal=B:TERM@60",
        *settings.job_directives,
    ]
    words = [*command, "--workers", str(settings.cores), "--memory-gb", f"{memory_gb:g}"]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {line}" for line in header),
            *settings.job_prologue,
            f"cd {shlex.quote(str(folder))}",
            "# exec: the signal at the end of the time must reach it.",
            f"exec {shlex.join(words)}",
            "",
        ]
    )


def without_job_options(words: Sequence[str], *, dropped: Sequence[str] = ()) -> list[str]:
    """A command line less the options that the header says; dropped names flags to leave out as
    well."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
            continue
        name, equals, _ = word.removeprefix("--").removeprefix("batch.").partition("=")
        name = name.replace("_", "-")
        if word.startswith("--") and name in OF_THE_JOB:
            skip = not equals
        elif not (word.startswith("--") and name in dropped):
            kept.append(word)
    return kept
