"""Predict the slides of a cohort: PREDICTIONS/<slide>/ for each, see `prediction_folder`, and
PREDICTIONS/detections.csv for all slides together, with a copy of the model's operating threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..batch import (
    BatchSettings,
    BatchSummary,
    SlideOutcome,
    available_cores,
    open_run_folder,
    run_blocks,
)
from ..cohort import Cohort, CohortSlide
from ..models import Ensemble, choose_backend
from ..storage import SettingsError
from ..wsi import Detections
from .blocks import PredictBlocks
from .prediction_folder import DETECTIONS, THRESHOLD, repair_folder
from .settings import PredictSettings

__all__ = ["predict_cohort", "slides_to_predict", "with_default_workers"]

BLOCK_TIMEOUT_S = 1800.0
"""A block of InceptionV3 takes three minutes on one core, more where others compute too."""


def predict_cohort(
    cohort: Cohort,
    models: Path | Sequence[Path],
    out: Path,
    settings: PredictSettings,
    batch: BatchSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
    on_plan: Callable[[Mapping[str, int]], None] | None = None,
    on_block: Callable[[Mapping[str, int]], None] | None = None,
) -> BatchSummary:
    """Predict the slides of the wanted splits with one model folder or several; skip unchanged
    slides.

    Where nothing says how many workers there are, this process predicts alone, see
    `with_default_workers`. on_outcome receives each slide's outcome, on_plan the number of
    "windows" that a slide still needs, on_block the number that a block scored.

    Raises:
        SettingsError: no slide to predict.
        ModelError: a model folder is damaged, a network of somebody's own was not given, or the
            backend of Keras is not installed.
        StoreError: the disk is full.
        ClusterError: another run predicts into this folder, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    slides = slides_to_predict(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(f"no slide to predict: none has its split among {wanted}; see --splits")
    choose_backend()
    ensemble = Ensemble.load(models)
    ensemble.check_architecture(settings.architecture)
    ensemble.check_weights()
    batch = with_default_workers(batch)
    with open_run_folder(out, batch) as folder:
        for slide in slides:
            repair_folder(out / slide.id)
        # An interrupted run leaves no table of all slides rather than one of another model.
        (out / DETECTIONS).unlink(missing_ok=True)
        (out / THRESHOLD).unlink(missing_ok=True)
        threads = batch.threads if batch.workers == 0 else batch.threads_per_worker
        work = PredictBlocks(models=ensemble, out=out, settings=settings, threads=threads)
        summary = run_blocks(
            work,
            slides,
            batch,
            folder=folder,
            on_outcome=on_outcome,
            on_plan=on_plan,
            on_block=on_block,
        )
        predicted = [one.slide for one in summary.outcomes if one.status != "failed"]
        tables = [Detections.load(out / slide / DETECTIONS) for slide in predicted]
        Detections.concatenate(tables).save(out / DETECTIONS)
        if ensemble.operating_threshold is not None:
            ensemble.operating_threshold.save(out / THRESHOLD)
    return summary


def slides_to_predict(cohort: Cohort, settings: PredictSettings) -> list[CohortSlide]:
    """Return the slides of the wanted splits; in a cohort without splits, every slide."""
    return [slide for slide in cohort if slide.split in settings.splits or not cohort.has_splits]


def with_default_workers(batch: BatchSettings) -> BatchSettings:
    """Return these settings with the defaults of prediction filled in.

    A network uses all cores or the GPU of a process, and each process holds a copy of it. So the
    default is this process alone; local workers share the cores as threads; a job has one worker
    with all its cores.
    """
    if batch.task_timeout_s is None:
        batch = batch.model_copy(update={"task_timeout_s": BLOCK_TIMEOUT_S})
    if batch.scheduler:
        return batch
    if batch.cluster:
        return batch.with_default_threads(batch.cores)
    workers = batch.gpus if batch.workers is None else batch.workers
    if not workers:
        return batch.model_copy(update={"workers": 0})
    return batch.with_default_threads(max(1, available_cores() // workers))
