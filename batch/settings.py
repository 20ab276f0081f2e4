"""Settings of the batch room."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ..storage import Settings

__all__ = ["BatchSettings", "QueueName"]

QueueName = Literal["slurm", "pbs", "lsf", "sge", "htcondor"]


class BatchSettings(Settings):
    """Settings of where a stage runs: in this process, in worker processes on this machine, in
    cluster jobs, or on a running Dask scheduler."""

    workers: int | None = Field(default=None, ge=0)
    """Worker processes on this machine; 0 runs everything in this process. Default: one per core,
    or one per GPU with --gpus; at most one per slide for stages that process a slide in one
    task."""
    threads: int | None = Field(default=None, ge=1)
    """Compute threads per worker (network, linear algebra). Default: 1 for stages that read slides,
    more for stages that run a network."""
    gpus: int | None = Field(default=None, ge=1)
    """Number of GPUs of this machine to use; each worker sees one of them. With train --cluster
    slurm: GPUs of the job. In the jobs of other commands request GPUs with a directive instead:
    --job-directives=--gres=gpu:1."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Memory limit per worker (GB). Default: an equal share of the memory that this machine,
    container or job allows; 4 in cluster jobs, 8 in the job of a training."""
    cluster: QueueName | None = None
    """Run the workers as jobs of this queueing system (through dask-jobqueue). A training is one
    job, slurm only."""
    queue: str = ""
    """Queue or partition of the jobs. Default: the system's own."""
    account: str = ""
    """Account or project that is charged for the jobs."""
    jobs: int = Field(default=1, ge=1)
    """Number of jobs to keep running; a job that ends early is replaced."""
    min_jobs: int | None = Field(default=None, ge=0)
    """Minimum number of jobs: start with these and add more, up to --jobs, while tasks wait.
    Default: always --jobs."""
    cores: int = Field(default=1, ge=1)
    """CPU cores per job. A job runs one worker per core; with --threads N, one per N cores."""
    walltime: str = "04:00:00"
    """Time limit per job, [days-]hours:minutes[:seconds]. Tasks that a job could not complete run
    again in the next job. HTCondor has no such limit."""
    interface: str = ""
    """Network interface through which jobs reach this machine, for example ib0. Default: the
    interface of its host name."""
    job_directives: tuple[str, ...] = ()
    """Extra directives for the header of a job, one per option: --job-directives=--qos=long."""
    job_prologue: tuple[str, ...] = ()
    """Shell commands that a job runs before its workers, one per option:
    --job-prologue "module load python"."""
    scheduler: str = ""
    """Address of a running Dask scheduler: tcp://host:8786 or tls://host:8786."""
    tls_ca_file: Path | None = None
    """Certificate of the authority that signed the scheduler's certificate, for tls:// (PEM)."""
    tls_cert_file: Path | None = None
    """Client certificate, for tls:// (PEM)."""
    tls_key_file: Path | None = None
    """Private key of the client certificate, for tls:// (PEM)."""
    task_timeout_s: float | None = Field(default=None, gt=0)
    """Maximum duration of one task (s), against reads that hang; a worker that exceeds it is
    killed. Default: 600 for one block of a slide, no limit for stages that process a slide in one
    task. Has no effect with --workers 0."""
    max_attempts: int = Field(default=3, ge=1)
    """Maximum attempts per task when its worker dies or a disk or network error occurs."""
    worker_timeout_s: float | None = Field(default=None, gt=0)
    """Stop after this time without any worker or without the scheduler (s). Default: 120; one day
    for jobs that wait in a queue."""
    retry_failed: bool = False
    """Try slides again that failed in an earlier run with the same input and settings."""
    clear_lock: bool = False
    """Remove the lock that another run holds on this output. Use it only if that run has ended."""

    @field_validator("walltime")
    @classmethod
    def _check_walltime(cls, value: str) -> str:
        if not re.fullmatch(r"(\d+-)?\d{1,3}:\d{2}(:\d{2})?", value):
            raise ValueError(
                f"{value!r} is not a duration; give [days-]hours:minutes[:seconds], "
                "for example 08:00:00"
            )
        return value

    @field_validator("scheduler")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://[^\s/]+(:\d+)?/?", value):
            raise ValueError(
                f"{value!r} is not a scheduler address; give one like tcp://10.0.0.5:8786 "
                "or tls://host:8786"
            )
        return value

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        given = {
            "workers": self.workers is not None,
            "cluster": self.cluster is not None,
            "scheduler": bool(self.scheduler),
        }
        chosen = [name for name, is_given in given.items() if is_given]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other; give one of them")
        if self.gpus and (self.scheduler or self.workers == 0):
            raise ValueError("gpus is for workers on this machine, or for the job of a training")
        if self.cluster and self.threads_per_worker > self.cores:
            raise ValueError(
                f"threads {self.threads_per_worker} exceeds cores {self.cores} of a job; "
                "raise cores or lower threads"
            )
        tls = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if any(tls) and not (all(tls) and self.scheduler.startswith(("tls://", "wss://"))):
            raise ValueError(
                "tls-ca-file, tls-cert-file and tls-key-file must be given together, "
                "with scheduler tls://…"
            )
        return self

    @property
    def threads_per_worker(self) -> int:
        """Compute threads per worker, with the default filled in."""
        return self.threads or 1

    @property
    def walltime_s(self) -> int:
        """Time limit per job in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = ([int(part) for part in clock.split(":")] + [0])[:3]
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

    @property
    def worker_timeout(self) -> float:
        """Seconds without a worker or scheduler after which a run stops, default filled in."""
        if self.worker_timeout_s is not None:
            return self.worker_timeout_s
        return 86_400.0 if self.cluster else 120.0

    def with_default_threads(self, threads: int) -> Self:
        """Return these settings with `threads` compute threads per worker where none are given."""
        if self.threads is not None:
            return self
        most = self.cores if self.cluster else threads
        return self.model_copy(update={"threads": min(threads, most)})
