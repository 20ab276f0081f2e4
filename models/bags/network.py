"""Network on bags of features: a classifier of single windows, pooled to a slide.

features (B, N, D) ─ dense, ReLU ─┬─ dense ─────────────── window logit (B, N) ─┐
                                  └─ tanh(dense)·σ(dense) ─ attention logit ────┴─ slide logit (B,)

The classifier is linear, so that of the attention-weighted mean of embeddings is the weighted mean
of the windows' logits: one classifier gives the scores of windows and of the slide (Ilse et al.
2018, Teneggi et al. 2022). A bag shorter than N is padded, and its mask is False there.

Networks are kept by their shape, and filled with weights as they are needed: compiling one takes
longer than training it on a few dozen slides.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from ..runtimes.backend import prepare_keras
from .options import BagOptions

__all__ = ["BagNetwork", "bag_network", "bucket_size", "choose_xla", "draw_weights"]

BIG = 1e9
"""Subtracted from the logits of padding: its weight in a softmax is exactly 0."""
FEWEST = 16
DOUBLED_UP_TO = 4096
AT_ONCE = 4096
"""Windows in one call of a prediction."""
NETWORKS_KEPT = 8


def bucket_size(count: int) -> int:
    """Return the size to which a bag of so many windows is padded: few sizes, because a network is
    compiled for each. Powers of two; above 4 096 also the three sizes between two of them, because
    padding costs memory there."""
    doubled = max(FEWEST, 1 << max(0, count - 1).bit_length())
    if doubled <= DOUBLED_UP_TO:
        return doubled
    step = doubled // 8
    return -(-count // step) * step


class BagNetwork:
    """A network for features of one length, whose weights change with every use."""

    def __init__(self, length: int, options: BagOptions) -> None:
        prepare_keras()
        import keras

        self.length, self.options = length, options
        features: Any = keras.Input((None, length), name="features")
        mask: Any = keras.Input((None,), name="mask", dtype="bool")
        logits = _window_logits(features, options)
        self.trained: Any = keras.Model([features, mask], _pool(logits, mask, options.pooling))
        self.windows: Any = keras.Model(features, logits)
        self.windows.compile(jit_compile=choose_xla())
        self._held: Sequence[np.ndarray] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def filled(self, weights: Sequence[np.ndarray] | None) -> Iterator[Any]:
        """Lend the network of single windows with these weights, or any, without an optimiser."""
        import keras

        with self._lock:
            self._held = None
            if weights is not None:
                self.windows.set_weights(weights)
            yield keras.Model(self.windows.inputs, self.windows.outputs)

    def score(self, features: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
        """Return the logits of windows (N, D) one by one: (N, 2) float64, that of the classifier
        and that of attention, which is 0 where there is none. `AT_ONCE` windows are computed at a
        time."""
        scores = np.empty((len(features), 2))
        with self._lock:
            if weights is not self._held:
                self.windows.set_weights(weights)
                self._held = weights
            for first in range(0, len(features), AT_ONCE):
                part = features[first : first + AT_ONCE]
                padded = np.zeros((1, bucket_size(len(part)), self.length), np.float32)
                padded[0, : len(part)] = part
                found = np.asarray(self.windows.predict_on_batch(padded))
                scores[first : first + len(part)] = found[0, : len(part)]
        return scores


def bag_network(length: int, options: BagOptions) -> BagNetwork:
    """Return the network that scores features of this length; a process builds it once. Training
    has a network of its own."""
    return _keep(length, options.model_dump_json())


@lru_cache(maxsize=NETWORKS_KEPT)
def _keep(length: int, options: str) -> BagNetwork:
    return BagNetwork(length, BagOptions.model_validate_json(options))


def choose_xla() -> Any:
    """Return Keras's jit_compile: XLA where the backend cannot do without. Elsewhere it takes
    longer to compile these small networks than they run."""
    import keras

    return "auto" if keras.backend.backend() == "jax" else False


def draw_weights(network: BagNetwork, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw first weights in the order of the network's: Glorot's uniform ones, and no bias."""
    weights = []
    for weight in network.windows.weights:
        shape = tuple(weight.shape)
        limit = np.sqrt(6 / sum(shape)) if len(shape) == 2 else 0.0
        weights.append(rng.uniform(-limit, limit, shape).astype(np.float32))
    return tuple(weights)


def _window_logits(features: Any, options: BagOptions) -> Any:
    """(B, N, D) → (B, N, 2): logits of classifier and attention."""
    from keras import layers, ops

    hidden: Any = layers.Dense(options.hidden, activation="relu", name="hidden")(features)
    hidden = layers.Dropout(options.dropout, name="dropout")(hidden)
    logit: Any = layers.Dense(1, name="classifier")(hidden)
    if options.pooling != "attention":
        return ops.concatenate([logit, ops.zeros_like(logit)], axis=-1)
    signal: Any = layers.Dense(options.attention, activation="tanh", name="signal")(hidden)
    gate: Any = layers.Dense(options.attention, activation="sigmoid", name="gate")(hidden)
    attention: Any = layers.Dense(1, use_bias=False, name="attention")(signal * gate)
    return ops.concatenate([logit, attention], axis=-1)


def _pool(logits: Any, mask: Any, pooling: str) -> Any:
    """(B, N, 2) logits and (B, N) mask → (B, 1) slide logits."""
    from keras import ops

    logit, attention = logits[..., 0], logits[..., 1]
    inside: Any = ops.cast(mask, "float32")
    outside: Any = (inside - 1.0) * BIG
    count: Any = ops.maximum(ops.sum(inside, axis=1, keepdims=True), 1.0)
    if pooling == "attention":
        weights: Any = ops.softmax(attention + outside, axis=1)
        return ops.sum(weights * logit, axis=1, keepdims=True)
    if pooling == "mean":
        return ops.sum(inside * logit, axis=1, keepdims=True) / count
    if pooling == "max":
        return ops.max(logit + outside, axis=1, keepdims=True)
    return ops.logsumexp(logit + outside, axis=1, keepdims=True) - ops.log(count)
