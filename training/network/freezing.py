"""Parts of a network that do not learn."""

from collections.abc import Iterator
from typing import Any

import keras

from ...storage import SettingsError
from ..settings import TrainSettings

__all__ = ["freeze_layers"]


def freeze_layers(network: keras.Model, settings: TrainSettings, *, step: int) -> None:
    """Choose the layers that learn in the step after so many.

    Batch normalisation that is frozen keeps its statistics, and stays frozen when the other layers
    begin to learn: a few batches of new pictures would spoil the statistics of millions.

    Raises:
        SettingsError: no layer of that name, or layers of one tower among several.
    """
    if settings.freeze == "none":
        return
    layers = list(_leaves(network))
    if settings.freeze != "towers" and network.input_shape[1] > 1:
        raise SettingsError(
            f"freeze {settings.freeze}: this network has a tower for each scale; give towers "
            "or none"
        )
    frozen = layers[: _first_to_learn(layers, settings.freeze)]
    unfrozen = settings.unfreeze_step is not None and step >= settings.unfreeze_step
    for layer in frozen:
        layer.trainable = unfrozen and not isinstance(layer, keras.layers.BatchNormalization)


def _leaves(network: keras.Model) -> Iterator[Any]:
    """Yield the layers in the order in which pixels pass them, those of inner networks too."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _first_to_learn(layers: list[Any], freeze: str) -> int:
    """Return the index of the first layer that learns."""
    with_weights = [number for number, layer in enumerate(layers) if layer.weights]
    if freeze == "towers":
        return with_weights[-1]  # the classifier
    if freeze.isdecimal():
        learning = int(freeze)
        return with_weights[-learning] if learning <= len(with_weights) else 0
    for number, layer in enumerate(layers):
        if layer.name.startswith(freeze):
            return number
    names = ", ".join(layers[number].name for number in with_weights[-6:])
    raise SettingsError(
        f"freeze {freeze}: the network has no layer whose name begins so; its last layers with "
        f"weights are {names}"
    )
