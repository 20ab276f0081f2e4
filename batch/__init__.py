"""The same work over many slides, on one machine or many."""

from .blocks import BlockPlan, BlockWork
from .journal import JOURNAL, Journal, RunFolder, run_folder
from .lock import BEAT_S, Holder
from .machine import available_cores, available_memory
from .outcome import BatchSummary, SlideOutcome, SlideStatus, table_name
from .pieces import DONE, RECIPE, FolderPieces, Pieces, size_and_crc
from .run import run_blocks, run_slides
from .settings import BatchSettings
from .stop import Stopped
from .workers import describe_workers

__all__ = [
    "BEAT_S",
    "DONE",
    "JOURNAL",
    "RECIPE",
    "BatchSettings",
    "BatchSummary",
    "BlockPlan",
    "BlockWork",
    "FolderPieces",
    "Holder",
    "Journal",
    "Pieces",
    "RunFolder",
    "SlideOutcome",
    "SlideStatus",
    "Stopped",
    "available_cores",
    "available_memory",
    "describe_workers",
    "run_blocks",
    "run_folder",
    "run_slides",
    "size_and_crc",
    "table_name",
]
