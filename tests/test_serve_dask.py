"""Jobs of a server that workers of a Dask compute."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli.job_stages import load_models, predict_job
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import JobDesk, JobQueue, Uploads, Workspace
from schedulers import dask, scheduler
from serving import Served, serve, wait_until
from test_serve_jobs import end_of, state_of
from test_serve_predicts import SETTINGS, bytes_of, heatmap_of, write_compact

pytestmark = pytest.mark.slow
NO_WORKER_S = 20.0


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


def test_jobs_on_a_dask_give_the_same_bytes_are_cancelled_and_outlive_a_worker(tmp_path, address):
    write_compact(tmp_path / "model")
    write_tiff(tmp_path / "slide_1.tif", stained_slide(1))
    local = serve_jobs(tmp_path, "here", workers=0)
    here = next(local)
    expected = end_of(here, submit(here))
    mine = bytes_of(heatmap_of(here, expected, tmp_path / "local"))
    next(local, None)

    elsewhere = serve_jobs(
        tmp_path, "there", scheduler=address, worker_timeout_s=NO_WORKER_S, max_attempts=2
    )
    served = next(elsewhere)
    folder = tmp_path / "there" / "jobs"

    # Without a worker the job waits for one; cancelled, it leaves nothing, and the next one runs.
    waiting = submit(served, stride_px=64)
    wait_until(lambda: (folder / waiting / "run.jsonl").exists(), 60)
    assert served.ask(f"/api/jobs/{waiting}", method="DELETE").status == 204
    worker = start_worker(address)
    done = end_of(served, submit(served))
    assert (done["state"], done["reason"]) == ("done", "")
    assert done["counts"] == expected["counts"]
    assert bytes_of(heatmap_of(served, done, tmp_path / "dask")) == mine
    outlines = [one.ask(f"/{done['results']['outlines.geojson']}") for one in (served,)]
    assert outlines[0].plain["features"]
    assert state_of(served, waiting)["state"] == "cancelled"
    assert not (folder / waiting).exists()

    # A worker that dies in the middle of a block is replaced by another one.
    long = submit(served, stride_px=3, orientations=8)
    wait_until(lambda: state_of(served, long)["windows"] > 0, 60)
    end_worker(worker)
    assert state_of(served, long)["state"] == "running"
    another = start_worker(address)
    assert served.ask(f"/api/jobs/{long}", method="DELETE").status == 204

    # Where no other one comes, the job fails with words for a person; sent again, it continues.
    end_worker(another)
    lost = submit(served, stride_px=16)
    failed = end_of(served, lost)
    assert failed["state"] == "failed"
    assert f"no worker for {NO_WORKER_S:.0f} s" in failed["reason"]
    assert "send the same job" in failed["reason"]
    third = start_worker(address)
    assert submit(served, stride_px=16) == lost
    assert end_of(served, lost)["state"] == "done"
    end_worker(third)
    next(elsewhere, None)
