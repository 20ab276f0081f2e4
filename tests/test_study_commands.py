"""Every study from one command on phantoms: features, trainings, tables; killed, on workers, and on
a Dask scheduler."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gigaslide.batch import available_cores
from gigaslide.cli import main
from gigaslide.models import build_network
from gigaslide.wsi import InputSpec
from schedulers import dask, heard, scheduler
from test_study import quick_plots, table

__all__ = ["quick_plots"]  # a fixture

TESTS = Path(__file__).parent
ENCODERS = ("colours", "first_pixel")
FEW = ["--folds", "2", "--seeds", "1", "--resamples", "100"]
SAMPLED = ["--draws", "1", *FEW]
STUDIES = {
    "labels": ["--weak-labels", "4", "--strong-labels", "8", *SAMPLED],
    "size": ["--slides", "4", "--learners", "strong", *SAMPLED],
    "noise": ["--flipped", "0.25", "--learners", "strong", *FEW],
    "transfer": FEW,
    "weak": ["--slides", "2", *SAMPLED],
    "finetune": [
        *("--architecture", "compact", "--steps", "2", "--batch-size", "4", "--freeze", "none"),
        *("--learning-rates", "0.01", "--patches-per-slide", "4", *FEW),
    ],
    "curriculum": [
        *("--mpp", "16", "--patch-px", "32", "--augmentation", "none"),
        *("--steps", "6", "--checkpoints", "2", *FEW),
    ],
}
CELLS = {
    "labels": 8,
    "size": 4,
    "noise": 4,
    "transfer": 4,
    "weak": 10,
    "finetune": 4,
    "curriculum": 4,
}
KINDS = ("labels", "weak", "finetune", "curriculum")
"""Studies whose cells do different work."""


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """Sixteen small phantoms of eight patients, and their features by two encoders."""
    folder = tmp_path_factory.mktemp("phantoms")
    small = ["--slides", "16", "--size-px", "512", "--mpp", "2", "--workers", "0"]
    assert main(["phantom", str(folder), *small]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS))
        for name in ENCODERS:
            words = ["--encoder", f"study_encoders:{name}", "--patch-px", "32", "--mpp", "4"]
            out = folder / f"features_{name}"
            cohort = str(folder / "cohort.csv")
            assert main(["features", cohort, str(out), *words, "--workers", "0"]) == 0
    return folder


def command(phantoms: Path, name: str, out: Path, *words: str) -> list[str]:
    first, second = (str(phantoms / f"features_{one}") for one in ENCODERS)
    given = ["--features", first]
    if name == "transfer":
        given = ["--encoders.colours", first, "--encoders.pixel", second]
    if name == "curriculum":
        given = []
    if name == "finetune":
        given = ["--store", str(phantoms / "store")]
        given += ["--starts.made", str(phantoms / "start.weights.h5")]
    cohort = str(phantoms / "cohort.csv")
    return ["study", name, cohort, str(out), *given, *STUDIES[name], *words]


@pytest.fixture(scope="module")
def patches(phantoms) -> None:
    """A store of small patches of the phantoms, and weights to begin with."""
    words = ["--patch-px", "75", "--centre-px", "32", "--mpp", "2", "--tumor-per-slide", "4"]
    words += ["--normal-per-slide", "4", "--workers", "0"]
    assert main(["tile", str(phantoms / "cohort.csv"), str(phantoms / "store"), *words]) == 0
    spec = InputSpec(patch_px=75, centre_px=32, mpps=(2.0,))
    build_network("compact", spec).save_weights(phantoms / "start.weights.h5")


@pytest.fixture(scope="module")
def studies(phantoms, patches, tmp_path_factory):
    """Run a study in this process, once."""
    folder, made = tmp_path_factory.mktemp("studies"), {}

    def run(name: str) -> Path:
        if name not in made:
            assert main(command(phantoms, name, folder / name, "--workers", "0")) == 0
            made[name] = folder / name
        return made[name]

    return run


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one == "labels" else pytest.mark.slow) for one in STUDIES],
)
def test_a_study_is_one_command(studies, name):
    out = studies(name)
    rows = table(out / "results.csv")
    assert len(rows) == CELLS[name]
    assert all(0 <= float(row["slide_auc"]) <= 1 for row in rows)
    assert all(0 <= float(row["window_auc"]) <= 1 for row in rows)
    splits = table(out / "splits.csv")
    for fold in ("0", "1"):
        sides = {
            side: {row["patient"] for row in splits if (row["fold"], row["side"]) == (fold, side)}
            for side in ("train", "test")
        }
        # Not every phantom has room for a patch of its class.
        expected = {3, 4} if name == "finetune" else {4}
        assert {len(patients) for patients in sides.values()} <= expected
        assert not sides["train"] & sides["test"]
    assert table(out / "comparisons.csv")[0]["role"] == "primary"
    assert "<h1>" in (out / "study.html").read_text()


def start(words: list[str]) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-m", "gigaslide.cli", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(words: list[str]) -> None:
    process = start(words)
    _, errors = process.communicate(timeout=1200)  # on a busy machine
    assert process.returncode == 0, errors


def count_cells(out: Path) -> int:
    return len(list(out.glob("cells/[!.]*/scores.npz")))


def assert_equal_tables(out: Path, whole: Path) -> None:
    for name in ("results.csv", "points.csv", "comparisons.csv", "splits.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_killed_study_goes_on_and_gives_equal_tables(phantoms, studies, tmp_path, name):
    out = tmp_path / "out"
    words = command(phantoms, name, out, "--workers", "0")
    process = start(words)
    deadline = time.monotonic() + 240
    while count_cells(out) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    begun = count_cells(out)
    assert 2 <= begun < CELLS[name]
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("cells/[!.]*/scores.npz")}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert_equal_tables(out, studies(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_workers_give_equal_tables(phantoms, studies, tmp_path, name):
    words = ["--workers", "2"]
    if name == "finetune":  # whole networks sum in another order with other threads
        words += ["--threads", str(available_cores())]
    finish(command(phantoms, name, tmp_path / "out", *words))
    assert_equal_tables(tmp_path / "out", studies(name))


@pytest.mark.slow
def test_a_dask_scheduler_gives_equal_tables(phantoms, studies, tmp_path):
    process, address = scheduler()
    worker = dask("worker", address, "--nthreads", "1", "--death-timeout", "60", "--no-dashboard")
    try:
        heard(worker, "Registered to")
        words = command(phantoms, "transfer", tmp_path / "out", "--scheduler", address)
        finish(words)
    finally:
        for child in (worker, process):
            child.kill()
            child.communicate()
    assert_equal_tables(tmp_path / "out", studies("transfer"))
