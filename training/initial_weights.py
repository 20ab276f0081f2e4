"""Identity of the weights that a training begins with."""

import logging
from pathlib import Path

from ..models import hash_initial_weights
from ..storage import ModelError
from .checkpoints.files import checkpoint_folder, find_checkpoints, read_recipe
from .settings import TrainSettings

__all__ = ["identify_initial_weights"]

logger = logging.getLogger(__name__)


def identify_initial_weights(settings: TrainSettings, folder: Path) -> dict[str, str]:
    """Return the identity of the initial weights for the recipe of the model in a folder, nothing
    where none are given. A training that has begun needs their file no more.

    Raises:
        ModelError: no such file, or Keras has no ImageNet weights for the architecture.
    """
    source = settings.initial_weights
    if not source:
        return {}
    try:
        return {"initial_weights": hash_initial_weights(source, settings.architecture)}
    except ModelError as error:
        checkpoints = find_checkpoints(checkpoint_folder(folder))
        for place in (folder, *checkpoints):
            made = read_recipe(place)
            if made is not None and "initial_weights" in made.inputs:
                logger.warning("%s; taken for the weights with which %s began", error, place)
                return {"initial_weights": made.inputs["initial_weights"]}
        raise
