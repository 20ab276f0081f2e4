"""Dask clients and workers for the settings: on this machine, in cluster jobs, or at a running
scheduler."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.config
from dask.distributed import Client, LocalCluster

from ...storage import SettingsError
from ..machine import available_cores, available_memory
from ..settings import BatchSettings
from ..workers import WORKER_OPTIONS, count_local_workers, worker_environment
from .job_cluster import job_cluster
from .remote_scheduler import connect

__all__ = ["dask_client"]

OPTIONS = {
    **WORKER_OPTIONS,
    "distributed.worker.daemon": True,
    # Ctrl-C in a terminal reaches every process. Workers complete their tasks first; the run ends
    # them.
    "distributed.worker.preload": [
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        # On a busy machine a last heartbeat may find that the scheduler has ended: no error.
        "import logging; logging.getLogger('distributed.worker').addFilter("
        "lambda record: 'scheduler during heartbeat' not in str(record.msg))",
    ],
    # A nanny on a busy machine needs time to start a new worker. After this time the run asks for
    # another.
    "distributed.deploy.lost-worker-timeout": "30s",
    # The run counts the deaths of workers by task, and records them.
    "distributed.scheduler.allowed-failures": 0,
    # While jobs are added, tasks wait in the scheduler and not in a worker that may die.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.admin.log-format": "%(name)s: %(message)s",
}


@contextmanager
def dask_client(
    settings: BatchSettings, *, max_workers: int, shared: Path | None
) -> Iterator[tuple[Client, int]]:
    """Yield a client and the number of workers that it will have.

    max_workers: number of workers that could have a task. shared: a folder that jobs can reach, for
    their logs.

    Raises:
        ClusterError: the scheduler cannot be started or reached.
        SettingsError: the settings do not fit this machine or queueing system.
    """
    environment = worker_environment(settings.threads_per_worker)
    options = {**OPTIONS, "distributed.nanny.pre-spawn-environ": environment}
    with _process_environment(environment), dask.config.set(options):
        if settings.scheduler:
            with connect(settings) as client:
                yield client, 1
        elif settings.cluster:
            with (
                job_cluster(settings, shared=shared) as (cluster, workers),
                Client(cluster, set_as_default=False) as client,
            ):
                yield client, workers
        else:
            workers = count_local_workers(settings, at_most=max_workers)
            with (
                dask.config.set(_without_site_settings(options)),
                _local_cluster(settings, workers) as cluster,
                Client(cluster, set_as_default=False) as client,
            ):
                yield client, workers


def _without_site_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return Dask's own defaults with our options.

    Settings that a site or a person made for a cluster, such as encryption or a lifetime of
    workers, would stop workers that serve only this process.
    """
    shipped = dask.config.merge(*dask.config.defaults)["distributed"]
    return {"distributed": shipped, **options}


@contextmanager
def _process_environment(values: dict[str, int]) -> Iterator[None]:
    """Set variables of this process, and restore them at the end.

    Dask sets them here too, before it starts a worker, and leaves them; a later cluster would take
    them for the user's own.
    """
    before = {name: os.environ.pop(name, None) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _local_cluster(settings: BatchSettings, workers: int) -> LocalCluster:
    share = available_memory() // max(workers, available_cores() // settings.threads_per_worker)
    cluster = _GpuCluster(
        gpus=visible_gpus(settings.gpus),
        n_workers=0,
        threads_per_worker=1,
        memory_limit=share if settings.memory_gb is None else int(settings.memory_gb * 1e9),
        # Only this process uses the cluster: nothing listens beyond this machine. An empty
        # dashboard address would be port 8787 on every network of the machine.
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )
    cluster.scale(workers)
    return cluster


class _GpuCluster(LocalCluster):
    """A local cluster whose workers see one GPU each; with fewer GPUs than workers, they share."""

    def __init__(self, *, gpus: list[str], **options: Any) -> None:
        self._gpus = gpus
        super().__init__(**options)

    def new_worker_spec(self) -> dict[Any, Any]:
        new: dict[Any, Any] = super().new_worker_spec()
        if not self._gpus:
            return new
        specs: list[Any] = list(self.worker_spec.values())
        used = [spec["options"]["env"]["CUDA_VISIBLE_DEVICES"] for spec in specs]
        env = {"CUDA_VISIBLE_DEVICES": min(self._gpus, key=used.count)}
        return {
            name: {**spec, "options": {**spec["options"], "env": env}} for name, spec in new.items()
        }


def visible_gpus(count: int | None) -> list[str]:
    """Return this many GPUs as CUDA_VISIBLE_DEVICES names them; none for None.

    Raises:
        SettingsError: the environment allows this process fewer.
    """
    if count is None:
        return []
    names = [str(number) for number in range(count)]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        names = [name.strip() for name in allowed.split(",") if name.strip()]
    if len(names) < count:
        raise SettingsError(
            f"--gpus {count}: CUDA_VISIBLE_DEVICES allows {len(names)} here ({', '.join(names)}); "
            "lower --gpus or change the variable"
        )
    return names[:count]
