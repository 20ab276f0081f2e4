"""A network of one convolution, without batch normalisation and dropout."""

import keras
from gigaslide.models import Architecture, NetworkOptions


def tower(pixels: keras.KerasTensor, options: NetworkOptions, suffix: str) -> keras.KerasTensor:
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name=f"scaled{suffix}")(pixels)
    return keras.layers.Conv2D(8, 7, strides=4, activation="relu", name=f"only{suffix}")(scaled)


PLAIN = Architecture(
    tower=tower, min_patch_px=75, preprocessing="scaled", parameters=1202, windows_per_s=1000.0
)
