"""Questions to Slurm, and the state of a job in its words."""

import logging
import re
import subprocess
import time
from dataclasses import dataclass

__all__ = ["JobState", "call_slurm", "find_state"]

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 10.0  # where Slurm does not answer
STOPPED = {"BOOT_FAIL", "DEADLINE", "NODE_FAIL", "PREEMPTED", "TIMEOUT"}
ENDED = {"CANCELLED", "COMPLETED", "FAILED", "OUT_OF_MEMORY", "REVOKED", *STOPPED}
"""States in which a job of Slurm does not come back."""
COMPLETE = (0, 2)  # exit statuses of a command that has done what it could


@dataclass(frozen=True)
class JobState:
    """State of a job as Slurm tells it; `name` is empty for a job that it has forgotten."""

    name: str = ""
    reason: str = ""
    nodes: str = ""
    status: int = 0
    """Exit status of the command."""
    signal: int = 0
    """Signal that ended the command."""

    @property
    def has_ended(self) -> bool:
        return not self.name or self.name in ENDED

    @property
    def is_complete(self) -> bool:
        done = self.name == "COMPLETED" or (self.name == "FAILED" and not self.signal)
        return done and self.status in COMPLETE

    @property
    def was_stopped(self) -> bool:
        """True if the command may continue in another job: it did not end by itself."""
        by_signal = self.name == "FAILED" and (self.signal or self.status > 128)
        return not self.name or self.name in STOPPED or bool(by_signal)

    def __str__(self) -> str:
        if self.name == "PENDING":
            reason = "" if self.reason in ("", "None") else f" ({self.reason})"
            return f"waits in the queue{reason}"
        if self.name == "RUNNING":
            return f"runs on {self.nodes}"
        if not self.name:
            return "has ended"
        if self.name != "FAILED":
            return f"is {self.name}"
        return f"ended by signal {self.signal}" if self.signal else f"ended with {self.status}"


def find_state(job: str) -> JobState:
    """Return the state of a job. While the queue does not answer, wait."""
    failures = 0
    while True:
        done = call_slurm("scontrol", "--oneliner", "show", "job", job)
        if done.returncode == 0:
            return _parse(done.stdout)
        if "invalid job id" in done.stderr.lower():
            return JobState()
        failures += 1
        if failures == 3:
            logger.warning("job %s: Slurm does not answer (%s)", job, done.stderr.strip())
        time.sleep(ASK_AGAIN_S)


def _parse(line: str) -> JobState:
    fields = dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line))
    status, _, number = fields.get("ExitCode", "0:0").partition(":")
    return JobState(
        name=fields["JobState"],
        reason=fields.get("Reason", ""),
        nodes=fields.get("NodeList", ""),
        status=int(status),
        signal=int(number or 0),
    )


def call_slurm(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of Slurm's; its failure to start is one of exit status 1."""
    try:
        # A session of its own: Ctrl-C does not end a submission half-way.
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
