"""One command in one Slurm job: submitted, followed by its log, and submitted again when the queue
stops it before it has completed.

FOLDER/job.json    number, command and files of the last job
FOLDER/job.sh      its script
FOLDER/N.log       what job N wrote to standard output and standard error
"""

import codecs
import json
import logging
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...storage import LOCK, ClusterError, FolderLock, SettingsError, atomic_file
from ..settings import BatchSettings
from ..stop import Stopped, stop_signals
from .job_cluster import job_options, load_dask_jobqueue
from .slurm import JobState, call_slurm, find_state

__all__ = ["SingleJob"]

logger = logging.getLogger(__name__)

JOB, SCRIPT = "job.json", "job.sh"
SIGNAL_S = 60
"""Seconds before the time limit at which Slurm asks the command to stop."""
READ_LOG_S = 1.0
ASK_QUEUE_S = 10.0
SHOWN_LINES = 15  # of a log, in an error


@dataclass(frozen=True, kw_only=True)
class SingleJob:
    """A command that runs as one Slurm job at a time."""

    argv: tuple[str, ...]
    """Program and its arguments."""
    folder: Path
    """Folder for the script, the logs and the number of the job; jobs can reach it."""
    files: Mapping[str, str]
    """Text files in the folder that the command reads, by name."""
    settings: BatchSettings
    progress: Callable[[], object]
    """Value that changes whenever the command has got further, such as its last checkpoint."""
    on_event: Callable[[str], None]
    """Receives a line about the job."""
    on_output: Callable[[str], None]
    """Receives what the job writes, in pieces of any length."""

    def run(self) -> int:
        """Submit the command, or follow the job that runs it already, until it has completed.
        Return its exit status: 0 or 2.

        A job that the queue stopped is submitted again, until `settings.max_attempts` jobs in a
        row got no further.

        Raises:
            ClusterError: no Slurm here, it refuses the job, the command failed, or somebody
                cancelled the job.
            SettingsError: another command runs in this folder.
            KeyboardInterrupt: Ctrl-C; the job goes on.
        """
        if self.settings.cluster != "slurm":
            raise SettingsError(
                f"--cluster {self.settings.cluster}: one command as one job is there for slurm "
                "only; submit a script of your own that runs the command without --cluster, and "
                "submit it again until it has ended"
            )
        if shutil.which("sbatch") is None:
            raise ClusterError(
                "--cluster slurm: sbatch is not on PATH; run this command on a machine that can "
                "submit jobs"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        without_progress, is_first = 0, True
        while True:
            before = self.progress()
            job = self._attach_or_submit(keep_trying=not is_first)
            state = self._follow(job)
            if state.is_complete:
                return state.status
            without_progress = 0 if self.progress() != before else without_progress + 1
            self._check_end(job, state, without_progress)
            self.on_event(f"job {job} {state}; the command is submitted again")
            is_first = False

    @property
    def current(self) -> str | None:
        """Number of the last job, which may have ended; None before the first."""
        found = self._load()
        return None if found is None else str(found["job"])

    def _check_end(self, job: str, state: JobState, without_progress: int) -> None:
        log = self._log(job)
        again = "run the same command again to continue from the last checkpoint"
        if state.name == "CANCELLED":
            raise ClusterError(f"job {job} was cancelled; {again}")
        if state.name == "OUT_OF_MEMORY":
            raise ClusterError(f"job {job} ran out of memory; raise --memory-gb, and {again}")
        if not state.was_stopped:
            raise ClusterError(f"job {job} {state}; its log {log} ends with:\n{_last_lines(log)}")
        if without_progress >= self.settings.max_attempts:
            raise ClusterError(
                f"job {job} {state}, and {without_progress} jobs in a row got no further; raise "
                f"--walltime, or see what its log {log} ends with:\n{_last_lines(log)}"
            )

    def _attach_or_submit(self, *, keep_trying: bool) -> str:
        with FolderLock(self.folder / LOCK, clear=self.settings.clear_lock):
            job = self._find_running()
            if job is not None:
                self.on_event(f"job {job} is there already, and is followed")
                return job
            for name, text in self.files.items():
                (self.folder / name).write_text(text, encoding="utf-8")
            script = self.folder / SCRIPT
            script.write_text(job_script(self.argv, self.settings), encoding="utf-8")
            job = self._submit(script, keep_trying=keep_trying)
        self.on_event(f"job {job} is submitted; its log is {self._log(job)}")
        return job

    def _find_running(self) -> str | None:
        """Return the number of the job that runs this command already; None if there is none.

        Raises:
            SettingsError: a job runs another command.
        """
        found, job = self._load(), self.current
        if job is None or find_state(job).has_ended:
            return None
        if found != {"job": job, **self._content}:
            raise SettingsError(
                f"{self.folder}: job {job} still runs, with other arguments or settings; wait for "
                f"it, or cancel it with: scancel {job}"
            )
        return job

    def _submit(self, script: Path, *, keep_trying: bool) -> str:
        # In a file name, % begins one of Slurm's own words.
        log = str(self.folder.absolute() / "LOG").replace("%", "%%").replace("LOG", "%j.log")
        pause_s = 10.0
        while True:
            with stop_signals() as stop:  # a job that was accepted is recorded
                done = call_slurm("sbatch", "--parsable", f"--output={log}", str(script))
                job = done.stdout.strip().split(";")[0]
                if done.returncode == 0:
                    with atomic_file(self.folder / JOB) as partial:
                        record = {"job": job, **self._content}
                        partial.write_text(json.dumps(record), encoding="utf-8")
            if stop.number is not None:
                raise Stopped(stop.number)
            if done.returncode == 0:
                return job
            refusal = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            if not keep_trying:
                raise ClusterError(
                    f"Slurm refuses the job: {refusal}; change the options of the job, see {script}"
                )
            logger.warning("Slurm refuses the job: %s; asked again in %.0f s", refusal, pause_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 300.0)

    def _follow(self, job: str) -> JobState:
        """Pass on what the job writes until it has ended."""
        log, decoder, offset = self._log(job), codecs.getincrementaldecoder("utf-8")("replace"), 0
        shown, asked = "", -ASK_QUEUE_S
        state = JobState(name="PENDING")
        while not state.has_ended:
            if time.monotonic() - asked >= ASK_QUEUE_S:
                state, asked = find_state(job), time.monotonic()
                if str(state) != shown and not state.has_ended:
                    shown = str(state)
                    self.on_event(f"job {job} {shown}")
            else:
                time.sleep(min(READ_LOG_S, ASK_QUEUE_S))
            if log.exists():
                with log.open("rb") as file:  # opened anew: NFS then asks its server
                    file.seek(offset)
                    written = file.read()
                offset += len(written)
                self.on_output(decoder.decode(written))
        return state

    @property
    def _content(self) -> dict[str, object]:
        return {"argv": list(self.argv), "files": dict(self.files)}

    def _load(self) -> dict[str, object] | None:
        path = self.folder / JOB
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _log(self, job: str) -> Path:
        return self.folder.absolute() / f"{job}.log"


def job_script(argv: Sequence[str], settings: BatchSettings) -> str:
    """Return the script of a Slurm job that runs a command in the current folder.

    The command takes the shell's place, so that Slurm's signal before the time limit reaches it.
    """
    directives = [f"--signal=B:TERM@{SIGNAL_S}", "--no-requeue"]
    if settings.gpus:
        directives.append(f"--gres=gpu:{settings.gpus}")
    alone = settings.model_copy(
        update={
            "gpus": None,
            "threads": settings.cores,  # one process
            "job_directives": (*directives, *settings.job_directives),
        }
    )
    kind, options = job_options(alone, environment={}, logs=None)
    job = getattr(load_dask_jobqueue(), kind).job_cls(
        scheduler="",
        name="gigaslide",
        job_directives_skip=["#SBATCH -e ", "#SBATCH -o "],  # of a site's Dask configuration
        **options,
    )
    lines = [
        "#!/usr/bin/env bash",
        job.job_header,
        *settings.job_prologue,
        f"cd {shlex.quote(str(Path.cwd()))} || exit 1",
        f"exec {shlex.join(argv)}",
    ]
    return "\n".join(lines) + "\n"


def _last_lines(log: Path) -> str:
    if not log.exists():
        return "(no log; the job ended before it wrote one)"
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "\n".join([line for line in lines if line][-SHOWN_LINES:])
