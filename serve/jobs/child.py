"""The child process that holds the model, and computes one job after the other."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait

from ...storage import GigaslideError
from .job import JobFacts, JobTask

__all__ = ["Child", "Command", "Message"]

Report = Callable[[str, int], None]
Command = Callable[[JobTask, Report], JobFacts]
"""Computes a job; it reports "plan" and the windows to score once, then "scored" and windows.
It pickles, and imports what it needs when it is called."""
Message = tuple[str, object]
STOP_S = 5.0


class Child:
    """A process that computes jobs by a command, until it is ended."""

    def __init__(self, command: Command) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # Not a daemon: it may start processes of its own, such as those that convert networks.
        self._process = context.Process(target=_serve_jobs, args=(theirs, command), daemon=False)
        self._process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def run(self, task: JobTask) -> Iterator[Message]:
        """Compute a job: yield ("plan", n) and ("scored", n), and at last ("done", facts),
        ("failed", reason) or, if the process died, ("died", reason)."""
        try:
            self._pipe.send(task)
            while True:
                message: Message = self._pipe.recv()
                yield message
                if message[0] in ("done", "failed"):
                    return
        except (EOFError, OSError):
            self._process.join(STOP_S)
            yield "died", _describe_death(self._process.exitcode)

    def stop(self, patience_s: float) -> None:
        """End the process: at once with patience 0, since a network in the middle of its work
        cannot be asked to stop; else ask it to end its workers first, and kill it after this
        time."""
        if not patience_s:
            self._process.kill()
            return
        self._process.terminate()
        timer = threading.Timer(patience_s, self._process.kill)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """End the process, which runs no job, and wait for its end."""
        self._pipe.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(STOP_S)


def _describe_death(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
            memory = "; it may have run out of memory" if name == "SIGKILL" else ""
            return f"the process that computes was ended by {name}{memory}"
    return f"the process that computes ended with status {status}"


def _serve_jobs(pipe: Connection, command: Command) -> None:
    """Compute the jobs that come through a pipe, in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the server, which ends this
    threading.Thread(target=_end_with_server, daemon=True).start()

    def report(kind: str, count: int) -> None:
        pipe.send((kind, count))

    while True:
        try:
            task: JobTask = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("done", command(task, report)))
        except KeyboardInterrupt:  # `Child.stop`, while workers elsewhere computed
            return
        except (GigaslideError, OSError, ValueError) as error:
            pipe.send(("failed", str(error) or type(error).__name__))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}"))


def _end_with_server() -> None:
    """End this process when the server is gone, in whatever way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
