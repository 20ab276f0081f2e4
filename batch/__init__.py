"""The same work over many slides, on one machine or many."""

from .blocks import BlockPlan, BlockWork
from .jobscript import job_script, without_job_options
from .journal import RunFolder, run_folder
from .outcome import BatchSummary, SlideOutcome, SlideStatus
from .pieces import FolderPieces, Pieces
from .run import run_blocks, run_slides
from .settings import BatchSettings
from .stop import Stopped

__all__ = [
    "BatchSettings",
    "BatchSummary",
    "BlockPlan",
    "BlockWork",
    "FolderPieces",
    "Pieces",
    "RunFolder",
    "SlideOutcome",
    "SlideStatus",
    "Stopped",
    "job_script",
    "run_blocks",
    "run_folder",
    "run_slides",
    "without_job_options",
]
