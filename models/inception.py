"""InceptionV3 by width: the paper's full network, and its small one of about 300 000 parameters."""

import math
from typing import Literal

import keras

from ..storage import ModelError

__all__ = ["Width", "build_classifier", "parameter_counts"]

Width = Literal["full", "small"]

SMALL_MULTIPLIER = 0.1  # TF-Slim's depth multiplier, with its floor of 16 filters a layer
SMALL_FLOOR = 16
LEAST_PX = 75  # below it Inception's strided layers run out of pixels


def build_classifier(
    *, width: Width, patch_px: int, classes: int = 2, batch_norm_momentum: float = 0.99
) -> keras.Model:
    """A network from (N, patch_px, patch_px, 3) RGB in [0, 255] to (N, classes) probabilities.

    The pixels are scaled to [-1, 1] inside, so a model is fed the same way wherever it is used.
    With two classes the full network has 21 806 882 parameters, the small one 283 759 (279 791 of
    them trained). Weights are random. batch_norm_momentum matters while training only: how slowly
    the running statistics follow.

    Raises:
        ModelError: patch_px is too small for Inception.
    """
    if patch_px < LEAST_PX:
        raise ModelError(
            f"InceptionV3 needs patches of at least {LEAST_PX} px, not {patch_px}; set patch_px"
        )
    shape = (patch_px, patch_px, 3)
    base = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=shape)  # pyright: ignore[reportArgumentType]

    def adapted(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if width == "small" and isinstance(layer, keras.layers.Conv2D):
            config["filters"] = max(SMALL_FLOOR, int(config["filters"] * SMALL_MULTIPLIER))
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = batch_norm_momentum
        return layer.__class__.from_config(config)

    base = keras.models.clone_model(base, clone_function=adapted)
    inputs = keras.Input((patch_px, patch_px, 3), name="patch")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="to_minus_one_to_one")(inputs)
    pooled = keras.layers.GlobalAveragePooling2D(name="mean_over_grid")(base(scaled))
    scores = keras.layers.Dense(classes, activation="softmax", name="classifier")(pooled)
    return keras.Model(inputs, scores, name=f"inception_v3_{width}")


def parameter_counts(model: keras.Model) -> dict[str, int]:
    """How many numbers the model holds: {"all": …, "trained": …}."""
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return {"all": int(model.count_params()), "trained": int(trained)}
