"""What a run has come to so far: in its journal, to those who listen, and on one page at the
end."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..storage import atomic_file, name_of
from .journal import RunFolder
from .outcome import BatchSummary, Pace, SlideOutcome, table_name
from .page import run_html

__all__ = ["Record"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """Of one run. Without a folder nothing is written."""

    run: str
    """The run's name in the journal."""
    folder: RunFolder | None = None
    on_outcome: Callable[[SlideOutcome], None] | None = None
    """Hears of each slide as it ends."""
    on_block: Callable[[dict[str, int]], None] | None = None
    """Hears what each block made."""
    outcomes: dict[str, SlideOutcome] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    begun: float = field(default_factory=time.perf_counter)

    def note(self, event: str, **fields: object) -> None:
        """Write a line to the journal."""
        if self.folder is not None:
            stage = {"stage": self.folder.stage} if self.folder.stage else {}
            self.folder.journal.write(event, run=self.run, **stage, **fields)

    def block(self, slide: str, number: int, counts: dict[str, int], **how: object) -> None:
        """A block is done."""
        self.note("block", slide=slide, block=number, **how)
        if self.on_block is not None:
            self.on_block(counts)

    def outcome(self, outcome: SlideOutcome, *, tries: int, identity: str | None) -> None:
        """A slide is over."""
        self.note(
            "slide",
            slide=outcome.slide,
            status=outcome.status,
            reason=outcome.reason,
            seconds=round(outcome.seconds, 3),
            counts=outcome.counts,
            tries=tries,
            identity=identity,
        )
        self._keep(outcome)

    def known(self, outcome: SlideOutcome) -> None:
        """A slide is over because of what an earlier run wrote; it is not written again."""
        self._keep(outcome)

    def _keep(self, outcome: SlideOutcome) -> None:
        self.outcomes[outcome.slide] = outcome
        if self.on_outcome is not None:
            self.on_outcome(outcome)

    def end(self, slides: Sequence[str]) -> BatchSummary:
        """The summary, in the order of these slides; into the folder as summary.csv and
        run.html."""
        summary = BatchSummary(
            outcomes=tuple(self.outcomes[slide] for slide in slides),
            pace=replace(self.pace, seconds=time.perf_counter() - self.begun),
        )
        self.note("end", headline=summary.headline())
        if self.folder is not None:
            path, stage = self.folder.path, self.folder.stage
            summary.save(path, stage=stage)
            failures = table_name("failures.txt", stage)
            with atomic_file(path / table_name("run.html", stage)) as page:
                page.write_text(
                    run_html(summary, name=name_of(self.folder.place), failures=failures),
                    encoding="utf-8",
                )
        return summary
