"""A Dask scheduler that runs already: connections that are refused, and a scheduler that dies."""

import importlib.metadata
import sys
import types
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from gigaslide.batch.blocks import Task
from gigaslide.batch.cluster import remote_scheduler
from gigaslide.batch.cluster.remote_scheduler import check_versions
from gigaslide.storage import ClusterError
from schedulers import dask, make_executor, scheduler
from sums import COLUMNS, Column, contents, expected, run


@pytest.fixture
def _short_connect_timeout(monkeypatch):
    monkeypatch.setattr(remote_scheduler, "CONNECT_TIMEOUT_S", 3.0)


@pytest.fixture
def tls_options(certificates) -> dict[str, Any]:
    """Certificates as options of `BatchSettings`."""
    return {
        "tls_ca_file": certificates["--tls-ca-file"],
        "tls_cert_file": certificates["--tls-cert"],
        "tls_key_file": certificates["--tls-key"],
    }


@pytest.fixture
def tls_scheduler(certificates) -> Iterator[str]:
    words = [word for option in certificates.items() for word in option]
    process, address = scheduler("--protocol", "tls", *words)
    yield address
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("_short_connect_timeout")
def test_fault_37_plain_and_tls_are_refused_to_each_other_with_advice(
    tmp_path, tls_scheduler, tls_options
):
    plain = tls_scheduler.replace("tls://", "tcp://")
    for address in (plain, "tcp://127.0.0.1:9"):
        with pytest.raises(ClusterError, match=rf"{address}.*tls://.*--tls-ca-file"):
            run(tmp_path, COLUMNS, scheduler=address)
    # A connection with TLS succeeds, but there is no worker.
    with pytest.raises(ClusterError, match=r"no worker for 1 s.*--worker-timeout-s"):
        run(tmp_path, COLUMNS, scheduler=tls_scheduler, worker_timeout_s=1, **tls_options)


@pytest.mark.slow
@pytest.mark.usefixtures("_short_connect_timeout")
def test_fault_33_client_stops_when_the_scheduler_dies_and_another_run_completes(
    tmp_path, tls_options
):
    long = [Column("long", 300)]
    process, address = scheduler()
    worker = dask("worker", address, "--nthreads", "1", "--death-timeout", "60", "--no-dashboard")
    assert worker.stderr is not None
    next(line for line in worker.stderr if "Registered to" in line)

    def kill(_: dict[str, int]) -> None:
        process.kill()

    try:
        with pytest.raises(ClusterError, match=rf"{address}.*(no scheduler for 2 s|gone)"):
            run(tmp_path, long, pause_s=0.05, scheduler=address, worker_timeout_s=2, on_block=kill)
        tls_address = address.replace("tcp", "tls")
        with pytest.raises(ClusterError, match=tls_address):
            run(tmp_path, long, scheduler=tls_address, **tls_options)
    finally:
        for child in (process, worker):
            child.kill()
            child.communicate()
    assert run(tmp_path, long).exit_status == 0
    assert contents(tmp_path) == expected(long)


def test_fault_37_a_scheduler_without_our_code_fails_no_slide(monkeypatch):
    """Work of a module that only this process has."""
    module = types.ModuleType("only_here")
    exec("class Work: pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    process, address = scheduler()
    try:
        with closing(make_executor(module.Work(), scheduler=address)) as executor:
            executor.submit(Task(slide=COLUMNS[0], step="prepare"))
            with pytest.raises(ClusterError, match=rf"{address}.*only_here"):
                executor.wait(60)
    finally:
        process.kill()
        process.communicate()


class FakeClient:
    """Answers like a client whose worker has other versions."""

    def __init__(self, worker: dict[str, str | None]) -> None:
        here = {
            "python": "3.11.7.final.0",
            "dask": "1",
            "distributed": "2",
            "cloudpickle": "3",
            "gigaslide": importlib.metadata.version("gigaslide"),
        }
        self.versions = {
            "client": {"packages": here},
            "scheduler": {"packages": {**here, "python": "3.11.2.final.0"}},
            "workers": {"tcp://w:1": {"packages": {**here, **worker}}},
        }

    def get_versions(self, packages: list[str]) -> dict[str, Any]:
        assert packages == ["gigaslide"]
        return self.versions


@pytest.mark.parametrize(
    ("worker", "facts"),
    [
        ({"distributed": "9"}, r"tcp://w:1.*distributed 9.*2"),
        ({"python": "3.12.0.final.0"}, r"python 3\.12.*3\.11"),
        ({"gigaslide": "0.0.9"}, r"gigaslide 0\.0\.9"),
        ({"gigaslide": None}, r"gigaslide None"),
    ],
)
def test_fault_37_other_versions_are_refused_naming_both(worker, facts):
    check_versions(FakeClient({}), "tcp://s:1")
    with pytest.raises(ClusterError, match=rf"tcp://s:1.*{facts}"):
        check_versions(FakeClient(worker), "tcp://s:1")
