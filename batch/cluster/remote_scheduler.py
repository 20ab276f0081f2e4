"""Connection to a Dask scheduler that is already running."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dask.distributed import Client
from distributed.security import Security

from ...storage import ClusterError
from ..settings import BatchSettings

__all__ = ["check_versions", "connect"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 15.0
SAME_VERSION = ("python", "dask", "distributed", "cloudpickle", "gigaslide")
"""Packages that client, scheduler and workers need in one version, because they exchange code."""


@contextmanager
def connect(settings: BatchSettings) -> Iterator[Client]:
    """Yield a client of the scheduler at the address in the settings.

    Raises:
        ClusterError: no connection, or another version of Python, Dask or gigaslide there.
    """
    security = None
    if settings.tls_ca_file:
        security = Security(
            tls_ca_file=str(settings.tls_ca_file),
            tls_client_cert=str(settings.tls_cert_file),
            tls_client_key=str(settings.tls_key_file),
            require_encryption=True,
        )
    dask_logger = logging.getLogger("distributed")
    level = dask_logger.level
    dask_logger.setLevel(logging.CRITICAL)  # the ClusterError says it once
    try:
        client = Client(
            settings.scheduler,
            security=security,
            timeout=CONNECT_TIMEOUT_S,
            set_as_default=False,
        )
    except (OSError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ClusterError(
            f"{settings.scheduler}: no connection to a Dask scheduler within "
            f"{CONNECT_TIMEOUT_S:g} s ({error}); check that one runs there (dask scheduler), and "
            "that the address begins with tcp:// for a scheduler without TLS, or with tls:// "
            "and --tls-ca-file, --tls-cert-file and --tls-key-file for one with TLS"
        ) from error
    finally:
        dask_logger.setLevel(level)
    with client:
        check_versions(client, settings.scheduler)
        threads: Any = client.nthreads()
        if max(threads.values(), default=0) > settings.threads_per_worker:
            logger.warning(
                "%s: workers have up to %d threads, but run one task at a time; start them with "
                "--nthreads %d and --nworkers",
                settings.scheduler,
                max(threads.values()),
                settings.threads_per_worker,
            )
        yield client


def check_versions(client: Client, address: str) -> None:
    """Compare the versions of scheduler and workers with those of this process.

    Raises:
        ClusterError: they differ; Dask itself would only warn.
    """
    found: Any = client.get_versions(packages=["gigaslide"])
    here = _versions(found["client"])
    nodes = {
        "the scheduler": found["scheduler"],
        **{f"worker {worker}": versions for worker, versions in found["workers"].items()},
    }
    for node, versions in nodes.items():
        there = _versions(versions)
        unequal = [
            f"{package} {there.get(package)} (here {here[package]})"
            for package in SAME_VERSION
            if there.get(package) != here[package]
        ]
        if unequal:
            raise ClusterError(
                f"{address}: {node} has {', '.join(unequal)}; install the same versions there as "
                "here, or start it from this environment"
            )


def _versions(report: dict[str, Any]) -> dict[str, str]:
    """Return version by package; of Python only major and minor."""
    versions = {name: str(version) for name, version in report.get("packages", {}).items()}
    versions["python"] = ".".join(versions.get("python", "").split(".")[:2])
    return versions
