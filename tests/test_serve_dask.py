"""Jobs of a server that workers of a Dask compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from conftest import stained_slide, write_tiff
from distributed import Client
from gigaslide.batch import BatchSettings
from gigaslide.cli.stages.serve import load_models, predict_job
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import JobDesk, JobQueue, Uploads, Workspace
from schedulers import dask, scheduler
from serving import Served, serve, wait_until
from test_serve_jobs import state_of
from test_serve_predicts import SETTINGS, bytes_of, heatmap_of, write_compact

pytestmark = pytest.mark.slow
NO_WORKER_S, LONG_S = 3.0, 250.0


@pytest.fixture
def address() -> Iterator[str]:
    process, address = scheduler()
    yield address
    process.kill()
    process.communicate()


def start_worker(address: str):
    words = ["--nthreads", "1", "--no-nanny", "--death-timeout", "60", "--no-dashboard"]
    return dask("worker", address, *words)


def end_worker(process) -> None:
    process.kill()
    process.communicate()


@contextmanager
def serve_jobs(folder: Path, out: str, **settings) -> Iterator[Served]:
    """A server of one model and one slide, whose jobs run where the settings say."""
    models = load_models([folder / "model"])
    slide = CohortSlide(id="slide_1", path=folder / "slide_1.tif", split="train")
    command = partial(predict_job, batch=BatchSettings(**settings))
    queue = JobQueue(folder / out, models, command, patience_s=20.0)
    desk = JobDesk(queue, Uploads(folder / out / "uploads", 10**9))
    yield from serve(Workspace(cohort=Cohort(slides=(slide,)), desk=desk), folder)


def submit(served: Served, **settings) -> str:
    body = {"model": "model", "slide": "slide_1", "settings": {**SETTINGS, **settings}}
    return served.ask("/api/jobs", method="POST", body=body).plain["id"]


def end_of(served: Served, name: str) -> dict:
    """Wait for the end of a job; return its last state. Processes begin slowly here."""
    wait_until(lambda: state_of(served, name)["state"] not in ("queued", "running"), 300)
    return state_of(served, name)


def test_jobs_on_a_dask_give_the_same_bytes_and_are_cancelled(tmp_path, address):
    write_compact(tmp_path / "model")
    write_tiff(tmp_path / "slide_1.tif", stained_slide(1))
    with serve_jobs(tmp_path, "here", workers=0) as served:
        expected = end_of(served, submit(served))
        mine = bytes_of(heatmap_of(served, expected, tmp_path / "local"))
    with serve_jobs(tmp_path, "there", scheduler=address, worker_timeout_s=250) as served:
        waiting = submit(served, stride_px=64)  # for a worker
        folder = tmp_path / "there" / "jobs"
        wait_until(lambda: (folder / waiting / "run.jsonl").exists(), 120)
        assert served.ask(f"/api/jobs/{waiting}", method="DELETE").status == 204
        worker = start_worker(address)
        done = end_of(served, submit(served))
        assert (done["state"], done["reason"]) == ("done", "")
        assert done["counts"] == expected["counts"]
        assert bytes_of(heatmap_of(served, done, tmp_path / "dask")) == mine
        assert served.ask(f"/{done['results']['outlines.geojson']}").plain["features"]
        assert state_of(served, waiting)["state"] == "cancelled"
        assert not (folder / waiting).exists()
        end_worker(worker)


def test_a_job_tells_that_there_is_no_worker_and_outlives_one(tmp_path, address):
    write_compact(tmp_path / "model")
    write_tiff(tmp_path / "slide_1.tif", stained_slide(1))
    long = {"stride_px": 12, "orientations": 8}
    first = start_worker(address)
    with Client(address) as client:
        client.wait_for_workers(1, timeout=LONG_S)
    with serve_jobs(tmp_path, "out", scheduler=address, worker_timeout_s=NO_WORKER_S) as served:
        name = submit(served, **long)
        wait_until(lambda: state_of(served, name)["windows"] > 0, LONG_S)
        end_worker(first)  # in the middle of a block
        assert state_of(served, name)["state"] == "running"
        failed = end_of(served, name)
        assert failed["state"] == "failed"
        assert f"no worker for {NO_WORKER_S:.0f} s" in failed["reason"]
        assert "send the same job" in failed["reason"]
    second = start_worker(address)
    with serve_jobs(tmp_path, "out", scheduler=address, worker_timeout_s=LONG_S) as served:
        assert submit(served, **long) == name
        wait_until(lambda: state_of(served, name)["windows"] > 0, LONG_S)
        end_worker(second)
        third = start_worker(address)
        assert end_of(served, name)["state"] == "done"
        end_worker(third)
