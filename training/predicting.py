"""Probabilities of patches from a network in training."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

__all__ = ["predict_patches"]


def predict_patches(
    network: keras.Model,
    patches: np.ndarray,
    *,
    batch_size: int,
    on_batch: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Return the probabilities (N, classes) float32 of patches (N, scales, P, P, 3).

    They are scored in whole batches, the last one filled up: one batch size, one compiled graph.
    on_batch is called before each.
    """
    filled: Any = np.resize(
        patches, (len(patches) + -len(patches) % batch_size, *patches.shape[1:])
    )
    parts = []
    for first in range(0, len(filled), batch_size):
        on_batch()
        parts.append(np.asarray(network.predict_on_batch(filled[first : first + batch_size])))
    return np.concatenate(parts)[: len(patches)]
