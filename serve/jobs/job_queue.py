"""Queue of jobs: one is computed at a time, a bounded number waits, and finished ones are kept."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ...storage import remove_folder
from .child import Child, Command
from .job import Job, JobFacts, JobRecipe, JobTask, ServedModel, State
from .request_check import in_words_of_requests

__all__ = ["JobQueue", "QueueIsFull", "seconds_left"]

logger = logging.getLogger(__name__)

MOST_WAITING = 32
MOST_ENDED = 1000  # failed and cancelled jobs that are remembered
JOBS = "jobs"
JOIN_S = 20.0

Found = TypeVar("Found")


class QueueIsFull(Exception):  # noqa: N818 - told to the client as 429
    """So many jobs wait that no further one is taken."""


@dataclass(eq=False)
class JobQueue:
    """Jobs by id; safe to use from several threads.

    A thread hands one job after the other to the child process. Results of a job lie in a folder of
    its own, and count once its job.json is there.
    """

    out: Path
    models: Mapping[str, ServedModel]
    command: Command
    """See `Command`; the child process runs it."""
    most_waiting: int = MOST_WAITING
    patience_s: float = 0.0
    """Time that the work of a cancelled job has to end its workers, before it is killed."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _waiting: deque[str] = field(default_factory=deque)
    _running: str = ""
    _child: Child | None = None
    _stopping: bool = False
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._news = threading.Condition(self._lock)

    def start(self) -> None:
        """Find the finished jobs of earlier runs, and begin to work."""
        folders = sorted((self.out / JOBS).glob("*")) if (self.out / JOBS).is_dir() else []
        for folder in folders:
            job = Job.load(folder)
            if job is not None:
                self._jobs.setdefault(folder.name, job)
        self._child = Child(self.command)  # imports while nobody waits
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the child process and the thread. Jobs that wait are forgotten."""
        with self._news:
            self._stopping = True
            if self._child is not None and self._running:
                self._child.stop(self.patience_s)
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(self.patience_s + JOIN_S)
        if self._child is not None:
            self._child.close()

    def folder(self, name: str) -> Path:
        """Return the folder of a job's results."""
        return self.out / JOBS / name

    def submit(self, recipe: JobRecipe, make_task: Callable[[Path], JobTask]) -> tuple[str, bool]:
        """Queue a job, unless the same one is there; return its id and whether it is finished.

        One that failed or was cancelled is queued again.

        Raises:
            QueueIsFull: too many jobs wait.
        """
        name = recipe.id
        with self._news:
            known = self._jobs.get(name)
            if known is not None and known.state == "done" and not self._is_whole(name):
                known = None  # somebody removed its files
            if known is not None and known.state in ("queued", "running", "done"):
                return name, known.state == "done"
            if len(self._waiting) >= self.most_waiting:
                raise QueueIsFull
            self._jobs.pop(name, None)  # to the end of the list
            self._jobs[name] = Job(recipe=recipe, task=make_task(self.folder(name)))
            self._waiting.append(name)
            self._forget_old()
            self._news.notify_all()
        return name, False

    def read(self, name: str, look: Callable[[Job], Found]) -> Found | None:
        """Call a function with a job while nothing changes it; None where there is no such job."""
        with self._lock:
            job = self._jobs.get(name)
            return None if job is None else look(job)

    def read_all(self, look: Callable[[Job], Found]) -> list[Found]:
        """Call a function with every job, the newest first."""
        with self._lock:
            newest = sorted(self._jobs.values(), key=lambda job: job.made, reverse=True)
            return [look(job) for job in newest]

    def state(self, name: str) -> State:
        """Return the state of a job; one that is gone was cancelled."""
        with self._lock:
            return self._jobs[name].state if name in self._jobs else "cancelled"

    def position(self, name: str) -> int:
        """Return the number of jobs that wait before this one."""
        with self._lock:
            return self._waiting.index(name) if name in self._waiting else 0

    def remove(self, name: str) -> bool:
        """Cancel a job that waits or runs; remove an ended one with its results. Return False if
        there is no such job."""
        with self._news:
            job = self._jobs.get(name)
            if job is None:
                return False
            if job.state == "running":
                job.end("cancelled")
                if self._child is not None:
                    self._child.stop(self.patience_s)
            elif job.state == "queued":
                self._waiting.remove(name)
                job.end("cancelled")
            else:
                del self._jobs[name]
                if name != self._running:
                    self._remove_files(name)
            return True

    @property
    def child_pid(self) -> int:
        """Process number of the child; 0 if there is none."""
        with self._lock:
            return self._child.pid if self._child is not None else 0

    def _work(self) -> None:
        while True:
            with self._news:
                while not (self._waiting or self._stopping):
                    self._news.wait()
                if self._stopping:
                    return
                name = self._running = self._waiting.popleft()
                job = self._jobs[name]
                job.state = "running"
                if self._child is None or not self._child.is_alive:
                    self._child = Child(self.command)
                child = self._child
            try:
                self._compute(child, name, job)
            except Exception:
                logger.exception("job %s", name)
                with self._lock:
                    job.end("failed", "the server failed; its log says why")
            with self._lock:
                self._running = ""
                if job.state == "cancelled" or name not in self._jobs:
                    self._remove_files(name)

    def _compute(self, child: Child, name: str, job: Job) -> None:
        assert job.task is not None
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, value in child.run(job.task):
            with self._lock:
                if job.state == "cancelled":
                    continue  # until the child is gone
                if isinstance(value, JobFacts):
                    job.counts, job.scored = value.counts, job.windows
                    job.end("done", self._reword(value.reason, job))
                    job.save(folder)
                elif kind in ("failed", "died"):
                    job.end("failed", self._reword(str(value), job))
                elif isinstance(value, int):
                    job.note(kind, value)
        if not child.is_alive or job.state == "cancelled":
            child.close()
            with self._lock:
                self._child = None if self._stopping else Child(self.command)

    def _reword(self, words: str, job: Job) -> str:
        """Name the slide, the model and settings as requests do; no path leaves the server."""
        task = job.task
        assert task is not None
        names = {str(task.slide.path): task.slide.id, str(task.folder): "the job"}
        names |= {str(model.folder): model.id for model in self.models.values()}
        for path, shown in names.items():
            words = words.replace(path, shown)
        return in_words_of_requests(words, self.models[job.recipe.model])

    def _is_whole(self, name: str) -> bool:
        return Job.load(self.folder(name)) is not None

    def _remove_files(self, name: str) -> None:
        folder = self.folder(name)
        (folder / "job.json").unlink(missing_ok=True)  # first: from now on there are no results
        if folder.is_dir():
            remove_folder(folder)

    def _forget_old(self) -> None:
        lost = [name for name, job in self._jobs.items() if job.state in ("failed", "cancelled")]
        for name in lost[:-MOST_ENDED]:
            del self._jobs[name]


def seconds_left(job: Job) -> tuple[float | None, float | None]:
    """Return windows per second and the seconds that a running job still needs; None if unknown."""
    passed = time.monotonic() - job.began
    if job.state != "running" or not job.scored or passed <= 0:
        return None, None
    rate = job.scored / passed
    return rate, max(0, job.windows - job.scored) / rate
