"""Work over many slides, on one machine or many."""

from .blocks import BlockPlan, BlockWork, LostBlocksError, PendingBlocks, SlideContext
from .cluster.single_job import SingleJob
from .driver import BlockDriver
from .listener import SILENT, Listener
from .machine import available_cores, available_memory
from .outcome import BatchSummary, Pace, SlideOutcome, SlideStatus
from .run import run_blocks, run_slides
from .run_folder import JOURNAL, RunFolder, open_run_folder, read_failures
from .settings import BatchSettings
from .stop import Stopped, StopRequest, stop_signals
from .workers import describe_workers

__all__ = [
    "JOURNAL",
    "SILENT",
    "BatchSettings",
    "BatchSummary",
    "BlockDriver",
    "BlockPlan",
    "BlockWork",
    "Listener",
    "LostBlocksError",
    "Pace",
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
    "read_failures",
    "run_blocks",
    "run_slides",
    "stop_signals",
]
