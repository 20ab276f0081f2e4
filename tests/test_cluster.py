"""A real Slurm on this machine: the same files as elsewhere, also when a job is cancelled half-way.

Only where asked for: make test-cluster. Where Slurm is not installed the tests are skipped with
words that begin NOT TESTED; an installed one that does not start, or runs no job, fails them.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.batch.cluster import clients
from gigaslide.cli.options.config import format_config
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.patching import PatchStore, tile_cohort
from gigaslide.training import train
from gigaslide.wsi import CellStatus, Heatmap
from predicting import content, write_slides
from sums import COLUMNS, Column, contents, expected, run
from test_batch_blocks import journal
from test_dense import write_model
from tiling import SETTINGS, content_hash
from training_store import SHORT, make_store

ROOT = Path(__file__).resolve().parents[1]
ON_SLURM = {"cluster": "slurm", "memory_gb": 1, "interface": "lo", "walltime": "00:10:00"}
TIMEOUT_S = 300.0  # CI has two cores, and both are busy
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm of one node that is stopped at the end; its jobs find the package and these tests."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: starting a Slurm of our own needs root")
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"NOT TESTED: no {', '.join(missing)} here; on Debian .ci/slurm install brings them"
        )
    given = os.environ.get("PYTHONPATH", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "GIGASLIDE_SLURM", f"/run/gigaslide-slurm-{os.getpid()}"
        )  # beside one that runs here by hand
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [given, str(ROOT / "tests")])))
        try:
            started = run_command(ROOT / ".ci/slurm", "start")
            if started.returncode:
                pytest.fail(f"Slurm did not start: {started.stderr}")
            patch.setenv("SLURM_CONF", started.stdout.split("SLURM_CONF=")[1].strip())
            yield
        finally:
            run_command(ROOT / ".ci/slurm", "stop")


def run_command(*command: str | Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def jobs() -> list[str]:
    """Numbers of the jobs that run."""
    command = ["squeue", "--noheader", "--format=%A", "--states=PENDING,RUNNING,COMPLETING"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=True
    ).stdout.split()


def wait_for_no_jobs() -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while jobs() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not jobs()


def wait_for_blocks(out: Path, count: int, *, job: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not (out / "run.jsonl").exists() or len(journal(out, "block")) < count:
        state = run_command("squeue", "--noheader", "--format=%T", f"--jobs={job}").stdout.strip()
        logs = "".join(path.read_text() for path in out.parent.glob("*.log"))
        assert state in ("PENDING", "CONFIGURING", "RUNNING"), (
            f"job {job} ended as {state or 'unknown'}: {logs}"
        )
        assert time.monotonic() < deadline, (
            f"job {job} is {state} and has not done {count} blocks: {logs}"
        )
        time.sleep(0.2)


def test_two_jobs_make_the_same_files_and_talk_tls_only(slurm, tmp_path):
    summary = run(tmp_path, COLUMNS, jobs=2, **ON_SLURM)
    assert summary.headline() == "3 slides: 3 done, 0 skipped, 0 partial, 0 failed"
    assert contents(tmp_path) == expected(COLUMNS)
    assert {worker.split("://")[0] for worker in summary.pace.workers} == {"tls"}
    logs = "".join(path.read_text() for path in (tmp_path / "job-logs").iterdir())
    assert all(f"on {column.id}, block 0" in logs for column in COLUMNS)
    wait_for_no_jobs()


def test_cancelled_job_is_replaced_and_the_run_completes(slurm, tmp_path, monkeypatch):
    monkeypatch.setitem(clients.OPTIONS, "distributed.deploy.lost-worker-timeout", "5s")
    long = [Column("long", 100)]
    seen: list[str] = []

    def cancel(_: dict[str, int]) -> None:
        if len(seen) < 1:
            seen.extend(jobs()[:1])
            subprocess.run(["scancel", *seen], timeout=20, check=True)

    summary = run(tmp_path, long, pause_s=0.5, jobs=1, on_block=cancel, **ON_SLURM)
    assert summary.exit_status == 0
    assert len(seen) == 1
    assert len(summary.pace.workers) == 2  # one before, one after: there was but one job at a time
    assert contents(tmp_path) == expected(long)
    assert len(journal(tmp_path, "block")) == 20
    wait_for_no_jobs()


def test_tiling_on_slurm_gives_the_content_hash_of_tiling_here(slurm, cohort, tiled, tmp_path):
    settings = BatchSettings(jobs=2, min_jobs=0, **ON_SLURM)  # jobs come with the work
    summary = tile_cohort(cohort, tmp_path / "store", SETTINGS, settings)
    assert summary.exit_status == 0
    assert content_hash(PatchStore(tmp_path / "store")) == content_hash(tiled[0])
    wait_for_no_jobs()


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_prediction_on_slurm_gives_the_bytes_of_prediction_here(slurm, mode, tmp_path, monkeypatch):
    """With a real network, which another process converts before any job starts."""
    monkeypatch.setenv("GIGASLIDE_CACHE", str(tmp_path / "cache"))
    model = write_model(tmp_path / "model", "compact")
    cohort = write_slides(tmp_path, 1, 2)
    settings = PredictSettings(mode=mode, stride_px=32, exact_above=0.5, allow_tumor_on_glass=True)
    here = BatchSettings(workers=0, threads=1)
    assert predict_cohort(cohort, model, tmp_path / "here", settings, here).exit_status == 0
    on_slurm = BatchSettings(jobs=2, **{**ON_SLURM, "memory_gb": 2})
    assert predict_cohort(cohort, model, tmp_path / "there", settings, on_slurm).exit_status == 0
    status = Heatmap.load(tmp_path / "here/s1/heatmap.zarr").status
    assert (CellStatus.FIRST_PASS in status) == (mode == "fast")
    assert CellStatus.SCORED in status
    there = content(tmp_path / "there")
    of_slides = {name: found for name, found in there.items() if not name.startswith("job-logs")}
    assert of_slides == content(tmp_path / "here")
    wait_for_no_jobs()


def test_training_as_a_job_that_is_stopped_once_ends_with_the_weights_of_one_here(slurm, tmp_path):
    store = make_store(tmp_path)
    settings = SHORT.model_copy(update={"examples": 640, "checkpoint_minutes": 0.0})
    config = tmp_path / "settings.yaml"
    config.write_text(format_config("train", {"settings": settings}))
    given = ["--config", str(config), "train", str(store.path), str(tmp_path / "model")]
    where = ["--cluster", "slurm", "--gpus", "1", "--memory-gb", "2", "--walltime", "00:10:00"]
    with subprocess.Popen(
        [sys.executable, "-m", "gigaslide.cli", *given, *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        checkpoints = tmp_path / "model.checkpoint"
        deadline = time.monotonic() + TIMEOUT_S
        while not list(checkpoints.glob("step_*")):
            assert command.poll() is None, command.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        subprocess.run(["scancel", "--batch", "--signal=TERM", *jobs()], timeout=20, check=True)
        said = command.communicate(timeout=TIMEOUT_S)[0]
    assert command.returncode == 0, said
    assert said.count("is submitted; its log is") == 2
    assert "ended with 143; the command is submitted again" in said
    assert "training continues after" in said
    assert "trained; best validation patch AUC" in said
    train(store, tmp_path / "here", settings)
    assert read_arrays(tmp_path / "model") == read_arrays(tmp_path / "here")
    wait_for_no_jobs()


def read_arrays(model: Path) -> dict[str, bytes]:
    """Every array of weights of a model, by its name in the file."""
    arrays: dict[str, bytes] = {}
    with h5py.File(model / "last.weights.h5") as file:
        file.visititems(
            lambda name, found: (
                arrays.update({name: found[()].tobytes()})
                if isinstance(found, h5py.Dataset)
                else None
            )
        )
    assert arrays
    return arrays


def test_sbatch_template_runs_a_command_that_a_signal_stops_and_the_next_job_completes(
    slurm, tmp_path, monkeypatch
):
    """The command writes its journal and exits by itself; submitted again, it continues."""
    program = tmp_path / "bin/gigaslide"  # stands for the command, with blocks that take time
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/sums.py"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    resources = ["--cpus-per-task=1", "--mem=500M", "--time=00:05:00"]
    words = ["job", str(tmp_path / "out"), "250"]
    for attempt in range(2):
        sent = subprocess.run(
            ["sbatch", "--parsable", *resources, ROOT / "docs/sbatch.sh", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        job = sent.stdout.strip()
        if attempt == 0:
            wait_for_blocks(tmp_path / "out", 3, job=job)
            # as Slurm itself does for --signal=B:TERM@60
            subprocess.run(["scancel", "--batch", "--signal=TERM", job], timeout=20, check=True)
        wait_for_no_jobs()
    assert "SIGTERM" in journal(tmp_path / "out", "stopped")[-1]["reason"]
    assert contents(tmp_path / "out") == expected([Column("long", 250)])
    assert len(journal(tmp_path / "out", "block")) <= 50 + 2
