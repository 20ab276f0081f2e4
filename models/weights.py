"""Weights of a model folder, read into the network of its card."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..storage import ModelError
from .card import WEIGHTS, ModelCard
from .initial_weights import describe_misfit
from .networks.architectures import build_network
from .networks.own_network import refuse_other_network
from .runtimes.loading import refuse_partial_weights

if TYPE_CHECKING:
    import keras

__all__ = ["load_network", "load_weights"]


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


def load_network(folder: Path, card: ModelCard, *, architecture: str = "") -> "keras.Model":
    """Build the network of a card and fill it with the folder's weights.

    architecture: the module:function of a network of the user's own, which the card only records.

    Raises:
        ModelError: the weights do not fit, or the network is somebody's own and was not given.
    """
    refuse_other_network(folder, recorded=card.architecture, given=architecture)
    network = build_network(card.architecture, card.input_spec, card.options, trusted=architecture)
    load_weights(network, folder)
    network.compile()  # so that predict_on_batch is compiled once for each batch size
    return network
