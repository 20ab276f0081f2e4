"""Dask's schedulers and workers as processes of their own, with and without TLS."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from distributed.security import Security
from gigaslide.batch import BatchSettings
from gigaslide.batch.cluster.dask_executor import DaskExecutor
from gigaslide.batch.task import TaskTerms

TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> dict[str, str]:
    """An authority and a certificate, as options of Dask's commands."""
    folder, made = tmp_path_factory.mktemp("tls"), Security.temporary()
    names = {"tls_ca_file": "ca", "tls_client_cert": "cert", "tls_client_key": "key"}
    for field, name in names.items():
        (folder / name).write_text(getattr(made, field))
    return {
        f"--tls-{option}": str(folder / name)
        for option, name in (("ca-file", "ca"), ("cert", "cert"), ("key", "key"))
    }


def make_executor(work: object, **settings) -> DaskExecutor:
    """An executor of one attempt a task, on what `BatchSettings` of these names asks for."""
    terms = TaskTerms(run="r", max_attempts=1, timeout_s=None, log_level=0)
    return DaskExecutor(work, terms, BatchSettings(**settings), max_workers=1, shared=None)


def dask(what: str, *words: str) -> subprocess.Popen:
    """A scheduler or a worker that can import these tests."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(TESTS)]),
    }
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def scheduler(*words: str) -> tuple[subprocess.Popen, str]:
    """A scheduler of this machine only, and its address."""
    process = dask(
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--dashboard-address",
        "127.0.0.1:0",
        *words,
    )
    return process, heard(process, "Scheduler at:").split()[-1]


def heard(process: subprocess.Popen, words: str, *, limit_s: float = 90) -> str:
    """The first line with these words that a process of `dask` says; what it says later is thrown
    away."""
    assert process.stderr is not None
    killing = threading.Timer(limit_s, process.kill)  # ends its lines
    killing.start()
    found = next((line for line in process.stderr if words in line), None)
    killing.cancel()
    if found is None:
        process.kill()
        process.communicate()
        raise AssertionError(f"{process.args} did not say {words!r} within {limit_s} s")
    # A full pipe would stop the process. By a number of its own, for `communicate` closes the pipe.
    threading.Thread(target=_drain, args=[os.dup(process.stderr.fileno())], daemon=True).start()
    return found


def _drain(pipe: int) -> None:
    with os.fdopen(pipe, "rb", buffering=0) as file:
        while file.read(2**16):
            pass
