"""`gigaslide train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..storage import parse_location
from ..training import TrainSettings
from .stages import train_stage

__all__ = ["train"]


def train(
    store: Annotated[
        str, Parameter(help="Patch store made by gigaslide tile: a folder, s3://… or gs://….")
    ],
    model: Annotated[Path, Parameter(help="Model folder to make; a stopped training goes on.")],
    /,
    *,
    settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings(),
) -> int:
    """Train a model on a patch store; keeps the best and the last weights, the card and the
    training curve."""
    train_stage(parse_location(store, Path()), model, settings)
    return 0
