"""Dask's workers, wherever they are: on this machine, as jobs of a queueing system, at a running
scheduler."""

import logging
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask.config
from dask.distributed import Client, LocalCluster
from distributed.core import Status
from distributed.security import Security

from ..storage import ClusterError, gigaslide_version
from .job_options import job_options
from .machine import available_cores, available_memory
from .settings import BatchSettings

__all__ = ["dask_client", "forget_refused", "job_cluster", "refuse_other_versions"]

logger = logging.getLogger(__name__)

CONNECT_S = 15.0
ALIKE = ("python", "dask", "distributed", "cloudpickle")
"""What client, scheduler and workers must have in one version: they send each other code."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_TRIM_THRESHOLD_": 2**28}
"""Dask has its workers give every freed buffer back to the system at once; ours are used again a
moment later, and the page faults would take longer than the decoding. Bytes."""
MEMORY = dict.fromkeys(
    (f"distributed.worker.memory.{name}" for name in ("pause", "spill", "target")), False
)
"""A worker near its limit has no results to put aside: paused, it would wait for ever. Past 95 % it
is killed, and its task tried again."""
CHORES = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
}
"""What Dask does besides, for its dashboard: by default a worker looks at its threads a hundred
times a second, and at its clock fifty times. That took 5 % of a core from each worker, which has
one, and from the scheduler."""
OPTIONS = {
    **CHORES,
    **MEMORY,
    "distributed.worker.daemon": True,
    # Ctrl-C in a terminal goes to every process there; what is in hand shall end first, and the run
    # ends its workers.
    "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
    # A nanny on a busy machine takes its time to bring a new worker; after this it is given up, and
    # the run asks anew.
    "distributed.deploy.lost-worker-timeout": "30s",
    # Every death of a worker is told to the run, which counts them by slide.
    "distributed.scheduler.allowed-failures": 0,
    # No more tasks in a worker than it can do at once, as far as Dask queues them at the scheduler:
    # see DaskExecutor.submit.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.admin.log-format": "%(name)s: %(message)s",
    "distributed.nanny.pre-spawn-environ": {
        **ALLOCATOR,
        **dict.fromkeys(("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1),
    },
}


@contextmanager
def dask_client(
    settings: BatchSettings, *, at_most: int, shared: Path | None
) -> Iterator[tuple[Client, int]]:
    """A client of the workers that the settings ask for, and how many these will be.

    at_most is the number of workers that could have work; shared, a folder that jobs reach too,
    takes their logs.

    Raises:
        ClusterError: no scheduler that this client can talk to.
    """
    with dask.config.set(OPTIONS):
        if settings.scheduler:
            with _connected(settings) as client:
                yield client, 1
            return
        if settings.cluster:
            with _certificates(shared) as security:
                cluster = job_cluster(
                    settings, security, logs=None if shared is None else shared / "job-logs"
                )
                with cluster, Client(cluster, set_as_default=False) as client:
                    least = (
                        settings.jobs
                        if settings.min_jobs is None
                        else min(settings.min_jobs, settings.jobs)
                    )
                    # Adaptive also where the number is fixed: it replaces jobs that ended, which
                    # scale does not.
                    cluster.adapt(
                        minimum_jobs=least, maximum_jobs=settings.jobs, interval="2s", wait_count=30
                    )
                    yield client, settings.jobs * settings.cores
            return
        wanted = max(1, min(settings.workers or available_cores(), at_most))
        with _local(settings, wanted) as cluster, Client(cluster, set_as_default=False) as client:
            yield client, wanted


def _local(settings: BatchSettings, workers: int) -> LocalCluster:
    share = available_memory() // max(workers, available_cores())
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=share if settings.memory_gb is None else int(settings.memory_gb * 1e9),
        dashboard_address="127.0.0.1:0",  # empty would be port 8787 on every network of the machine
        # the cluster serves this process alone; nothing listens beyond the machine
        host="127.0.0.1",
        silence_logs=logging.ERROR,
    )


@contextmanager
def _certificates(shared: Path | None) -> Iterator[Security]:
    """Certificates of a run's own, in a folder that jobs reach and nobody else may read; gone
    afterwards.

    Scheduler and workers run whatever code they are sent: without TLS anybody on the cluster's
    network could send some.
    """
    made = Security.temporary()
    with tempfile.TemporaryDirectory(
        prefix=".tls.", dir=Path.home() if shared is None else shared
    ) as folder:
        paths = {}
        for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
            path = Path(folder) / name
            path.touch(mode=0o600)
            path.write_text(getattr(made, name), encoding="utf-8")
            paths[name] = str(path)
        both = {
            f"tls_{who}_{what}": paths[f"tls_client_{what}"]
            for who in _ROLES
            for what in ("cert", "key")
        }
        yield Security(tls_ca_file=paths["tls_ca_file"], require_encryption=True, **both)


_ROLES = ("client", "scheduler", "worker")


def job_cluster(settings: BatchSettings, security: Security, *, logs: Path | None) -> Any:
    """dask-jobqueue's cluster of the settings, without jobs yet.

    Raises:
        SettingsError: an option that this queueing system does not know.
        ClusterError: the scheduler cannot be started.
    """
    import dask_jobqueue  # slow to import, and only here

    environment = {
        "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON": str(ALLOCATOR),
        **{_variable(name): str(value) for name, value in {**MEMORY, **CHORES}.items()},
    }
    kind, job = job_options(settings, environment=environment, logs=logs)
    cluster = getattr(dask_jobqueue, kind)
    sends = cluster.job_cls.submit_command.split()[0]
    if shutil.which(sends) is None:
        raise ClusterError(
            f"--cluster {settings.cluster}: no {sends} on PATH; run this where jobs are sent from"
        )
    try:
        return cluster(
            job_cls=_asked_for(cluster.job_cls),
            security=security,
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            **job,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"--cluster {settings.cluster}: the scheduler cannot be started: {error}"
        ) from error


def _asked_for(kind: Any) -> Any:
    """Jobs of that kind, of which a refused one keeps the words of the refusal; else it would count
    as one to come."""

    class Asked(kind):
        refusal = ""

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, OSError) as error:
                self.refusal = str(error).strip().splitlines()[-1]
                self.status = Status.running  # else the cluster raises, where nobody hears it

        async def close(self) -> None:
            if self.job_id is not None:
                await super().close()

    return Asked


async def forget_refused(cluster: Any) -> tuple[list[str], int]:
    """Give up the jobs that the queueing system refused, so that the cluster asks for others.

    Returns why it refused each, and how many jobs it took. To be called in the cluster's own
    thread.
    """
    refused = {name: job.refusal for name, job in cluster.workers.items() if job.refusal}
    for name in refused:
        cluster.workers.pop(name)
        cluster.worker_spec.pop(name, None)
    return list(refused.values()), len(cluster.workers)


def _variable(option: str) -> str:
    """The environment variable that sets an option of Dask."""
    return f"DASK_{option}".replace(".", "__").replace("-", "_").upper()


@contextmanager
def _connected(settings: BatchSettings) -> Iterator[Client]:
    security = None
    if settings.tls_ca_file:
        security = Security(
            tls_ca_file=str(settings.tls_ca_file),
            tls_client_cert=str(settings.tls_cert_file),
            tls_client_key=str(settings.tls_key_file),
            require_encryption=True,
        )
    quiet = logging.getLogger("distributed")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # what it would tell, our one line tells
    try:
        client = Client(
            settings.scheduler, security=security, timeout=CONNECT_S, set_as_default=False
        )
    except (OSError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ClusterError(_advice(settings, error)) from error
    finally:
        quiet.setLevel(level)
    with client:
        refuse_other_versions(client, settings.scheduler)
        yield client


def _advice(settings: BatchSettings, error: Exception) -> str:
    """One line on why a scheduler cannot be talked to, after asking its port what it speaks."""
    address = settings.scheduler
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 8786
    try:
        speaks_tls = _speaks_tls(host, port)
    except OSError as refused:
        return (
            f"{address}: no scheduler answers there ({refused}); start one with dask scheduler, or "
            "see its address"
        )
    if parts.scheme == "tcp" and speaks_tls:
        return (
            f"{address}: this scheduler speaks TLS only; give --scheduler tls://{host}:{port} with "
            "--tls-ca-file, --tls-cert-file and --tls-key-file"
        )
    if parts.scheme == "tls" and not speaks_tls:
        return (
            f"{address}: this scheduler does not speak TLS; give --scheduler tcp://{host}:{port}, "
            "or start it with TLS"
        )
    if parts.scheme == "tls":
        return (
            f"{address}: TLS was refused ({error}); --tls-ca-file must be the authority of the "
            "scheduler's certificate, and --tls-cert-file one that it trusts"
        )
    return (
        f"{address}: something answers there, but not as a Dask scheduler of this version ({error})"
    )


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # nothing is said, only asked
    with socket.create_connection((host, port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host):
                return True
        except ssl.SSLError as error:
            # An alert is TLS too: the server wants our certificate.
            return "ALERT" in str(error).upper()
        except OSError:
            return False


def refuse_other_versions(client: Client, address: str) -> None:
    """Pass if scheduler and workers have our versions of all that takes part in sending code.

    Raises:
        ClusterError: they differ; the message names each.
    """
    found: Any = client.get_versions()
    mine = _versions(found["client"])
    others = {
        "the scheduler": found["scheduler"],
        **{f"worker {at}": v for at, v in found["workers"].items()},
    }
    for name, versions in others.items():
        theirs = _versions(versions)
        _refuse_unlike(
            address, name, {package: (theirs.get(package), mine[package]) for package in ALIKE}
        )
    try:
        installed: Any = client.run(gigaslide_version)
    except Exception as error:  # whatever their unpickling raises
        raise ClusterError(
            f"{address}: its workers cannot import gigaslide ({error}); install it there too"
        ) from error
    for worker, version in installed.items():
        _refuse_unlike(address, f"worker {worker}", {"gigaslide": (version, gigaslide_version())})


def _refuse_unlike(address: str, who: str, versions: dict[str, tuple[str | None, str]]) -> None:
    unlike = [
        f"{name} {theirs} there and {mine} here"
        for name, (theirs, mine) in versions.items()
        if theirs != mine
    ]
    if unlike:
        raise ClusterError(
            f"{address}: {who} has {', '.join(unlike)}; install the same there as here, or start "
            "it from this environment"
        )


def _versions(plain: dict[str, Any]) -> dict[str, str]:
    """Package: version, of Python its first two numbers."""
    versions = {name: str(version) for name, version in plain.get("packages", {}).items()}
    versions["python"] = ".".join(versions.get("python", "").split(".")[:2])
    return versions
