"""Work over many slides, on one machine or many."""

from .blocks import BlockPlan, BlockWork, PendingBlocks
from .driver import BlockDriver, SlideContext
from .machine import available_cores, available_memory
from .outcome import BatchSummary, SlideOutcome, SlideStatus
from .run import run_blocks, run_slides
from .run_folder import RunFolder, open_run_folder
from .settings import BatchSettings
from .single_job import SingleJob
from .stop import Stopped, StopRequest, stop_signals
from .workers import describe_workers

__all__ = [
    "BatchSettings",
    "BatchSummary",
    "BlockDriver",
    "BlockPlan",
    "BlockWork",
    "PendingBlocks",
    "RunFolder",
    "SingleJob",
    "SlideContext",
    "SlideOutcome",
    "SlideStatus",
    "StopRequest",
    "Stopped",
    "available_cores",
    "available_memory",
    "describe_workers",
    "open_run_folder",
    "run_blocks",
    "run_slides",
    "stop_signals",
]
