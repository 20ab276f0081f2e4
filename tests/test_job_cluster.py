"""A queueing system that refuses jobs: an sbatch of our own stands for it."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from gigaslide.batch.cluster import dask_executor
from gigaslide.storage import ClusterError
from sums import COLUMNS, contents, expected, run

REASON = "Socket timed out on send/recv operation"
SBATCH = """#!/bin/sh
echo called >> {folder}/calls
if [ $(wc -l < {folder}/calls) -le {refused} ]; then
    echo "sbatch: error: Batch job submission failed: {reason}" >&2
    exit 1
fi
for script; do :; done
cp "$script" {folder}/script
setsid sh {folder}/script > {folder}/log 2>&1 &
echo "Submitted batch job $!"
"""


@pytest.fixture
def queue_that_refuses(tmp_path, monkeypatch):
    """Make an sbatch that refuses the first so many jobs and starts the others at once."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def made(refused: int) -> Path:
        for name, text in (("sbatch", SBATCH), ("scancel", '#!/bin/sh\nkill -- "-$1"\n')):
            (folder / name).write_text(text.format(folder=folder, refused=refused, reason=REASON))
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        tests = str(Path(__file__).parent)
        monkeypatch.setenv("PYTHONPATH", tests, prepend=os.pathsep)
        return folder / "calls"

    return made


QUEUE = {"cluster": "slurm", "memory_gb": 1, "interface": "lo", "worker_timeout_s": 300.0}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(dask_executor, "RESUBMIT_S", 0.5)


@pytest.mark.slow
def test_a_refused_job_is_submitted_again(tmp_path, queue_that_refuses, monkeypatch):
    calls, warnings = queue_that_refuses(1), []
    # caplog hears nothing: Dask silences the handlers that it finds.
    monkeypatch.setattr(
        dask_executor.logger, "warning", lambda text, *values: warnings.append(text % values)
    )
    assert run(tmp_path / "out", COLUMNS, cores=2, threads=2, **QUEUE).exit_status == 0
    assert contents(tmp_path / "out") == expected(COLUMNS)
    (warning,) = (text for text in warnings if "refused" in text)
    assert "slurm refused 1 job" in warning
    assert REASON in warning
    assert len(calls.read_text().splitlines()) == 2
    # One worker of two compute threads, which runs one task at a time.
    script = calls.with_name("script").read_text()
    assert re.search(r"OMP_NUM_THREADS\W+2\b", script)
    assert script.split("--nthreads ")[-1].split()[0] == "1"
    assert "--nworkers" not in script


@pytest.mark.slow
def test_a_queue_that_accepts_no_job_ends_the_run_with_its_reason(tmp_path, queue_that_refuses):
    calls = queue_that_refuses(100)
    with pytest.raises(ClusterError, match=rf"slurm.*{REASON}.*--queue.*--account"):
        run(tmp_path / "out", COLUMNS, **QUEUE)
    assert len(calls.read_text().splitlines()) == 3


def test_sbatch_template_is_a_shell_script_that_hands_the_signal_on():
    """`make test-cluster` runs it."""
    path = Path(__file__).resolve().parents[1] / "docs/sbatch.sh"
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    lines = path.read_text().splitlines()
    assert lines[-1] == 'exec gigaslide "$@"'
    assert "#SBATCH --signal=B:TERM@60" in lines


def test_a_queueing_system_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"--cluster slurm: sbatch is not on PATH"):
        run(tmp_path / "out", COLUMNS, **QUEUE)
