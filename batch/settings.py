"""Settings of the batch room."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ..storage import Settings

__all__ = ["BatchSettings", "QueueName"]

QueueName = Literal["slurm", "pbs", "lsf", "sge", "htcondor"]


class BatchSettings(Settings):
    """Where slides are worked on: in this process, in processes of this machine, on a cluster, on a
    running Dask."""

    workers: int | None = Field(default=None, ge=0)
    """Worker processes on this machine; 0 runs everything in this process. Default: one per core,
    at most one per slide for stages that process a slide in one task."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Memory of one worker (GB); by default a core's share of this machine's or of its control
    group's; in a job 4."""
    cluster: QueueName | None = None
    """Run the workers as jobs of this queueing system (through dask-jobqueue)."""
    queue: str = ""
    """Queue or partition of the jobs; by default the system's own."""
    account: str = ""
    """Account or project that the jobs are charged to."""
    jobs: int = Field(default=1, ge=1)
    """Jobs to keep running; one that ends early is replaced."""
    least_jobs: int | None = Field(default=None, ge=0)
    """Adapt: from this many jobs up to --jobs, as there is work; by default always --jobs."""
    cores: int = Field(default=1, ge=1)
    """Cores of one job; each gets a worker of its own."""
    walltime: str = "04:00:00"
    """Time limit of one job, [days-]hours:minutes[:seconds]; what it stops is done again by the
    next. HTCondor takes none."""
    interface: str = ""
    """Network interface over which jobs reach this machine, such as ib0; by default that of its
    name."""
    job_options: tuple[str, ...] = ()
    """More directives for a job's header, one each: --job-options=--qos=long."""
    job_setup: tuple[str, ...] = ()
    """Shell lines a job runs before its workers, one each: --job-setup "module load python"."""
    scheduler: str = ""
    """Work on a Dask that is running, at this address: tcp://host:8786 or tls://host:8786."""
    tls_ca_file: Path | None = None
    """Certificate of the authority that signed the scheduler's, for tls:// (PEM)."""
    tls_cert_file: Path | None = None
    """This client's certificate, for tls:// (PEM)."""
    tls_key_file: Path | None = None
    """The key of this client's certificate, for tls:// (PEM)."""
    task_limit_s: float | None = Field(default=None, gt=0)
    """Kill a worker whose task takes longer (s), such as a read that hangs; by default 600 for a
    block of a slide and no limit for work that takes a slide whole. Work in this process cannot be
    killed."""
    tries: int = Field(default=3, ge=1)
    """Times a piece of work that loses its worker, or meets an error of the disk or the network, is
    tried in all."""
    patience_s: float | None = Field(default=None, gt=0)
    """Stop when there has been no worker, or no scheduler, for so long (s); by default 120, for
    jobs in a queue a day."""
    retry_failed: bool = False
    """Try slides again that failed in an earlier run on the same input by the same settings."""
    clear_lock: bool = False
    """Take away the lock of another run on the same output; only where that run is known to be
    dead."""

    @field_validator("walltime")
    @classmethod
    def _is_time(cls, value: str) -> str:
        if not re.fullmatch(r"(\d+-)?\d{1,3}:\d{2}(:\d{2})?", value):
            raise ValueError(
                f"{value!r} is no time; give [days-]hours:minutes[:seconds], such as 08:00:00"
            )
        return value

    @field_validator("scheduler")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://[^\s/]+(:\d+)?/?", value):
            raise ValueError(
                f"{value!r} is no address; give one such as tcp://10.0.0.5:8786 or tls://host:8786"
            )
        return value

    @model_validator(mode="after")
    def _one_engine(self) -> "BatchSettings":
        chosen = [
            name
            for name, given in (
                ("workers", self.workers is not None),
                ("cluster", self.cluster is not None),
                ("scheduler", bool(self.scheduler)),
            )
            if given
        ]
        if len(chosen) > 1:
            raise ValueError(
                f"{' and '.join(chosen)} exclude each other: give one place to work in"
            )
        tls = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if any(tls) and not (all(tls) and self.scheduler.startswith(("tls://", "wss://"))):
            raise ValueError(
                "tls-ca-file, tls-cert-file and tls-key-file go together, with scheduler tls://…"
            )
        return self

    @property
    def walltime_s(self) -> int:
        """The time limit in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = ([int(part) for part in clock.split(":")] + [0])[:3]
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

    def patience(self) -> float:
        """Seconds without a worker or a scheduler after which a run stops."""
        if self.patience_s is not None:
            return self.patience_s
        return 86_400.0 if self.cluster else 120.0
