"""A trained network on bags as a value: features of a slide's windows in, scores out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ...storage import ModelError
from .network import bag_network
from .options import BagOptions
from .pooling import attention_of, find_shapley, pool_logits

__all__ = ["BagEnsemble", "BagModel", "BagScores"]


@dataclass(frozen=True, kw_only=True)
class BagScores:
    """Scores of one slide and of its N windows."""

    slide: float
    """Tumour probability of the slide; 0.0 for a bag without windows."""
    windows: np.ndarray
    """(N,) float64 tumour probability of each window, by the classifier of the slide."""
    attention: np.ndarray
    """(N,) float64, sum to 1: share of each window in the slide's logit. Equal for all windows
    where the network has no attention."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BagModel:
    """Weights of a network on bags. Any number of them share one compiled network."""

    length: int
    """Number of features D of a window."""
    options: BagOptions
    weights: tuple[np.ndarray, ...]
    """Weights in Keras's order, float32."""

    def predict(self, bag: np.ndarray) -> BagScores:
        """Score a bag, (N, D) features of any float type, and its windows.

        Windows are computed a few thousand at a time; the bag's size is limited by its own memory.

        Raises:
            ModelError: features of another length, or that are not finite.
        """
        return BagEnsemble((self,)).predict(bag)

    def find_shapley(self, bag: np.ndarray, xy: np.ndarray | None = None) -> np.ndarray:
        """See `BagEnsemble.find_shapley`."""
        return BagEnsemble((self,)).find_shapley(bag, xy)

    def score_windows(self, bag: np.ndarray) -> np.ndarray:
        """Return the logits of a bag's windows: (N, 2) float64, of classifier and attention.

        Raises:
            ModelError: features of another length, or that are not finite.
        """
        if bag.ndim != 2 or bag.shape[1] != self.length:
            raise ModelError(
                f"features of shape {bag.shape}: the model takes (windows, {self.length}); use the "
                "features of the encoder that it was trained on"
            )
        if not np.isfinite(bag).all():
            wrong = int((~np.isfinite(bag)).any(axis=1).sum())
            raise ModelError(
                f"{wrong} of {len(bag)} windows have features that are not finite; leave them out"
            )
        return bag_network(self.length, self.options).score(bag, self.weights)

    def pool(self, logits: np.ndarray) -> float:
        """Return the slide probability of windows (N, 2) logits; of none, that of a bag whose
        embedding is zero."""
        if not len(logits):
            return float(expit(self.bias))
        return float(expit(pool_logits(logits, self.options.pooling)))

    @property
    def bias(self) -> float:
        """Logit of an embedding of zeros."""
        network = bag_network(self.length, self.options)
        names = [weight.path for weight in network.windows.weights]
        return float(self.weights[names.index("classifier/bias")][0])


@dataclass(frozen=True)
class BagEnsemble:
    """Models whose probabilities and attention are averaged; one is an ensemble of one."""

    models: Sequence[BagModel]

    def predict(self, bag: np.ndarray) -> BagScores:
        """See `BagModel.predict`."""
        logits = [model.score_windows(bag) for model in self.models]
        if not len(bag):
            return BagScores(slide=0.0, windows=np.empty(0), attention=np.empty(0))
        return BagScores(
            slide=self._pool(logits, slice(None)),
            windows=np.mean([expit(one[:, 0]) for one in logits], axis=0),
            attention=np.mean([attention_of(one) for one in logits], axis=0),
        )

    def find_shapley(self, bag: np.ndarray, xy: np.ndarray | None = None) -> np.ndarray:
        """Return the hierarchical Shapley value of each window for the slide's probability, (N,)
        float64 ≥ 0, see `find_shapley`.

        xy: (N, 2) places of the windows, which are halved in space; without them, in their order.
        """
        logits = [model.score_windows(bag) for model in self.models]
        order = np.stack([np.arange(len(bag)), np.zeros(len(bag))], axis=1)
        return find_shapley(
            lambda inside: self._pool(logits, inside),
            self._pool(logits, slice(0, 0)),
            order if xy is None else np.asarray(xy),
        )

    def _pool(self, logits: Sequence[np.ndarray], inside: np.ndarray | slice) -> float:
        pooled = [model.pool(one[inside]) for model, one in zip(self.models, logits, strict=True)]
        return float(np.mean(pooled))
