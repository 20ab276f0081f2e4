"""Log of one run: its journal, its listener, and its summary page at the end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..storage import name_of, write_file
from .blocks import PendingBlocks
from .listener import SILENT, Listener
from .outcome import BatchSummary, Pace, SlideOutcome, table_name
from .page import run_html
from .run_folder import RunFolder

__all__ = ["RunLog"]


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """Log of one run. Without a folder nothing is written."""

    run: str
    """Name of the run in the journal."""
    folder: RunFolder | None = None
    listener: Listener = SILENT
    outcomes: dict[str, SlideOutcome] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    begun: float = field(default_factory=time.perf_counter)

    def note(self, event: str, **fields: object) -> None:
        """Write a line to the journal."""
        if self.folder is not None:
            stage = {"stage": self.folder.stage} if self.folder.stage else {}
            self.folder.journal.write(event, run=self.run, **stage, **fields)

    def plan(self, slide: str, pending: PendingBlocks, *, seconds: float) -> None:
        """Log the blocks of a slide that are to be done, and the time that it took to find them."""
        self.note(
            "plan",
            slide=slide,
            blocks=pending.blocks,
            pending=len(pending.pending),
            seconds=round(seconds, 3),
        )
        self.listener.on_plan(pending.counts)

    def block(self, slide: str, number: int, counts: Mapping[str, int], **details: object) -> None:
        """Log a finished block."""
        self.note("block", slide=slide, block=number, **details)
        self.listener.on_block(dict(counts))

    def outcome(self, outcome: SlideOutcome, *, attempts: int, identity: str | None) -> None:
        """Log a slide's outcome."""
        self.note(
            "slide",
            slide=outcome.slide,
            status=outcome.status,
            reason=outcome.reason,
            seconds=round(outcome.seconds, 3),
            counts=outcome.counts,
            attempts=attempts,
            identity=identity,
        )
        self.keep(outcome)

    def keep(self, outcome: SlideOutcome) -> None:
        """Keep an outcome that the journal has from an earlier run."""
        self.outcomes[outcome.slide] = outcome
        self.listener.on_outcome(outcome)

    def end(self, slides: Sequence[str], *, is_in_threads: bool = False) -> BatchSummary:
        """Return the summary in the order of these slides; save it as summary.csv and run.html.

        is_in_threads: see `Pace`.
        """
        seconds = time.perf_counter() - self.begun
        summary = BatchSummary(
            outcomes=tuple(self.outcomes[slide] for slide in slides),
            pace=replace(self.pace, seconds=seconds, is_in_threads=is_in_threads),
        )
        self.note("end", headline=summary.headline())
        if self.folder is not None:
            path, stage = self.folder.path, self.folder.stage
            summary.save(path, stage=stage)
            page = run_html(
                summary,
                name=name_of(self.folder.location),
                failures=table_name("failures.txt", stage),
            )
            write_file(path, table_name("run.html", stage), page.encode())
        return summary
