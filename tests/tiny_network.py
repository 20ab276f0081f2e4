"""A network with dropout that trains in seconds, in place of Inception."""

from typing import Any

import keras
from gigaslide.models import Architecture, InceptionOptions
from gigaslide.wsi import InputSpec


def build(spec: InputSpec, options: Any) -> keras.Model:
    patches = keras.Input(spec.shape)
    image = keras.layers.Reshape(spec.shape[1:])(patches)
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    features = keras.layers.Conv2D(8, 7, strides=4)(scaled)
    features = keras.layers.BatchNormalization(momentum=options.batch_norm_momentum)(features)
    features = keras.layers.Activation("relu")(features)
    features = keras.layers.Conv2D(12, 3, strides=2, activation="relu")(features)
    pooled = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(features))
    return keras.Model(patches, keras.layers.Dense(len(spec.classes), activation="softmax")(pooled))


TINY = Architecture(
    build=build,
    options=InceptionOptions,
    min_patch_px=75,
    preprocessing="scaled",
    parameters=2126,
    windows_per_s=1000.0,
)
