"""The dense form of a network: the same weights on tiles, a probability for each cell."""

from collections.abc import Sequence
from typing import Any

import keras

from ...storage import ModelError
from ..card import ModelCard
from ..networks.architectures import NetworkOptions, find_architecture
from ..networks.own_network import is_own_network
from .layout import DenseLayout, derive_layout

__all__ = ["build_dense_network", "build_odds_network", "find_layout"]


def find_layout(card: ModelCard) -> DenseLayout:
    """Derive the dense layout of the network of a card; its weights are not needed.

    Raises:
        ModelError: a network of the user's own, or one that cannot be computed on tiles.
    """
    if is_own_network(card.architecture):
        raise ModelError("it is a network of your own, whose layers may need whole patches")
    patch_px, shrink = card.input_spec.patch_px, _options(card).shrink
    image: Any = keras.Input((patch_px, patch_px, 3))
    pixels = keras.layers.AveragePooling2D(shrink)(image) if shrink > 1 else image
    return derive_layout(_features(card, pixels, ""), image, patch_px=patch_px, shrink=shrink)


def build_dense_network(
    card: ModelCard, network: keras.Model, layout: DenseLayout, steps_px: Sequence[int]
) -> keras.Model:
    """Build the dense form of a network, with its weights.

    It maps tiles (1, T, T, 3) RGB in [0, 255], one for each scale, of which T is
    `DenseLayout.shrunk_px` of `tile_px` of n cells, to probabilities (1, n, n, classes).
    steps_px: distance of neighbouring cells at each scale, window px.
    """
    spec = card.input_spec
    tiles, means = [], []
    for number, (mpp, step_px) in enumerate(zip(spec.mpps, steps_px, strict=True)):
        suffix = f"_{mpp:g}".replace(".", "_") if len(spec.mpps) > 1 else ""
        tile: Any = keras.Input((None, None, 3), name=f"tile_{number}")
        found = _features(card, tile, suffix)
        inside = keras.layers.Cropping2D(layout.halo_features, name=f"without_halo{suffix}")(found)
        mean = keras.layers.AveragePooling2D(
            layout.features, strides=step_px // layout.stride_px, name=f"mean_of_cell{suffix}"
        )
        tiles.append(tile)
        means.append(mean(inside))
    features: Any = keras.layers.Concatenate(name="scales")(means) if len(means) > 1 else means[0]
    scores = keras.layers.Dense(
        len(spec.classes), activation="softmax", name="classifier", dtype="float32"
    )
    dense = keras.Model(tiles, scores(features))
    dense.set_weights(network.get_weights())
    dense.compile()
    return dense


def build_odds_network(card: ModelCard, network: keras.Model) -> keras.Model:
    """Build the network of one scale that maps shrunk tiles (1, H, W, 3) to the log-odds of every
    feature, (1, h, w, classes), with the weights of a network of patches.

    The mean of the log-odds over the features of a cell are those of the cell, see `pool_cells`.
    """
    tile: Any = keras.Input((None, None, 3), name="tile")
    odds = keras.layers.Dense(len(card.input_spec.classes), name="classifier", dtype="float32")
    found = keras.Model(tile, odds(_features(card, tile, "")))
    found.set_weights(network.get_weights())
    found.compile()
    return found


def _features(card: ModelCard, pixels: Any, suffix: str) -> Any:
    """Feature map of one scale, as `build_network` makes it of pixels that are shrunk already."""
    return find_architecture(card.architecture).tower(pixels, _options(card), suffix)


def _options(card: ModelCard) -> NetworkOptions:
    return NetworkOptions.model_validate(card.options)
