"""Features of the slides of a cohort: FEATURES/<slide>.zarr for each, see `SlideFeatures`."""

from pathlib import Path

from ...batch import SILENT, BatchSettings, BatchSummary, Listener, open_run_folder, run_blocks
from ...cohort import Cohort, CohortSlide
from ...models import choose_backend, describe_encoder
from ...storage import SettingsError
from ..predict import compute_threads, with_default_workers
from ..settings import FeatureSettings
from .blocks import FeatureBlocks

__all__ = ["extract_features", "slides_to_encode", "with_encoder_defaults"]

BLOCK_TIMEOUT_S = 7200.0
"""A block of a large transformer takes half an hour on one core."""


def extract_features(
    cohort: Cohort,
    out: Path,
    settings: FeatureSettings,
    batch: BatchSettings,
    *,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Encode the windows of the slides of a cohort that hold tissue; skip unchanged slides.

    Workers and listener are those of `predict_cohort`.

    Raises:
        SettingsError: no slide to encode.
        ModelError: the encoder cannot be loaded, or changed since the run began.
        StoreError: the disk is full.
        ClusterError: another run writes into this folder, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    slides = slides_to_encode(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(f"no slide to encode: none has its split among {wanted}; see --splits")
    choose_backend()
    encoder = describe_encoder(settings.source)
    batch = with_encoder_defaults(batch)
    with open_run_folder(out, batch) as folder:
        threads = compute_threads(batch)
        work = FeatureBlocks(encoder=encoder, out=out, settings=settings, threads=threads)
        return run_blocks(
            work,
            slides,
            batch,
            folder=folder,
            listener=listener,
        )


def slides_to_encode(cohort: Cohort, settings: FeatureSettings) -> list[CohortSlide]:
    """Return the slides of the wanted splits; without any wanted, every slide."""
    return [slide for slide in cohort if not settings.splits or slide.split in settings.splits]


def with_encoder_defaults(batch: BatchSettings) -> BatchSettings:
    """Return these settings with the defaults of encoding filled in: the workers of prediction, and
    time for large encoders."""
    if batch.task_timeout_s is None:
        batch = batch.model_copy(update={"task_timeout_s": BLOCK_TIMEOUT_S})
    return with_default_workers(batch)
