"""Training as one Slurm job, with a Slurm of three small programs that run the job here."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gigaslide.batch import BatchSettings, SingleJob
from gigaslide.batch.cluster import single_job
from gigaslide.cli.main import COMMANDS, main
from gigaslide.cli.options.config import format_config, load_config
from gigaslide.cli.stages.train_job import LogView
from gigaslide.models import ARCHITECTURES
from gigaslide.storage import ClusterError, SettingsError
from gigaslide.training import TrainSettings, train
from tiny_network import TINY
from training_store import SHORT, make_store

SBATCH = r"""#!/bin/bash
# Runs the job at once; its state and exit status are those that PLAN has for it, if it has any.
for word in "$@"; do case $word in --output=*) log=${word#--output=} ;; esac; done
echo "$@" >>"$QUEUE/submissions"
[ ! -e "$QUEUE/refuse" ] || { echo "sbatch: error: Invalid account" >&2; exit 1; }
job=$(($(wc -l <"$QUEUE/submissions") + 40))
bash "${@: -1}" >"${log/\%j/$job}" 2>&1
status=$?
state=FAILED
[ $status != 0 ] || state=COMPLETED
[ ! -e "$QUEUE/state-$job" ] || state=$(cat "$QUEUE/state-$job")
echo "JobId=$job JobState=$state Reason=None NodeList=n1 ExitCode=$status:0" >"$QUEUE/job-$job"
echo "$job;here"
"""
SCONTROL = r"""#!/bin/bash
job=${@: -1}
if [ -e "$QUEUE/running-$job" ]; then
    rm "$QUEUE/running-$job"
    echo "JobId=$job JobState=RUNNING Reason=None NodeList=n1 ExitCode=0:0"
    exit
fi
[ -e "$QUEUE/job-$job" ] || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
cat "$QUEUE/job-$job"
"""
ONCE_MORE = "echo line >>made; printf '\\rbar'; [ $(wc -l <made) -ge {} ] || exit 143"


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Path:
    """Folder of a Slurm that keeps jobs as files."""
    folder, programs = tmp_path / "queue", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("QUEUE", str(folder))
    monkeypatch.setattr(single_job, "ASK_QUEUE_S", 0.0)
    monkeypatch.chdir(tmp_path)
    return folder


def single(script: str, folder: Path, **given) -> tuple[SingleJob, list[str], list[str]]:
    events: list[str] = []
    output: list[str] = []
    made = Path("made")
    job = SingleJob(
        argv=("bash", "-c", script),
        folder=folder,
        files={"settings.yaml": "a: 1\n"},
        settings=BatchSettings(cluster="slurm", **given),
        progress=lambda: made.read_text() if made.exists() else "",
        on_event=events.append,
        on_output=output.append,
    )
    return job, events, output


def submissions(queue: Path) -> int:
    path = queue / "submissions"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_job_that_the_queue_stops_is_submitted_until_it_has_completed(queue, tmp_path):
    job, events, output = single(ONCE_MORE.format(5), tmp_path / "m.job", max_attempts=1)
    assert job.run() == 0
    assert submissions(queue) == 5
    assert output == ["\rbar"] * 5
    assert [line for line in events if "again" in line] == [
        f"job {number} ended with 143; the command is submitted again" for number in range(41, 45)
    ]
    assert job.current == "45"
    assert (tmp_path / "m.job/settings.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize("state", ["TIMEOUT", "PREEMPTED", "NODE_FAIL"])
def test_states_in_which_the_queue_stops_a_job_lead_to_another(queue, tmp_path, state):
    (queue / "state-41").write_text(state)
    job, *_ = single("echo x >>made; exit 0", tmp_path / "m.job")
    assert job.run() == 0
    assert submissions(queue) == 2


def test_jobs_that_get_no_further_end_in_an_error_with_the_log(queue, tmp_path):
    job, *_ = single("echo the reason; exit 143", tmp_path / "m.job", max_attempts=2)
    with pytest.raises(ClusterError, match=r"(?s)2 jobs.*m\.job/42\.log.*the reason"):
        job.run()
    assert submissions(queue) == 2


@pytest.mark.parametrize(
    ("state", "status", "facts"),
    [
        ("FAILED", 1, r"(?s)job 41 ended with 1.*41\.log.*the reason"),
        ("CANCELLED", 0, "job 41 was cancelled"),
        ("OUT_OF_MEMORY", 1, "job 41.*--memory-gb"),
    ],
)
def test_a_job_that_fails_or_is_cancelled_is_not_submitted_again(
    queue, tmp_path, state, status, facts
):
    (queue / "state-41").write_text(state)
    job, *_ = single(f"echo the reason; exit {status}", tmp_path / "m.job")
    with pytest.raises(ClusterError, match=facts):
        job.run()
    assert submissions(queue) == 1


def test_a_command_that_leaves_slides_out_has_completed_with_2(queue, tmp_path):
    assert single("exit 2", tmp_path / "m.job")[0].run() == 2


def test_the_same_command_follows_a_job_that_still_runs(queue, tmp_path):
    job, *_ = single("echo hello", tmp_path / "m.job")
    job.run()
    (queue / "running-41").touch()
    again, events, output = single("echo hello", tmp_path / "m.job")
    assert again.run() == 0
    assert "41 is there already" in events[0]
    assert "".join(output) == "hello\n"
    assert submissions(queue) == 1
    (queue / "running-41").touch()
    with pytest.raises(SettingsError, match=r"job 41 still runs.*scancel 41"):
        single("echo other", tmp_path / "m.job")[0].run()


def test_a_refused_job_and_a_machine_without_slurm_are_errors(queue, tmp_path, monkeypatch):
    (queue / "refuse").touch()
    with pytest.raises(ClusterError, match=r"Invalid account.*job\.sh"):
        single("true", tmp_path / "m.job")[0].run()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="sbatch is not on PATH"):
        single("true", tmp_path / "m.job")[0].run()


def test_the_script_asks_for_resources_and_a_signal_before_the_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = BatchSettings(
        cluster="slurm",
        queue="long",
        account="lab",
        cores=6,
        memory_gb=12,
        gpus=2,
        walltime="1-02:00:00",
        job_directives=("--qos=high",),
        job_prologue=("module load python",),
    )
    lines = single_job.job_script(("gigaslide", "train", "a b"), settings).splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert {
        "#SBATCH -p long",
        "#SBATCH -A lab",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --mem=12G",
        "#SBATCH -t 1-02:00:00",
        "#SBATCH --signal=B:TERM@60",
        "#SBATCH --no-requeue",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --qos=high",
    } <= set(lines)
    assert lines[-3:] == [
        "module load python",
        f"cd {tmp_path} || exit 1",
        "exec gigaslide train 'a b'",
    ]


def test_settings_of_the_job_are_those_of_the_command(queue, tmp_path, monkeypatch, capsys):
    """The job of a training straight from slides, with a program that only says its arguments."""
    Path("cohort.csv").write_text("slide,label,split\na.tif,normal,train\n")
    python = tmp_path / "bin/python"
    python.write_text("#!/bin/sh\necho $@\n")
    python.chmod(stat.S_IRWXU)
    monkeypatch.setattr(sys, "executable", str(python))
    given = ["--recipe", "paper", "--examples", "77", "--augment.jitter-px", "3"]
    where = ["--cluster", "slurm", "--gpus", "1", "--cores", "3", "--tile.mpp", "0.7"]
    assert main(["train", "--from-slides", "cohort.csv", "model", *given, *where]) == 0
    out = capsys.readouterr().out
    words = "-m gigaslide.cli --config model.job/settings.yaml train cohort.csv model --from-slides"
    assert words in out
    assert "GPUs 1" in out
    section = load_config(Path("model.job/settings.yaml"), set(COMMANDS))["train"]
    expected = TrainSettings(recipe="paper", examples=77, augment={"jitter_px": 3})
    fields = TrainSettings.model_fields.keys() & section.keys()  # those without a value are absent
    assert TrainSettings(**{name: section[name] for name in fields}) == expected
    assert (section["tile"]["mpp"], section["workers"], section["cluster"]) == (0.7, 3, None)
    assert main(["--config", "model.job/settings.yaml", "train", "x", "y", "--dry-run"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["train"]["examples"] == 77


def test_ctrl_c_is_not_changed_by_the_library_of_job_scripts():
    code = """import signal
from gigaslide.batch import BatchSettings
from gigaslide.batch.cluster.single_job import job_script
job_script(("true",), BatchSettings(cluster="slurm"))
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    # A child of a shell's background job would begin with SIGINT ignored.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + code
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_go_on(queue, monkeypatch, capsys):
    Path("cohort.csv").write_text("slide,label,split\na.tif,normal,train\n")

    def interrupt(self, job):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "executable", "true")
    monkeypatch.setattr(SingleJob, "_follow", interrupt)
    assert main(["train", "--from-slides", "cohort.csv", "model", "--cluster", "slurm"]) == 130
    message = capsys.readouterr().err
    assert "job 41 goes on" in message
    assert "scancel 41" in message


