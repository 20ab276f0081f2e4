"""`gigaslide train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort
from ..patching import TileSettings
from ..storage import parse_location
from ..training import TrainSettings
from .from_slides import refuse_options_of_slides, train_from_slides
from .options import Batch
from .stages import train_stage

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
    the training curve."""
    if from_slides:
        return train_from_slides(Cohort.load(Path(store)), model, settings, tile, batch)
    refuse_options_of_slides(tile, batch)
    slides = None if validation_slides is None else Cohort.load(validation_slides)
    train_stage(parse_location(store, Path()), model, settings, slides=slides)
    return 0
