"""Workers in jobs of a queueing system, through dask-jobqueue."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed.core import Status
from distributed.security import Security

from ..storage import ClusterError
from .job_options import job_options, workers_per_job
from .settings import BatchSettings
from .worker_options import options_as_environment

__all__ = ["job_cluster", "withdraw_refused_jobs"]

logger = logging.getLogger(__name__)


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
    import dask_jobqueue  # slow to import, and used only here

    environment = options_as_environment(settings.threads_per_worker)
    kind, options = job_options(settings, environment=environment, logs=logs)
    cluster = getattr(dask_jobqueue, kind)
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
