"""Dask's schedulers and workers as processes of their own, with and without TLS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed.security import Security

TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> dict[str, str]:
    """An authority and a certificate, as options of Dask's commands."""
    folder, made = tmp_path_factory.mktemp("tls"), Security.temporary()
    names = {"tls_ca_file": "ca", "tls_client_cert": "cert", "tls_client_key": "key"}
    for field, name in names.items():
        (folder / name).write_text(getattr(made, field))
    return {
        f"--tls-{option}": str(folder / name) for option, name in (("ca-file", "ca"), ("cert", "cert"), ("key", "key"))
    }


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
    process = dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", *words)
    assert process.stderr is not None
    address = next(line.split()[-1] for line in process.stderr if "Scheduler at:" in line)
    return process, address
