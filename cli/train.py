"""`gigaslide train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..storage import parse_location
from ..training import TrainSettings
from .options import StoreLocation
from .stages import train_stage

__all__ = ["train"]


def train(
    store: StoreLocation,
    model: Annotated[Path, Parameter(help="Model folder to make, or to continue.")],
    *,
    settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings(),
) -> int:
    """Train a model on a patch store: best and last weights, a card and the training curve."""
    train_stage(parse_location(store, Path()), model, settings)
    return 0
