"""Entry to the networks that segment regions, which imports Keras only when one is built."""

from typing import TYPE_CHECKING

from ..runtimes.backend import prepare_keras
from .options import RegionOptions

if TYPE_CHECKING:
    import keras

__all__ = ["build_region_network"]


def build_region_network(
    options: RegionOptions, side_px: int | None, *, encoder_weights: str = ""
) -> "keras.Model":
    """Build a network with random weights: (N, S, S, 3) RGB in [0, 255] → (N, S, S, 1) logits.

    side_px: S; None for any side that the strides divide. encoder_weights: source of weights as for
    `fill_network`, for the encoder.

    Raises:
        ModelError: an encoder that is unknown or cannot be used, weights that do not fit it, or a
            side that the strides do not divide.
    """
    prepare_keras()
    from .network import build_unet

    return build_unet(options, side_px, encoder_weights=encoder_weights)
