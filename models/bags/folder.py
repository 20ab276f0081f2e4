"""Weights of networks on bags in model folders."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ...storage import ModelError
from ..card import WEIGHTS, ModelCard
from ..ensemble import Ensemble
from .model import BagEnsemble, BagModel
from .network import bag_network
from .options import BagOptions

__all__ = ["load_bag_ensemble", "save_bag_model"]


def save_bag_model(model: BagModel, folder: Path) -> None:
    """Write the weights of a model to a folder."""
    network = bag_network(model.length, model.options)
    with network.filled(model.weights) as filled:
        filled.save_weights(folder / WEIGHTS)


def load_bag_ensemble(ensemble: Ensemble) -> BagEnsemble:
    """Load models that take features.

    Raises:
        ModelError: models that take pixels, damaged weights, or a card that does not fit them.
    """
    ensemble.check_weights()
    pairs = zip(ensemble.folders, ensemble.cards, strict=True)
    return BagEnsemble(tuple(_load(folder, card) for folder, card in pairs))


def _load(folder: Path, card: ModelCard) -> BagModel:
    if card.features is None:
        raise ModelError(
            f"{folder}: takes pixels of windows, not features; leave out --features, or give a "
            "model that gigaslide train made of features"
        )
    try:
        options = BagOptions.model_validate(card.options)
        network = bag_network(card.features.length, options)
        with network.filled(None) as empty:
            empty.load_weights(folder / WEIGHTS)
            weights: Any = empty.get_weights()
    except (ValidationError, ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{folder}: the weights do not fit the network of the card: {error}"
        ) from error
    return BagModel(
        length=card.features.length,
        options=options,
        weights=tuple(np.asarray(one) for one in weights),
    )
