"""What a trained model gets besides its weights: a temperature if it is asked for, and a check."""

import logging
from pathlib import Path
from typing import Any

import keras

from ..models import WEIGHTS, ModelCard, score_in_batches, with_temperature
from .calibration import fit_temperature
from .checkpoint import without_optimiser
from .model_check import check_with_patches
from .sampler import Batch

__all__ = ["complete_model"]

logger = logging.getLogger(__name__)


def complete_model(
    folder: Path, network: keras.Model, patches: Batch, *, batch_size: int, calibrate: bool
) -> None:
    """Fit or remove the temperature of the model in a folder, check it, and write card and check.

    network has the architecture of the model; it is filled with the folder's weights. patches are
    those of the validation. A card whose temperature changes loses its operating threshold, which
    was chosen on other probabilities. Warnings of the check are logged.
    """
    without_optimiser(network).load_weights(folder / WEIGHTS)
    predict: Any = network.predict_on_batch
    card, temperature = ModelCard.load(folder), None
    if calibrate:
        probabilities = score_in_batches(predict, patches.patches, batch_size)
        temperature = fit_temperature(probabilities, patches.labels)
    if temperature != card.temperature:
        card = card.model_copy(update={"temperature": temperature, "operating_threshold": None})
    predict = with_temperature(predict, temperature)
    check = check_with_patches(predict, card, patches, batch_size=batch_size)
    for warning in check.warnings:
        logger.warning("check of the model: %s", warning)
    check.save(folder)
    card.save(folder)  # last: until then, the same command completes the model again
