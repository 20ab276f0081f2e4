"""The same work over many slides, on one machine or many."""

from .outcome import BatchSummary, SlideOutcome, SlideStatus
from .run import run_slides
from .settings import BatchSettings

__all__ = ["BatchSettings", "BatchSummary", "SlideOutcome", "SlideStatus", "run_slides"]