def test_a_finished_model_is_found_without_a_job(queue, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    store = make_store(tmp_path)
    short = SHORT.model_copy(update={"examples": 32, "validate_every": 32})
    words = ["--config", "c.yaml", "train", str(store.path), "model", "--cluster", "slurm"]
    Path("c.yaml").write_text(format_config("train", {"settings": short}))
    train(store, Path("model"), short)
    assert main(words) == 0
    assert "unchanged" in capsys.readouterr().out
    assert main([*words, "--augment.jitter-px", "9"]) == 1  # told here, not after hours in a queue
    assert "a jitter of 9 px" in capsys.readouterr().err
    assert submissions(queue) == 0


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["--cluster", "slurm", "--jobs", "3"], "--jobs"),
        (["--cluster", "slurm", "--gpus", "2"], "--devices 2"),
        (["--cluster", "pbs"], "slurm only"),
    ],
)
def test_options_that_one_job_does_not_have_are_refused(queue, capsys, words, fact):
    Path("cohort.csv").write_text("slide,label,split\na.tif,normal,train\n")
    assert main(["train", "--from-slides", "cohort.csv", "model", *words]) == 1
    assert fact in capsys.readouterr().err
    assert submissions(queue) == 0


def test_a_log_is_shown_as_lines_and_the_state_of_its_bar(capsys):
    view = LogView()
    for piece in ("train: CPU\n\r 0%", "\r 5", "0%", "\r     \rWARNING: x\n\r 60%\r100%\ndone\n"):
        view.add(piece)
    shown = capsys.readouterr()
    assert shown.out == "train: CPU\nWARNING: x\n100%\ndone\n"
    assert shown.err == " 0%\n"  # and the others within the minute are not
