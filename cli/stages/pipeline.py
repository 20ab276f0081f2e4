"""Every stage of a run, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings
from ...cohort import Cohort
from ..terminal.progress import print_line
from .evaluate import evaluate_stage
from .predict import predict_stage, threshold_stage
from .tile import tile_stage
from .train import train_stage

if TYPE_CHECKING:
    from .run_settings import RunSettings

__all__ = ["run_stages"]


def run_stages(cohort: Cohort, out: Path, settings: RunSettings, batch: BatchSettings) -> int:
    """Run every stage into out/{store, model, predictions, report}; return the worst exit status,
    1 as soon as no slide is left.

    Raises:
        SettingsError: before any work, if the cohort lacks the slides of a stage, or no slide to
            predict exists.
        ModelError: before any work, if the initial weights do not exist.
    """
    from ...training import check_trackers, identify_initial_weights
    from .run_settings import check_cohort, check_files, with_mpp_of_slides, worst_status

    check_trackers(settings.train.track)
    several = settings.train.members > 1
    identify_initial_weights(settings.train, out / "model" / ("member_1" if several else ""))
    check_cohort(cohort, settings)
    check_files(cohort, settings)
    chosen = with_mpp_of_slides(cohort, settings)
    if chosen.tile.mpp != settings.tile.mpp:
        settings = chosen
        print_line(f"run: {chosen.tile.mpp:g} µm/px, that of the coarsest slide; see --mpp")
    tiled = tile_stage(cohort, out / "store", settings.tile, batch)
    if tiled == 1:
        return 1
    train_stage(out / "store", out / "model", settings.train, slides=cohort)
    # Each local worker would load the network: prediction runs in this process.
    alone = batch.model_copy(update={"workers": None}) if batch.workers else batch
    predicted = predict_stage(cohort, out / "model", out / "predictions", settings.predict, alone)
    if predicted == 1:
        return 1
    threshold_stage(cohort, out / "model", out / "predictions")
    evaluated = evaluate_stage(cohort, out / "predictions", out / "report", settings.evaluate)
    return worst_status([tiled, predicted, evaluated])
