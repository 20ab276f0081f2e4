"""`gigaslide train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort
from ..patching import TileSettings
from ..storage import SettingsError, parse_location
from ..training import TrainSettings
from .from_slides import check_where, train_from_slides
from .options import Batch
from .stages import train_stage
from .train_job import is_trained_here, train_in_job

__all__ = ["train"]


def train(
    store: Annotated[
        str,
        Parameter(
            help="Patch store: a folder, s3://… or gs://…. With --from-slides: the cohort CSV."
        ),
    ],
    model: Annotated[Path, Parameter(help="Model folder to make, or to continue.")],
    *,
    settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings(),
    from_slides: Annotated[
        bool,
        Parameter(
            group="Straight from slides",
            negative="",
            help="Read the patches from the slides of a cohort; no store is made. They are those "
            "that gigaslide tile would store by the options --tile.….",
        ),
    ] = False,
    validation_slides: Annotated[
        Path | None,
        Parameter(
            group="Validation",
            help="Cohort CSV whose validation slides --validate-slides-every predicts. With "
            "--from-slides it is the same cohort.",
        ),
    ] = None,
    tile: TileSettings = TileSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Train a model on a patch store, or straight from slides: best and last weights, a card and
    the training curve. With --cluster slurm, all of it runs as one job."""
    check_where(tile, batch, from_slides=from_slides)
    if validation_slides is not None and (from_slides or not settings.validate_slides_every):
        reason = "--from-slides has its cohort" if from_slides else "give --validate-slides-every"
        raise SettingsError(f"--validation-slides: {reason}, or leave it out")
    if from_slides:
        cohort = Cohort.load(Path(store))
        if batch.cluster:
            words = ("train", store, str(model), "--from-slides")
            return train_in_job(words, model, settings, batch, tiles=tile)
        return train_from_slides(cohort, model, settings, tile, batch)
    slides = None if validation_slides is None else Cohort.load(validation_slides)
    if batch.cluster and not is_trained_here(store, model, settings, slides):
        words = ("train", store, str(model))
        if validation_slides is not None:
            words += ("--validation-slides", str(validation_slides))
        return train_in_job(words, model, settings, batch)
    train_stage(parse_location(store, Path()), model, settings, slides=slides)
    return 0
