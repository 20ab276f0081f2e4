"""U-Net (Ronneberger et al. 2015): a score for every pixel, by convolutions at falling resolutions
and back, joined at each of them."""

from collections.abc import Mapping

import keras
from keras import layers

__all__ = ["WIDEST", "decode", "encode"]

WIDEST = 16
"""Largest factor for the filters of a resolution."""

Maps = Mapping[int, keras.KerasTensor]
"""Maps of features by stride: px between neighbouring features."""


def encode(image: keras.KerasTensor, *, width: int, stages: int, momentum: float) -> Maps:
    """Return maps of strides 1, 2, 4, … of an image (N, S, S, 3) RGB in [0, 255]: two convolutions
    of 3 × 3 at each resolution. S must be a multiple of the largest stride."""
    x: keras.KerasTensor = layers.Rescaling(1 / 127.5, offset=-1, name="scaled")(image)
    maps = {}
    for stride in (2**number for number in range(stages)):
        if stride > 1:
            x = layers.MaxPooling2D(2, name=f"pool_{stride}")(x)
        x = maps[stride] = _convolve_twice(x, _filters(width, stride), f"down_{stride}", momentum)
    return maps


def decode(maps: Maps, *, width: int, momentum: float) -> keras.KerasTensor:
    """Return logits (N, S, S, 1) from maps of an image, whose strides are powers of two.

    From the coarsest map on: enlarged twofold, joined with the map of that stride where there is
    one, two convolutions. Enlarging repeats pixels, so that what a pixel depends on is exactly
    known.
    """
    stride = max(maps)
    x = maps[stride]
    while stride > 1:
        stride //= 2
        x = layers.UpSampling2D(2, name=f"enlarged_{stride}")(x)
        if stride in maps:
            x = layers.Concatenate(name=f"joined_{stride}")([x, maps[stride]])
        x = _convolve_twice(x, _filters(width, stride), f"up_{stride}", momentum)
    # In float32 also where the layers before compute in bfloat16.
    return layers.Conv2D(1, 1, dtype="float32", name="logits")(x)


def _filters(width: int, stride: int) -> int:
    return width * min(stride, WIDEST)


def _convolve_twice(
    x: keras.KerasTensor, filters: int, name: str, momentum: float
) -> keras.KerasTensor:
    for number in (1, 2):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"{name}_convolution{number}"
        )(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"{name}_normalised{number}")(x)
        x = layers.ReLU(name=f"{name}_relu{number}")(x)
    return x
