"""InceptionV3 by width: the full network, and the small one of about 300 000 parameters (Liu et al.
2017)."""

import re
from collections import Counter

import keras

from ..storage import ModelError
from ..wsi import InputSpec
from .architectures import InceptionOptions

__all__ = ["build_inception_v3"]

LEAST_FILTERS = 16  # of a layer, whatever the multiplier; as TF-Slim's min_depth
NUMBERED = re.compile(r"(conv2d|batch_normalization|activation|concatenate|\w+_pooling2d)(_\d+)?")


def build_inception_v3(
    spec: InputSpec, options: InceptionOptions, *, multiplier: float
) -> keras.Model:
    """Build InceptionV3 for patches of one scale, with random weights.

    multiplier scales the filters of every layer, as TF-Slim's depth multiplier: 0.1 gives the small
    network (283 759 parameters for two classes, 279 791 of them trained), 1 the full one
    (21 806 882). Pixels are scaled to [-1, 1] inside.

    Raises:
        ModelError: patches of several scales.
    """
    if len(spec.mpps) != 1:
        raise ModelError(
            f"InceptionV3 takes patches of one scale, these have {len(spec.mpps)} ({spec.mpps} "
            "µm/px); train on a store of one scale"
        )
    shape = spec.shape[1:]
    base = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=shape)  # pyright: ignore[reportArgumentType]

    made: Counter[str] = Counter()

    def adapt(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        # Keras numbers layers over the whole process, and TensorFlow sums the gradients of branches
        # in an order that depends on names: equal names, equal weights.
        if numbered := NUMBERED.fullmatch(layer.name):
            kind = numbered[1]
            config["name"] = f"{kind}_{made[kind]}" if made[kind] else kind
            made[kind] += 1
        if multiplier != 1 and isinstance(layer, keras.layers.Conv2D):
            config["filters"] = max(LEAST_FILTERS, int(config["filters"] * multiplier))
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = options.batch_norm_momentum
        return layer.__class__.from_config(config)

    base = keras.models.clone_model(base, clone_function=adapt)
    patches = keras.Input(spec.shape, name="patches")
    image = keras.layers.Reshape(shape, name="only_scale")(patches)
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="to_minus_one_to_one")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="mean_over_grid")(base(scaled))
    scores = keras.layers.Dense(len(spec.classes), activation="softmax", name="classifier")(pooled)
    return keras.Model(patches, scores)
