"""A probe: a linear classifier on the features of a network that is left as it is.

Each example is seen once, and its features stay in memory; the classifier is scikit-learn's
logistic regression. It takes minutes, and every longer training should beat it.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from ..models import score_in_batches
from ..storage import ModelError
from .input_monitor import InputMonitor, Pace
from .sampler import Batch, Sampler

__all__ = ["fit_probe"]

logger = logging.getLogger(__name__)

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Inverse regularisation tried; validation chooses."""
ITERATIONS = 300


def fit_probe(
    network: keras.Model,
    sampler: Sampler,
    validation: Batch,
    *,
    steps: int,
    on_step: Callable[[int], None],
    monitor: InputMonitor,
) -> dict[str, float]:
    """Fill the classifier of a network from the features of `steps` batches.

    Return what a history holds of it: loss, accuracy and AUC of the training examples. on_step
    receives the number of batches seen; monitor the last batch, the speed and the waiting.

    Raises:
        ModelError: features that are not numbers.
    """
    classifier: Any = network.layers[-1]
    to_features = keras.Model(network.input, classifier.input)
    features, labels = [], []
    started, waiting_s = time.perf_counter(), 0.0
    for number in range(steps):
        asked = time.perf_counter()
        batch = monitor.batch = sampler.draw(number)
        waiting_s += time.perf_counter() - asked
        features.append(np.asarray(to_features.predict_on_batch(batch.patches)))
        labels.append(batch.labels)
        on_step(number + 1)
    monitor.pace = Pace.of(
        patches=steps * sampler.batch_size,
        seconds=time.perf_counter() - started,
        waiting_s=waiting_s,
    )
    if not all(np.isfinite(part).all() for part in features):
        raise ModelError("the features are not numbers; give other initial weights")
    predict: Any = to_features.predict_on_batch
    checked = score_in_batches(predict, validation.patches, sampler.batch_size)
    return _fit(
        classifier,
        np.concatenate(features),
        np.concatenate(labels),
        checked=checked,
        checked_labels=validation.labels,
    )


def _fit(
    classifier: Any,
    features: np.ndarray,
    labels: np.ndarray,
    *,
    checked: np.ndarray,
    checked_labels: np.ndarray,
) -> dict[str, float]:
    scaler: Any = StandardScaler().fit(features)
    scaled, checked = scaler.transform(features), np.asarray(scaler.transform(checked))
    fits = []
    for strength in STRENGTHS:
        fit = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(scaled, labels)
        auc = float(roc_auc_score(checked_labels, fit.decision_function(checked)))
        logger.info("C %g: validation AUC %.4f", strength, auc)
        fits.append((round(auc, 4), -strength, fit))
    *_, best = max(fits, key=lambda found: found[:2])
    weights = best.coef_[0] / scaler.scale_
    bias = float(best.intercept_[0] - weights @ scaler.mean_)
    classifier.set_weights(
        [np.stack([-weights / 2, weights / 2], axis=1), np.array([-bias / 2, bias / 2])]
    )
    scores = best.predict_proba(scaled)[:, 1]
    return {
        "loss": float(log_loss(labels, scores)),
        "accuracy": float(((scores > 0.5) == labels).mean()),
        "auc": float(roc_auc_score(labels, scores)),
    }
