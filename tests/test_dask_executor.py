"""Dask workers on this machine: what they find set, and what their deaths are counted against."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from dask import config as dask_config
from dask.distributed import Client, LocalCluster
from gigaslide.batch import BatchSettings, run_slides
from gigaslide.batch.blocks import Task
from gigaslide.batch.cluster import clients, dask_executor
from gigaslide.batch.machine import available_cores, available_memory
from gigaslide.storage import ClusterError, SettingsError
from schedulers import make_executor
from sums import COLUMNS, Sums
from test_batch import items, work


@pytest.fixture(scope="module")
def local_client() -> Iterator[Client]:
    """Two local workers of three compute threads, each with a GPU."""
    settings = BatchSettings(workers=2, threads=3, gpus=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "4,7,9")
        patch.setenv("OMP_NUM_THREADS", "5")
        patch.delenv("MKL_NUM_THREADS", raising=False)
        with clients.dask_client(settings, max_workers=9, shared=None) as (client, workers):
            assert workers == 2
            client.wait_for_workers(2)
            yield client
        assert os.environ["OMP_NUM_THREADS"] == "5"
        assert "MKL_NUM_THREADS" not in os.environ


def test_workers_have_their_threads_memory_and_gpu(local_client):
    environment = {
        name: sorted(local_client.run(os.getenv, name).values())
        for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    }
    assert environment == {
        "CUDA_VISIBLE_DEVICES": ["4", "7"],
        "OMP_NUM_THREADS": ["3", "3"],
        "TF_NUM_INTRAOP_THREADS": ["3", "3"],
    }
    assert set(local_client.nthreads().values()) == {1}  # tasks at a time
    limits = local_client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
    share = available_memory() // max(2, available_cores() // 3)
    assert set(limits.values()) == {share}


def test_workers_spend_no_time_on_dashboard_figures(local_client):
    def chores(dask_worker) -> tuple[bool, list[float]]:
        every = dask_worker.periodic_callbacks
        return "profile" in every, [every["tick"].callback_time, every["monitor"].callback_time]

    found = local_client.run(chores)
    assert list(found.values()) == [(False, [1000, 5000])] * 2


def test_fault_36_interrupt_of_a_terminal_leaves_workers_alone(local_client):
    workers = local_client.run(os.getpid)
    assert set(local_client.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}
    for worker in workers.values():
        os.kill(worker, signal.SIGINT)
    time.sleep(1)  # else they would be gone by then
    assert local_client.run(os.getpid) == workers


def test_fault_33_a_client_that_closed_itself_is_a_scheduler_that_is_gone():
    with closing(make_executor(Sums(Path()), workers=1, memory_gb=1)) as executor:
        executor.client.close()  # as it does 15 s after the scheduler died
        with pytest.raises(ClusterError, match="gone"):
            executor.submit(Task(slide=COLUMNS[0], step="prepare"))


def test_workers_that_end_too_slowly_do_not_fail_the_run(monkeypatch):
    warnings = []

    @contextmanager
    def slow_client(settings, **limits):
        with clients.dask_client(settings, **limits) as found:
            yield found
        raise TimeoutError

    monkeypatch.setattr(dask_executor, "dask_client", slow_client)
    monkeypatch.setattr(
        dask_executor.logger, "warning", lambda text, *values: warnings.append(text % values)
    )
    make_executor(Sums(Path()), workers=1, memory_gb=1).close()
    assert ["this machine" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    "setting",
    [
        {"distributed.comm.require-encryption": True},
        {"distributed.worker.lifetime.duration": "1s"},
    ],
)
def test_settings_that_a_site_made_for_dask_do_not_reach_this_machines_workers(setting):
    settings = BatchSettings(workers=1)
    with (
        dask_config.set(setting),
        clients.dask_client(settings, max_workers=1, shared=None) as (client, _),
    ):
        assert client.submit(sum, (1, 2)).result(timeout=30) == 3
        found = client.run(dask_config.get, next(iter(setting)))
    assert not any(found.values())


@pytest.mark.slow
def test_fault_34_slide_that_kills_its_worker_fails_alone():
    """Also on a worker of several threads: it runs one task at a time."""
    deeds = {"killer": "die", "a": "good", "b": "good", "c": "good", "d": "good", "e": "good"}
    options = {**clients.OPTIONS, "distributed.nanny.pre-spawn-environ": {}}
    with dask_config.set(options), LocalCluster(n_workers=1, threads_per_worker=4) as workers:
        settings = BatchSettings(scheduler=workers.scheduler_address)
        summary = run_slides(work, items(**deeds), settings)
    statuses = {outcome.slide: outcome.status for outcome in summary.outcomes}
    assert statuses == {name: "failed" if name == "killer" else "done" for name in deeds}
    (killer,) = summary.of_status("failed")
    assert "after 3 attempts" in killer.reason
    assert summary.exit_status == 2


def test_gpus_that_this_process_may_not_use_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert clients.visible_gpus(1) == ["4"]
    with pytest.raises(SettingsError, match=r"--gpus 3.*4, 7"):
        clients.visible_gpus(3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert clients.visible_gpus(2) == ["0", "1"]
