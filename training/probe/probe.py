"""A probe: a linear classifier on the features of a network that is left as it is.

Examples are drawn as in any training, by the seed, but each patch is taken as it is stored: its
features are computed once, and a patch that was drawn twice counts twice. The classifier is
scikit-learn's logistic regression. It takes minutes, and every longer training should beat it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from ...storage import ModelError
from ..report.input_monitor import InputMonitor, Pace
from ..sampler import Place, Sampler
from .features import FeatureCache

__all__ = ["Probe"]

logger = logging.getLogger(__name__)

ITERATIONS = 500
PART = 256
"""Patches whose features are written at once. A process that ends early loses no more."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples of a classifier."""

    features: np.ndarray
    """(N, F) float32."""
    labels: np.ndarray
    """(N,) int64: 0 normal, 1 tumour."""
    counts: np.ndarray
    """(N,) how often each was drawn."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Fits the classifier of a network, and leaves the rest of it alone."""

    network: keras.Model
    sampler: Sampler
    cache: FeatureCache
    monitor: InputMonitor
    penalty: float
    """See `TrainSettings.penalty`."""

    def fit(self, steps: int, on_step: Callable[[int], None]) -> dict[str, float]:
        """Fill the classifier from the examples of `steps` batches.

        Return what a history holds of it: loss, accuracy and AUC of the training examples. on_step
        receives the number of batches, in proportion to the features that are there.

        Raises:
            ModelError: features that are not numbers, or a network whose last layer is no linear
                classifier of two classes.
        """
        self._check_classifier()
        counts, labels = Counter[Place](), dict[Place, int]()
        for number in range(steps):
            places, of_batch = self.sampler.draw_places(number)
            counts.update(places)
            labels |= dict(zip(places, of_batch.tolist(), strict=True))
        self.monitor.batch = self.sampler.draw(0)
        self.cache.begin()
        examples = Examples(
            features=self._compute(list(counts), lambda share: on_step(int(share * steps))),
            labels=np.array(list(labels.values())),
            counts=np.array(list(counts.values())),
        )
        return _fit(self.network.layers[-1], examples, self.penalty)

    def _check_classifier(self) -> None:
        last: Any = self.network.layers[-1]
        shapes = [weights.shape for weights in last.get_weights()]
        if not isinstance(last, keras.layers.Dense) or shapes[1:] != [(2,)]:
            raise ModelError(
                "a probe fits the last layer of the network, which must be Dense with a bias and "
                f"two outputs, and is {type(last).__name__}; change the network, or use --recipe "
                "modern"
            )

    def _compute(self, places: Sequence[Place], report: Callable[[float], None]) -> np.ndarray:
        """Return the features of places, (N, F) float32. Those that are not kept yet are computed
        and kept. report receives the share of them that is there."""
        found = self.cache.find(places)
        missing = [place for place in places if place not in found]
        logger.info("features: %d patches kept, %d to compute", len(found), len(missing))
        total, started = len(found) + len(missing), time.perf_counter()
        for start in range(0, len(missing), PART):
            part, features = missing[start : start + PART], []
            for first in range(0, len(part), self.sampler.batch_size):
                batch = part[first : first + self.sampler.batch_size]
                features.append(self._extract(self.sampler.read(batch)))
                report((len(found) + first) / total)
            of_part = np.concatenate(features)
            self.cache.add(part, of_part)
            found |= dict(zip(part, of_part, strict=True))
        report(1.0)
        if missing:
            seconds = time.perf_counter() - started
            self.monitor.pace = Pace.of(patches=len(missing), seconds=seconds, waiting_s=None)
        return np.stack([found[place] for place in places])

    def _extract(self, patches: np.ndarray) -> np.ndarray:
        """Compute the features (N, F) float32 of up to a batch of patches."""
        # Batches of one size, so that the network is compiled once.
        spare = np.zeros((self.sampler.batch_size - len(patches), *patches.shape[1:]), np.uint8)
        predict: Any = self._to_features.predict_on_batch
        features = np.asarray(predict(np.concatenate([patches, spare])), np.float32)[: len(patches)]
        if not np.isfinite(features).all():
            raise ModelError("the features are not numbers; give other initial weights")
        return features

    @cached_property
    def _to_features(self) -> keras.Model:
        classifier: Any = self.network.layers[-1]
        return keras.Model(self.network.input, classifier.input)


def _fit(classifier: Any, examples: Examples, penalty: float) -> dict[str, float]:
    """Fill a classifier with the logistic regression on standardised features; return its figures
    over the examples."""
    labels, counts = examples.labels, examples.counts
    scaler: Any = StandardScaler().fit(examples.features, sample_weight=counts)
    scaled = scaler.transform(examples.features)
    # scikit-learn weighs the sum of the losses instead of the penalty.
    regression = LogisticRegression(C=1 / (penalty * counts.sum()), max_iter=ITERATIONS)
    fit = regression.fit(scaled, labels, sample_weight=counts)
    weights = fit.coef_[0] / scaler.scale_
    bias = float(fit.intercept_[0] - weights @ scaler.mean_)
    classifier.set_weights(
        [np.stack([-weights / 2, weights / 2], axis=1), np.array([-bias / 2, bias / 2])]
    )
    scores = fit.predict_proba(scaled)[:, 1]
    return {
        "loss": float(log_loss(labels, scores, sample_weight=counts)),
        "accuracy": float(np.average((scores > 0.5) == labels, weights=counts)),
        "auc": float(roc_auc_score(labels, scores, sample_weight=counts)),
    }
