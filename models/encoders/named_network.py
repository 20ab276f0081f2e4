"""A network by its name with a file of weights, without its classifier, as an encoder."""

from typing import TYPE_CHECKING

import numpy as np

from ...storage import ModelError
from ..initial_weights import fill_network
from ..networks.architectures import ARCHITECTURES, build_network
from ..predictor import cut_classifier
from ..runtimes.backend import prepare_keras
from ..runtimes.registry import RuntimeChoice, RuntimeName, start_runtime
from .card import EncoderCard
from .encoder import Encoder
from .own_card import load_card
from .source import EncoderDescription, EncoderSource, hash_files

if TYPE_CHECKING:
    import keras

__all__ = ["describe_named", "is_named", "start_named"]

FIXED = ("mean", "std", "layout", "output", "pooling", "prefix_tokens")
"""Fields of a card that say what these networks have inside."""


def is_named(source: EncoderSource) -> bool:
    """Tell whether an encoder is a network of ours or of keras.applications."""
    return source.encoder in ARCHITECTURES


def describe_named(source: EncoderSource) -> EncoderDescription:
    """Read the card or the options, and hash the weights.

    Raises:
        ModelError: no weights, no size of the windows, or a card that says how pixels are scaled,
            which these networks do by themselves.
    """
    card = load_card(source)
    if source.weights is None:
        raise ModelError(
            f"{source.encoder}: has no weights; give a file with --encoder-weights. Nothing is "
            "downloaded"
        )
    plain = EncoderCard(patch_px=card.patch_px, mpp=card.mpp)
    wrong = [name for name in FIXED if getattr(card, name) != getattr(plain, name)]
    if wrong:
        raise ModelError(
            f"{source.encoder}: scales its pixels and pools its features by itself; leave "
            f"{', '.join(wrong)} out of its card"
        )
    try:
        return EncoderDescription(card=card, hash=hash_files([source.weights]))
    except OSError as error:
        raise ModelError(f"{source.weights}: cannot be read ({error})") from error


def start_named(
    source: EncoderSource, found: EncoderDescription, runtime: RuntimeName, threads: int | None
) -> Encoder:
    """Build the network and fill it, see `load_encoder`.

    Raises:
        ModelError: weights that do not fit, or windows that the network cannot take.
    """
    prepare_keras()
    from ..runtimes.keras_runtime import limit_threads

    limit_threads(threads)
    network = cut_classifier(build_network(source.encoder, found.card.input_spec))
    _fill(network, source)
    started = start_runtime(network, RuntimeChoice(runtime=runtime, threads=threads))

    def encode(patches: np.ndarray) -> np.ndarray:
        return started.forward(patches[:, None] if patches.ndim == 4 else patches)

    return Encoder(card=found.card, encode=encode, hash=found.hash, runtime=started.name)


def _fill(network: "keras.Model", source: EncoderSource) -> None:
    random = fill_network(network, source.encoder, str(source.weights))
    if random:
        raise ModelError(
            f"{source.weights}: has no weights for {', '.join(random[:5])} of {source.encoder}; an "
            "encoder with random layers is refused: give weights of the whole network"
        )
