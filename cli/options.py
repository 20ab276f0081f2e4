"""Options that several commands share, and the words they were given."""

import shutil
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings, job_script, without_job_options

__all__ = ["Batch", "given_words", "script_of_this_command"]

Batch = Annotated[BatchSettings, Parameter(name=("*", "batch"))]
"""--workers or --batch.workers, and so on."""

given_words: ContextVar[tuple[str, ...]] = ContextVar("given_words", default=())
"""The command line, command first."""


def script_of_this_command(batch: BatchSettings) -> str:
    """A script for sbatch that runs the command line given, less what its header says."""
    found = (
        shutil.which("gigaslide", path=str(Path(sys.executable).parent))
        or shutil.which("gigaslide")
        or "gigaslide"
    )
    words = without_job_options(given_words.get(), dropped=("job-script",))
    return job_script([found, *words], batch, folder=Path.cwd())
