"""A plain convolutional network that learns from few patients in minutes on two cores: 0.2 million
parameters."""

import keras
from keras import layers

from .options import NetworkOptions

__all__ = ["compact_features"]

FILTERS = (24, 32, 64, 96, 128)


def compact_features(
    pixels: keras.KerasTensor, options: NetworkOptions, suffix: str
) -> keras.KerasTensor:
    """Tower of the compact network, see `Architecture.tower`. Pixels are scaled to [-1, 1] inside.

    Five convolutions of 3 × 3 px with batch normalisation, the resolution halved between them.
    """
    image = keras.Input(pixels.shape[1:], name="image")
    x: keras.KerasTensor = layers.Rescaling(1 / 127.5, offset=-1, name="scaled")(image)
    for number, filters in enumerate(FILTERS):
        first = number == 0
        x = layers.Conv2D(
            options.scale_filters(filters),
            3,
            strides=2 if first else 1,
            padding="same",
            use_bias=False,
            name=f"conv{number}",
        )(x)
        x = layers.BatchNormalization(
            momentum=options.batch_norm_momentum, name=f"normalised{number}"
        )(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        if 0 < number < len(FILTERS) - 1:
            x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    return keras.Model(image, x, name=f"compact{suffix}")(pixels)
