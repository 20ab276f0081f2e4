"""The same work on every slide: here or in worker processes; a slide that fails is recorded and the others go on."""

import copy
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import dask.config
from dask.distributed import Client, LocalCluster, as_completed

from ..wsi import GigaslideError
from .outcome import BatchSummary, SlideOutcome
from .settings import BatchSettings

__all__ = ["run_slides"]

logger = logging.getLogger(__name__)

PACKAGE = "gigaslide"  # the logger above all of ours


class HasId(Protocol):
    """Anything that stands for one slide."""

    @property
    def id(self) -> str: ...


SlideT = TypeVar("SlideT", bound=HasId)


def run_slides(
    work: Callable[[SlideT], SlideOutcome],
    slides: Sequence[SlideT],
    settings: BatchSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
) -> BatchSummary:
    """Do the work on every slide, one task a slide, on Dask's local cluster.

    work is a picklable callable; whatever it raises becomes the outcome "failed" of its slide. on_outcome hears of
    each slide as it ends.
    """
    cores = os.cpu_count() or 1
    workers = min(cores if settings.workers is None else settings.workers, len(slides))
    guarded = partial(_guarded, work)
    results = map(guarded, slides) if workers == 0 else _on_cluster(guarded, slides, workers, settings)
    outcomes = {}
    for outcome in results:
        outcomes[outcome.slide] = outcome
        if on_outcome is not None:
            on_outcome(outcome)
    return BatchSummary(outcomes=tuple(outcomes[slide.id] for slide in slides))


def _on_cluster(
    guarded: Callable[[SlideT], SlideOutcome], slides: Sequence[SlideT], workers: int, settings: BatchSettings
) -> Iterator[SlideOutcome]:
    memory = "auto" if settings.memory_gb is None else int(settings.memory_gb * 1e9)
    options = {
        "distributed.worker.daemon": True,
        "distributed.scheduler.allowed-failures": 2,
        # A slide that waits on a worker behind one that kills it is blamed too: none waits there.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.admin.log-format": "%(name)s: %(message)s",
    }
    with (
        dask.config.set(options),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=memory,
            dashboard_address="127.0.0.1:0",  # empty would be port 8787 on every network of the machine
            host="127.0.0.1",  # the cluster serves this process alone; nothing listens beyond the machine
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        in_worker = partial(_in_worker, guarded, logging.getLogger(PACKAGE).getEffectiveLevel())
        names = {client.submit(in_worker, slide, pure=False, key=f"slide-{slide.id}"): slide.id for slide in slides}
        for future in as_completed(names):
            if future.status == "finished":
                outcome, records = future.result()
                for record in records:
                    logging.getLogger(record.name).handle(record)
                yield outcome
            else:
                error = future.exception()
                yield SlideOutcome(slide=names[future], status="failed", reason=f"its worker died: {error}")


class _Kept(logging.Handler):
    """Records of one slide, on their way home. Dask's own forwarding drops what comes as the cluster closes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        plain = copy.copy(record)  # what it was called with need not pickle
        plain.msg, plain.args = self.format(record), None
        plain.exc_info = plain.exc_text = plain.stack_info = None
        self.records.append(plain)


def _in_worker(
    guarded: Callable[[SlideT], SlideOutcome], level: int, slide: SlideT
) -> tuple[SlideOutcome, list[logging.LogRecord]]:
    """What the slide came to and what was logged of it from that level on."""
    ours, kept = logging.getLogger(PACKAGE), _Kept()
    # Set with each slide, for a worker that takes the place of a dead one starts anew.
    ours.setLevel(level)
    ours.addHandler(kept)
    try:
        return guarded(slide), kept.records
    finally:
        ours.removeHandler(kept)


def _guarded(work: Callable[[SlideT], SlideOutcome], slide: SlideT) -> SlideOutcome:
    start = time.perf_counter()
    try:
        return work(slide)
    except Exception as error:
        # The one place where everything is caught: a slide must never stop the others.
        expected = isinstance(error, GigaslideError)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        logger.warning("%s failed: %s", slide.id, reason)
        return SlideOutcome(
            slide=slide.id,
            status="failed",
            reason=reason,
            seconds=time.perf_counter() - start,
            traceback=traceback.format_exc(),
        )
