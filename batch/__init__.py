"""The same work over many slides, on one machine or many."""

<<<<<<< HEAD
from .blocks import BlockPlan, BlockWork
from .journal import JOURNAL, Journal, RunFolder, run_folder
from .lock import BEAT_S, Holder
from .machine import available_cores
from .outcome import BatchSummary, SlideOutcome, SlideStatus, table_name
from .pieces import DONE, RECIPE, FolderPieces, Pieces, size_and_crc
=======
from .blocks import BlockPlan, BlockWork, PendingBlocks
from .driver import BlockDriver, SlideContext
from .outcome import BatchSummary, SlideOutcome, SlideStatus
>>>>>>> main
from .run import run_blocks, run_slides
from .run_folder import RunFolder, open_run_folder
from .settings import BatchSettings
from .stop import Stopped
from .workers import describe_workers

__all__ = [
    "BatchSettings",
    "BatchSummary",
    "BlockDriver",
    "BlockPlan",
    "BlockWork",
    "PendingBlocks",
    "RunFolder",
    "SlideContext",
    "SlideOutcome",
    "SlideStatus",
    "Stopped",
    "available_cores",
    "describe_workers",
    "open_run_folder",
    "run_blocks",
    "run_slides",
]
