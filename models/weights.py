"""Weights of a model folder, read into the network of its card."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..storage import ModelError
from .card import WEIGHTS
from .initial_weights import describe_misfit
from .runtimes.loading import refuse_partial_weights

if TYPE_CHECKING:
    import keras

__all__ = ["load_weights"]


def load_weights(network: "keras.Model", folder: Path) -> None:
    """Fill a network with the weights of a model folder.

    Weights files of format 1 also hold the optimiser's state, which is not read.

    Raises:
        ModelError: they do not fit.
    """
    try:
        with refuse_partial_weights():
            network.load_weights(folder / WEIGHTS)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ModelError(
            f"{folder}: the weights do not fit the network of the card: "
            f"{describe_misfit(network, folder / WEIGHTS) or error}"
        ) from error
