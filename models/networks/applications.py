"""Networks of keras.applications by name, each with its own preprocessing inside."""

from typing import Any

import keras

from .options import NetworkOptions

__all__ = ["application_features"]

# Mean and standard deviation of ImageNet's red, green and blue, of a full scale of 1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLUE_GREEN_RED = (103.939, 116.779, 123.68)  # means that Caffe's networks subtract


def application_features(
    image: keras.KerasTensor, options: NetworkOptions, suffix: str, *, name: str, pixels: str
) -> keras.KerasTensor:
    """Tower of a network of keras.applications, see `Architecture.tower`; pixels is a key of
    `PIXELS`."""
    build = getattr(keras.applications, name)
    base = build(include_top=False, weights=None, input_shape=image.shape[1:])
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = options.batch_norm_momentum
    base.name = f"{base.name}{suffix}"
    return base(_preprocess(image, pixels, f"pixels{suffix}"))


def _preprocess(image: keras.KerasTensor, pixels: str, name: str) -> keras.KerasTensor:
    """Bring RGB in [0, 255] to what the ImageNet weights of a network were trained on."""
    if pixels == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1, name=name)(image)
    if pixels == "torch":
        scale: Any = [1 / (255 * deviation) for deviation in DEVIATION]
        offset: Any = [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name=name)(image)
    if pixels == "caffe":
        offset: Any = [-mean for mean in BLUE_GREEN_RED]
        return keras.layers.Rescaling(1.0, offset=offset, name=name)(image[..., ::-1])
    return image
