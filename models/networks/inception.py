"""InceptionV3 by width: the full network, and the small one of about 300 000 parameters (Liu et al.
2017)."""

import re
from collections import Counter
from typing import Any

import keras

from .options import NetworkOptions

__all__ = ["inception_v3_features"]

NUMBERED = re.compile(r"(conv2d|batch_normalization|activation|concatenate|\w+_pooling2d)(_\d+)?")


def inception_v3_features(
    pixels: keras.KerasTensor, options: NetworkOptions, suffix: str, *, multiplier: float
) -> keras.KerasTensor:
    """Tower of InceptionV3, see `Architecture.tower`. Pixels are scaled to [-1, 1] inside.

    multiplier, like the option `widths`, scales the filters of every layer, as TF-Slim's depth
    multiplier: 0.1 gives the small network (283 759 parameters for two classes, 279 791 of them
    trained), 1 the full one (21 806 882).
    """
    build: Any = keras.applications.InceptionV3
    base = build(include_top=False, weights=None, input_shape=pixels.shape[1:])

    made: Counter[str] = Counter()

    def adapt(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        # Keras numbers layers over the whole process, and TensorFlow sums the gradients of branches
        # in an order that depends on names: equal names, equal weights.
        if numbered := NUMBERED.fullmatch(layer.name):
            kind = numbered[1]
            config["name"] = f"{kind}_{made[kind]}" if made[kind] else kind
            made[kind] += 1
        if isinstance(layer, keras.layers.Conv2D):
            filters = options.scale_filters(config["filters"], multiplier=multiplier)
            config["filters"] = filters
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = options.batch_norm_momentum
        return layer.__class__.from_config(config)

    base = keras.models.clone_model(base, clone_function=adapt)
    base.name = f"{base.name}{suffix}"
    scale = keras.layers.Rescaling(1 / 127.5, offset=-1, name=f"to_minus_one_to_one{suffix}")
    return base(scale(pixels))
