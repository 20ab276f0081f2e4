"""Temperature and check of a trained model, added to its folder after the weights."""

import logging
from pathlib import Path
from typing import Any

from ...models import ModelCard, load_network, score_in_batches, with_temperature
from ..sampler import Batch
from .calibration import fit_temperature
from .model_check import check_with_patches

__all__ = ["complete_model"]

logger = logging.getLogger(__name__)


def complete_model(
    folder: Path, patches: Batch, *, batch_size: int, calibrate: bool, architecture: str
) -> None:
    """Fit or remove the temperature of the model in a folder, check it, and write card and check.

    The network is loaded as prediction does, whatever devices and float type trained it. patches
    are those of the validation. A card whose temperature changes loses its operating threshold,
    which was chosen on other probabilities. Warnings of the check are logged. architecture: see
    `load_network`.
    """
    card, temperature = ModelCard.load(folder), None
    predict: Any = load_network(folder, card, architecture=architecture).predict_on_batch
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
