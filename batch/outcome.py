"""Outcome of each slide of a batch, and of the batch."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from ..storage import atomic_file, format_count, write_file

__all__ = [
    "BatchSummary",
    "Pace",
    "Problem",
    "SlideOutcome",
    "SlideStatus",
    "fold_reason",
    "table_name",
]

BESIDE = ("read", "decode")
"""Parts of the time that threads spend beside the tasks."""
TURNS = "turns"
"""Part of the time in which a thread waits while another one's block is in the network."""
STEPS = {"prepare": "preparing", "assemble": "writing"}
"""Names of those parts of the time that are whole tasks, by step."""
SlideStatus = Literal["done", "skipped", "partial", "failed"]


def table_name(name: str, stage: str) -> str:
    """Return the file name of a run's table; a stage in another stage's folder has its own."""
    return f"{stage}-{name}" if stage else name


def fold_reason(slide: str, reason: str) -> str:
    """Return a reason without the names of the slide's own files, so that reasons of several slides
    can be compared."""
    return re.sub(rf"\S*{re.escape(slide)}[^\s:;,]*", "…", reason).removeprefix("…: ")


@dataclass(frozen=True, kw_only=True)
class SlideOutcome:
    """Outcome of one slide. skipped: its output was there already; partial: done, except for pixels
    that cannot be read, or outlines that do not fit the slide."""

    slide: str
    status: SlideStatus
    reason: str = ""
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    """Numbers of what was made, by the stage's own names: {"tumor": 300, "normal": 300}."""
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A reason why slides failed or are partial; of several slides, without their files' names."""

    status: SlideStatus
    reason: str
    slides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerPace:
    """Work of one worker in a run."""

    tasks: int = 0
    seconds: float = 0.0
    """Time spent in tasks."""
    counts: dict[str, int] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    """Parts of these seconds by name, as the tasks tell, and those of `STEPS`; the rest has no
    name. Those of `BESIDE` are seconds of other threads."""

    @property
    def per_second(self) -> float:
        """Number of what was made, of all classes, per second of work."""
        return sum(self.counts.values()) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Speed of a run, by worker."""

    workers: dict[str, WorkerPace] = field(default_factory=dict)
    seconds: float = 0.0
    """Time from the start of the run to its end."""
    is_in_threads: bool = False
    """True if tasks ran in threads of this process, which share its network."""

    def add(
        self,
        worker: str,
        seconds: float,
        counts: Mapping[str, int],
        *,
        parts: Mapping[str, float] | None = None,
    ) -> None:
        """Add a task, and the named parts of its seconds."""
        before = self.workers.get(worker, WorkerPace())
        self.workers[worker] = WorkerPace(
            tasks=before.tasks + 1,
            seconds=before.seconds + seconds,
            counts=dict(Counter(before.counts) + Counter(counts)),
            parts=_sum_parts([before.parts, parts or {}]),
        )

    @property
    def parts(self) -> dict[str, float]:
        """Time of all workers by part of the work (s), and "other" for work without a name;
        empty if no task names parts. Of threads, which overlap, it is the time of the run."""
        named = self._named
        waited = named.pop(TURNS, 0.0)
        for name in BESIDE:
            named.pop(name, None)
        if not named.keys() - STEPS.values():
            return {}
        at_work = sum(worker.seconds for worker in self.workers.values()) - waited
        parts = {**named, "other": max(0.0, at_work - sum(named.values()))}
        return self._without_overlap(parts) if self.is_in_threads and self.seconds else parts

    def _without_overlap(self, parts: dict[str, float]) -> dict[str, float]:
        """Divide the time in which the network does not compute between the other parts."""
        network = min(parts.pop("network", 0.0), self.seconds)
        left, rest = self.seconds - network, sum(parts.values())
        scale = min(1.0, left / rest) if rest else 0.0
        scaled = {name: seconds * scale for name, seconds in parts.items()}
        scaled["other"] += left - scale * rest
        return {"network": network, **scaled}

    @property
    def beside(self) -> dict[str, float]:
        """Time of threads that worked beside the tasks, by part (s)."""
        return {name: self._named[name] for name in BESIDE if name in self._named}

    @property
    def _named(self) -> dict[str, float]:
        return _sum_parts([worker.parts for worker in self.workers.values()])


def _sum_parts(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for table in tables:
        for name, seconds in table.items():
            total[name] = total.get(name, 0.0) + seconds
    return total


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    """Outcomes of all slides of one run, in the order of the cohort."""

    outcomes: tuple[SlideOutcome, ...]
    pace: Pace = field(default_factory=Pace)

    @property
    def exit_status(self) -> int:
        """0: all good; 1: nothing could be done; 2: finished, but some slides failed or are
        partial."""
        statuses = Counter(outcome.status for outcome in self.outcomes)
        if statuses["failed"] == len(self.outcomes):
            return 1
        return 2 if statuses["failed"] or statuses["partial"] else 0

    def of_status(self, status: SlideStatus) -> tuple[SlideOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == status)

    def problems(self) -> list[Problem]:
        """Group failed and partial slides by reason: failures first, the most frequent first."""
        groups: dict[tuple[SlideStatus, str], list[SlideOutcome]] = defaultdict(list)
        for outcome in self.outcomes:
            if outcome.status in ("failed", "partial"):
                groups[outcome.status, fold_reason(outcome.slide, outcome.reason)].append(outcome)
        return [
            Problem(
                status=status,
                reason=group[0].reason.removeprefix(f"{group[0].slide}: ")
                if len(group) == 1
                else folded,
                slides=tuple(outcome.slide for outcome in group),
            )
            for (status, folded), group in sorted(
                groups.items(), key=lambda one: (one[0][0], -len(one[1]))
            )
        ]

    def total(self, count: str) -> int:
        return sum(outcome.counts.get(count, 0) for outcome in self.outcomes)

    def headline(self) -> str:
        """One line: "25 slides: 24 done, 0 skipped, 0 partial, 1 failed"."""
        numbers = (
            f"{len(self.of_status(status))} {status}"
            for status in ("done", "skipped", "partial", "failed")
        )
        return f"{format_count(len(self.outcomes), 'slide')}: {', '.join(numbers)}"

    def save(self, folder: Path, *, stage: str = "") -> None:
        """Write summary.csv, and failures.txt with the tracebacks where a slide failed."""
        rows = [
            {
                "slide": o.slide,
                "status": o.status,
                "reason": o.reason,
                "seconds": round(o.seconds, 2),
                **o.counts,
            }
            for o in self.outcomes
        ]
        with atomic_file(folder / table_name("summary.csv", stage)) as partial:
            table = pd.DataFrame(rows)
            made = [name for o in self.outcomes for name in o.counts]
            table.astype(dict.fromkeys(made, "Int64")).to_csv(
                partial, index=False, lineterminator="\n"
            )
        failures = [f"{o.slide}\n{o.traceback}" for o in self.outcomes if o.traceback]
        tracebacks = folder / table_name("failures.txt", stage)
        tracebacks.unlink(missing_ok=True)
        if failures:
            write_file(folder, tracebacks.name, "\n".join(failures).encode())
