"""Workers in jobs of a queueing system that dask-jobqueue knows, and the options of one job."""

import math
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed.core import Status
from distributed.security import Security

from ...storage import ClusterError, SettingsError
from ..settings import BatchSettings
from ..workers import options_as_environment

__all__ = [
    "format_walltime",
    "job_cluster",
    "job_options",
    "load_dask_jobqueue",
    "withdraw_refused_jobs",
]


JOB_MEMORY_GB = 4.0  # per worker
SYSTEMS = {
    "slurm": ("SLURMCluster", {"queue": "queue", "account": "account"}),
    "pbs": ("PBSCluster", {"queue": "queue", "account": "account"}),
    "lsf": ("LSFCluster", {"queue": "queue", "account": "project"}),
    "sge": ("SGECluster", {"queue": "queue", "account": "project"}),
    "htcondor": ("HTCondorCluster", {}),
}
"""dask-jobqueue's class by system, and its names for our settings."""


@contextmanager
def job_cluster(settings: BatchSettings, *, shared: Path | None) -> Iterator[tuple[Any, int]]:
    """Yield dask-jobqueue's cluster, and the number of workers of all its jobs.

    Raises:
        SettingsError: an option that this queueing system does not have.
        ClusterError: the scheduler cannot be started.
    """
    with _certificates(shared) as security:
        logs = None if shared is None else shared / "job-logs"
        with make_job_cluster(settings, security, logs=logs) as cluster:
            fewest = settings.jobs if settings.min_jobs is None else settings.min_jobs
            # Adaptive also for a fixed number: it replaces jobs that ended, which scale does not.
            cluster.adapt(
                minimum_jobs=min(fewest, settings.jobs),
                maximum_jobs=settings.jobs,
                interval="2s",
                wait_count=30,
            )
            yield cluster, settings.jobs * workers_per_job(settings)


@contextmanager
def _certificates(shared: Path | None) -> Iterator[Security]:
    """Write certificates for this run to a folder that jobs can reach and only this user can read.

    Scheduler and workers run any code that they receive: without TLS everybody on the cluster's
    network could send some.
    """
    made = Security.temporary()
    parent = Path.home() if shared is None else shared
    with tempfile.TemporaryDirectory(prefix=".tls.", dir=parent) as folder:
        paths: dict[str, str] = {}
        for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
            path = Path(folder) / name
            path.touch(mode=0o600)
            path.write_text(getattr(made, name), encoding="utf-8")
            paths[name] = str(path)
        ca_file = paths.pop("tls_ca_file")
        by_role = {
            name.replace("client", role): path
            for name, path in paths.items()
            for role in ("client", "scheduler", "worker")
        }
        yield Security(tls_ca_file=ca_file, require_encryption=True, **by_role)


def make_job_cluster(settings: BatchSettings, security: Security, *, logs: Path | None) -> Any:
    """Return dask-jobqueue's cluster of the settings, without jobs."""
    environment = options_as_environment(settings.threads_per_worker)
    kind, options = job_options(settings, environment=environment, logs=logs)
    cluster = getattr(load_dask_jobqueue(), kind)
    submit_command = cluster.job_cls.submit_command.split()[0]
    if shutil.which(submit_command) is None:
        raise ClusterError(
            f"--cluster {settings.cluster}: {submit_command} is not on PATH; "
            "run this command on a machine that can submit jobs"
        )
    try:
        return cluster(
            job_cls=_refusable(cluster.job_cls),
            security=security,
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            **options,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"--cluster {settings.cluster}: the scheduler cannot be started: {error}"
        ) from error


def load_dask_jobqueue() -> Any:
    """Import dask-jobqueue, which is slow, and undo that it ends the process at every Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)
    return dask_jobqueue


def _refusable(job_class: Any) -> Any:
    """Return a job class that records why its submission was refused.

    Dask counts a refused job as one that is still to come, and never submits it again.
    """

    class RefusableJob(job_class):
        refusal = ""

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, OSError) as error:
                self.refusal = str(error).strip().splitlines()[-1]
                self.status = Status.running

    return RefusableJob


async def withdraw_refused_jobs(cluster: Any) -> tuple[list[str], int]:
    """Remove refused jobs from the cluster, which then submits them again.

    Returns the reasons of the refusals, and the number of jobs that were accepted. Run it in the
    cluster's event loop.
    """
    refused = {name: job.refusal for name, job in cluster.workers.items() if job.refusal}
    for name in refused:
        del cluster.workers[name]  # as Dask does with a job that ended
    return list(refused.values()), len(cluster.workers)


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
    if settings.gpus:
        raise SettingsError(
            "gpus is for workers on this machine, or for the job of a training; request GPUs of "
            "other jobs with job-directives, for example --job-directives=--gres=gpu:1"
        )
    kind, names = SYSTEMS[settings.cluster]
    options = _options_of_system(settings, names)
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


def _options_of_system(settings: BatchSettings, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that not every system has; names: theirs by the names of our options."""
    given = {"queue": settings.queue, "account": settings.account}
    unknown = [name for name, value in given.items() if value and name not in names]
    if unknown:
        raise SettingsError(
            f"--{unknown[0]}: not available on {settings.cluster}; give a directive with "
            "--job-directives instead"
        )
    options: dict[str, Any] = {names[name]: value for name, value in given.items() if value}
    if walltime := format_walltime(settings):
        options["walltime"] = walltime
    if settings.cluster == "htcondor":
        options["disk"] = "1 GB"
    if settings.interface:
        options["interface"] = settings.interface
    return options


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
