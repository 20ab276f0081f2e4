"""Progress bar of the windows of a run, whose number is estimated until each slide is planned."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...batch import Listener, SlideOutcome
from .progress import progress_bar, set_note

__all__ = ["WindowsBar", "WindowsToPredict", "windows_bar"]


@dataclass
class WindowsToPredict:
    """Windows of a run: those of the slides that are planned, and an estimate for the others."""

    slides: int
    planned: int = 0
    windows: int = 0
    ended: int = 0
    without_windows: int = 0
    """Slides that ended before they were planned, or failed."""

    def add(self, windows: int) -> int:
        """Add the windows of a slide; return those of all slides, from the mean of the planned."""
        self.planned += 1
        self.windows += windows
        to_come = self.slides - self.without_windows
        return round(self.windows / self.planned * max(self.planned, to_come))

    def __str__(self) -> str:
        is_known = self.planned + self.without_windows >= self.slides
        if not self.planned and not is_known:
            return f"{self.ended} of {self.slides} slides, finding tissue"
        return f"{self.ended} of {self.slides} slides" + ("" if is_known else ", total estimated")

    def end(self, outcome: SlideOutcome) -> None:
        """Count a slide that ended."""
        self.ended += 1
        is_kept = outcome.status == "partial" and outcome.reason.startswith("unchanged")
        self.without_windows += is_kept or outcome.status in ("skipped", "failed")


@dataclass(frozen=True)
class WindowsBar:
    """Bar of the windows of a run."""

    progress: Any
    windows: WindowsToPredict

    @property
    def listener(self) -> Listener:
        """Listener that advances the bar."""
        return Listener(on_plan=self.add_slide, on_block=self.advance, on_outcome=self.end_slide)

    def add_slide(self, counts: Mapping[str, int]) -> None:
        """Add the windows that a slide still needs."""
        self.progress.total = self.windows.add(counts["windows"])
        set_note(self.progress, str(self.windows))

    def advance(self, counts: Mapping[str, int]) -> None:
        """Count the windows of a block."""
        self.progress.update(counts["windows"])

    def end_slide(self, outcome: SlideOutcome) -> None:
        """Count a slide that ended."""
        self.windows.end(outcome)
        set_note(self.progress, str(self.windows))


@contextmanager
def windows_bar(stage: str, *, slides: int) -> Iterator[WindowsBar]:
    """Show a bar of the windows of this many slides."""
    with progress_bar(stage, None, " windows") as progress:
        bar = WindowsBar(progress, WindowsToPredict(slides=slides))
        set_note(progress, str(bar.windows))
        yield bar
