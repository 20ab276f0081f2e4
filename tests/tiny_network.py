"""A network with dropout that trains in seconds, in place of Inception."""

import keras
from gigaslide.models import Architecture, NetworkOptions


def tower(pixels: keras.KerasTensor, options: NetworkOptions, suffix: str) -> keras.KerasTensor:
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name=f"scaled{suffix}")(pixels)
    features = keras.layers.Conv2D(8, 7, strides=4, name=f"first{suffix}")(scaled)
    features = keras.layers.BatchNormalization(
        momentum=options.batch_norm_momentum, name=f"normalised{suffix}"
    )(features)
    features = keras.layers.Activation("relu", name=f"relu{suffix}")(features)
    features = keras.layers.Conv2D(12, 3, strides=2, activation="relu", name=f"last{suffix}")(
        features
    )
    return keras.layers.Dropout(0.3, name=f"dropped{suffix}")(features)


TINY = Architecture(
    tower=tower,
    min_patch_px=75,
    preprocessing="scaled",
    parameters=2126,
    windows_per_s=1000.0,
)
