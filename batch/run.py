"""Run work on every slide, here or in worker processes; a slide that fails is recorded, and the
others go on."""

import uuid
from collections.abc import Callable, Sequence

from .batch_run import BatchRun
from .blocks import BlockWork, SlideT
from .driver import BlockDriver
from .listener import SILENT, Listener
from .outcome import BatchSummary, SlideOutcome
from .run_folder import RunFolder
from .run_log import RunLog
from .settings import BatchSettings

__all__ = ["run_blocks", "run_slides"]

BLOCK_TIMEOUT_S = 600.0


def run_slides(
    work: Callable[[SlideT], SlideOutcome],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    folder: RunFolder | None = None,
    identity: Callable[[SlideT], str | None] | None = None,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Run work that takes a slide whole, one task a slide.

    work is a picklable callable; an exception becomes the outcome "failed" of its slide. A folder
    keeps the run's journal and tables, as for `run_blocks`. identity returns what a failure depends
    on: the slide is tried again once it changes, always if it is None.

    Raises:
        ClusterError: workers or scheduler are gone, or cannot be had; or the folder's lock was
            taken away.
        StoreError: the disk is full.
        Stopped: a signal asked to stop.
    """
    log = RunLog(run=uuid.uuid4().hex[:8], folder=folder, listener=listener)
    run = BatchRun(work, settings, log, identity or (lambda _: None), first_step="slide")
    return run.run(slides, timeout_s=settings.task_timeout_s)


def run_blocks(
    work: BlockWork[SlideT],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    folder: RunFolder,
    tasks_at_once: int = 1,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Run work in blocks on every slide, with the journal and tables in the locked folder.

    Slides that failed in an earlier run by the same recipe are not tried again unless
    settings.retry_failed. At the end the folder has a summary.csv, a run.html, and a failures.txt
    if a slide failed. tasks_at_once: tasks at the same time where there are several slides and no
    workers.

    Raises:
        ClusterError: workers or scheduler are gone, or cannot be had; or the folder's lock was
            taken away.
        StoreError: the disk is full.
        ModelError: a network cannot be loaded, so no slide could be done.
        Stopped: a signal asked to stop.
    """
    timeout_s = BLOCK_TIMEOUT_S if settings.task_timeout_s is None else settings.task_timeout_s
    log = RunLog(run=uuid.uuid4().hex[:8], folder=folder, listener=listener)
    identity = BlockDriver(work).failure_identity
    at_once = min(tasks_at_once, len(slides))
    run = BatchRun(work, settings, log, identity, first_step="prepare", tasks_at_once=at_once)
    return run.run(slides, timeout_s=timeout_s)
