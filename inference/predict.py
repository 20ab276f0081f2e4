"""Predict the slides of a cohort: PREDICTIONS/<slide>/ for each, see `prediction_folder`, and
PREDICTIONS/detections.csv for all slides together, with a copy of the model's operating threshold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    available_cores,
    open_run_folder,
    run_blocks,
)
from ..cohort import Cohort, CohortSlide
from ..models import (
    Ensemble,
    Precision,
    RuntimeChoice,
    check_dense,
    choose_backend,
    find_cam_stride,
    hash_int8,
    refuse_missing_int8,
    refuse_tumor_on_glass,
)
from ..storage import ModelError, SettingsError
from ..wsi import Detections, Region
from .blocks import PredictBlocks
from .prediction_folder import DETECTIONS, THRESHOLD, repair_folder
from .regions.blocks import RegionBlocks
from .regions.score import check_regions
from .settings import PredictSettings

__all__ = [
    "begin_predictions",
    "compute_threads",
    "end_predictions",
    "predict_cohort",
    "slides_to_predict",
    "with_default_workers",
]

BLOCK_TIMEOUT_S = 1800.0
"""A block of InceptionV3 takes three minutes on one core, more where others compute too."""
TASKS_AT_ONCE = 2
"""Tasks of a process: the next slide is opened while this one is scored or written."""


def predict_cohort(
    cohort: Cohort,
    models: Path | Sequence[Path],
    out: Path,
    settings: PredictSettings,
    batch: BatchSettings,
    *,
    listener: Listener = SILENT,
    within: Region | None = None,
) -> BatchSummary:
    """Predict the slides of the wanted splits with one model folder or several; skip unchanged
    slides.

    Where nothing says how many workers there are, this process predicts alone, see
    `with_default_workers`. The listener hears of "windows": how many a slide still needs, and how
    many a block scored. within limits the prediction to the cells whose centre lies in a part of
    the slide; the others count as background.

    Raises:
        SettingsError: no slide to predict.
        ModelError: a model folder is damaged, a network of somebody's own was not given, the
            backend of Keras is not installed, the mode does not suit the network, the model calls
            glass tumour, the runtime has no XLA, or there is no int8 network.
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
    _refuse_models_of_features(ensemble)
    ensemble.check_weights()
    if not settings.allow_tumor_on_glass:
        refuse_tumor_on_glass(ensemble)
    settings = _fit_settings(settings, ensemble)
    batch = with_default_workers(batch)
    with open_run_folder(out, batch) as folder:
        begin_predictions(out, slides)
        threads = compute_threads(batch)
        kind = RegionBlocks if ensemble.task == "regions" else PredictBlocks
        work = kind(models=ensemble, out=out, settings=settings, threads=threads, within=within)
        summary = run_blocks(
            work,
            slides,
            batch,
            folder=folder,
            tasks_at_once=TASKS_AT_ONCE,
            listener=listener,
        )
        end_predictions(out, summary, ensemble)
    return summary


def begin_predictions(out: Path, slides: Iterable[CohortSlide]) -> None:
    """Prepare the folders of these slides, and remove what tells of all slides together."""
    for slide in slides:
        repair_folder(out / slide.id)
    # An interrupted run leaves no table of all slides rather than one of another model.
    (out / DETECTIONS).unlink(missing_ok=True)
    (out / THRESHOLD).unlink(missing_ok=True)


def end_predictions(out: Path, summary: BatchSummary, ensemble: Ensemble) -> None:
    """Write the table of all detections, and a copy of the operating threshold."""
    predicted = [one.slide for one in summary.outcomes if one.status != "failed"]
    tables = [Detections.load(out / slide / DETECTIONS) for slide in predicted]
    Detections.concatenate(tables).save(out / DETECTIONS)
    if ensemble.operating_threshold is not None:
        ensemble.operating_threshold.save(out / THRESHOLD)


def _fit_settings(settings: PredictSettings, ensemble: Ensemble) -> PredictSettings:
    """Refuse XLA on another runtime than Keras, an int8 network that is not there, and a mode that
    does not suit the network; fill in the stride of its activation map."""
    choice = RuntimeChoice(runtime=settings.runtime, precision=settings.precision, xla=settings.xla)
    if settings.precision == "int8":
        refuse_missing_int8(ensemble.folders)
    if ensemble.task == "regions":
        check_regions(ensemble, settings)
        return settings
    if settings.is_cam and settings.stride_px is None:
        settings = settings.model_copy(update={"stride_px": find_cam_stride(ensemble)})
    if settings.needs_dense:
        precision = _choose_precision(settings, ensemble, choice)
        settings = settings.model_copy(update={"first_pass_precision": precision})
        stride_px = settings.stride_px or ensemble.input_spec.centre_px
        check_dense(
            ensemble, stride_px, replace(choice, precision=precision), is_cam=settings.is_cam
        )
    return settings


def _choose_precision(
    settings: PredictSettings, ensemble: Ensemble, choice: RuntimeChoice
) -> Precision:
    """Return the precision of a dense first pass. It depends on models and settings, and on whether
    there is a GPU; what speed this computer has does not matter."""
    if settings.first_pass_precision != "auto":
        return settings.first_pass_precision
    may_be_int8 = choice.name == "openvino" and settings.precision == "float32"
    if may_be_int8 and not settings.is_cam and hash_int8(ensemble):
        return "int8"
    return settings.precision


def _refuse_models_of_features(ensemble: Ensemble) -> None:
    if (taken := ensemble.features) is not None:
        raise ModelError(
            f"{ensemble.folders[0]}: takes features of the encoder {taken.encoder}, not pixels; "
            "give the folder of the slides' features with --features"
        )


def slides_to_predict(cohort: Cohort, settings: PredictSettings) -> list[CohortSlide]:
    """Return the slides of the wanted splits; in a cohort without splits, every slide."""
    return [slide for slide in cohort if slide.split in settings.splits or not cohort.has_splits]


def compute_threads(batch: BatchSettings) -> int:
    """Return the compute threads of each process. One alone takes the cores that it may use: a
    runtime would count those beyond the limits of a container or of Slurm."""
    if batch.workers == 0:
        return batch.threads or available_cores()
    return batch.threads_per_worker


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
