"""A fully convolutional network of whole slides: from a small picture of a slide to a logit of each
finding in each cell, and by log-sum-exp pooling to one for the slide."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...storage import ModelError
from ..initial_weights import fill_network
from ..runtimes.backend import prepare_keras
from .architectures import find_architecture
from .options import NetworkOptions

if TYPE_CHECKING:
    import keras

__all__ = [
    "CELL_PX",
    "WholeSlideArchitecture",
    "WholeSlideNetwork",
    "build_whole_slide_network",
    "pool_cells",
]

WholeSlideArchitecture = Literal["compact", "efficientnet_lite0"]
"""Networks whose layers down to cells of `CELL_PX` score a whole slide."""

CELL_PX = 16
"""Side of a cell of the map (picture px): the network halves the resolution four times."""
LAST_LAYERS = {"compact": "relu4", "efficientnet_lite0": "block10_add"}
"""Last layer of each tower with cells of `CELL_PX`."""
MOMENTUM = 0.9  # of batch normalisation: a training has a few hundred steps
FAR_BELOW = 1e9


@dataclass(frozen=True, kw_only=True)
class WholeSlideNetwork:
    """One network in two forms, which share their weights."""

    maps: "keras.Model"
    """(B, H, W, 3) RGB in [0, 255] → (B, H/16, W/16, F) logits: the class activation map of each of
    F findings."""
    pooled: "keras.Model"
    """[pictures as above, cells (B, H/16, W/16) float32 of 0 and 1] → (B, F) logits; cells of 0 do
    not count."""
    sharpness: float


def build_whole_slide_network(
    architecture: WholeSlideArchitecture,
    *,
    findings: int,
    width: float,
    sharpness: float,
    initial_weights: str = "",
) -> WholeSlideNetwork:
    """Build a tower, as far as its cells have `CELL_PX`, with a classifier as 1 × 1 convolution.

    width is a factor for the filters; sharpness is that of `pool_cells`. Weights are random, or
    those of a source as `fill_network` takes it; then its normalisation stays as it is, because a
    few slides in a step are too few for new statistics.

    Raises:
        ModelError: initial weights that do not fit.
    """
    prepare_keras()
    import keras

    options = NetworkOptions(batch_norm_momentum=MOMENTUM, widths=(width,))
    picture: Any = keras.Input((None, None, 3), name="picture")
    cells: Any = keras.Input((None, None), name="cells")
    whole: Any = keras.Model(picture, find_architecture(architecture).tower(picture, options, ""))
    if initial_weights and (random := fill_network(whole, architecture, initial_weights)):
        raise ModelError(
            f"{initial_weights}: has no weights for the layers {', '.join(random[:4])} of "
            f"{architecture}; give weights of the whole network"
        )
    whole_tower: Any = whole.get_layer(architecture)
    last: Any = whole_tower.get_layer(LAST_LAYERS[architecture])
    tower: Any = keras.Model(whole_tower.input, last.output, name="tower")
    if initial_weights:
        for layer in tower.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    features = tower(picture)
    classifier = keras.layers.Conv2D(findings, 1, name="classifier", dtype="float32")
    maps: Any = classifier(features)
    raised: Any = sharpness * maps + (cells[..., None] - 1.0) * FAR_BELOW
    count: Any = keras.ops.maximum(keras.ops.sum(cells, axis=(1, 2)), 1.0)
    total: Any = keras.ops.logsumexp(raised, axis=(1, 2))
    of_mean: Any = keras.ops.log(count)
    pooled = (total - of_mean[:, None]) / sharpness
    return WholeSlideNetwork(
        maps=keras.Model(picture, maps),
        pooled=keras.Model([picture, cells], pooled),
        sharpness=sharpness,
    )


def pool_cells(logits: np.ndarray, cells: np.ndarray, *, sharpness: float) -> np.ndarray:
    """Pool the logits (h, w, F) of the cells (h, w) bool that count: (F,) float64, -inf without.

    log(mean(exp(r x))) / r with the sharpness r: the mean for r near 0, the maximum for a large
    one.
    """
    chosen = sharpness * logits[cells].astype(np.float64)
    if not len(chosen):
        return np.full(logits.shape[-1], -np.inf)
    highest = chosen.max(axis=0)
    return (highest + np.log(np.exp(chosen - highest).mean(axis=0))) / sharpness
