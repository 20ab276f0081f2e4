"""Figures of the validation patches, from their scores."""

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from ...eval import Calibration, Ranking, calibration_curve

__all__ = ["measure_calibration", "measure_validation"]

BINS, SPECIFICITY = 10, 0.95


def measure_validation(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the figures of a history row, by name, of tumour probabilities (N,) float64 with
    labels (N,), 0 or 1 and both of them."""
    ranking = Ranking.of(scores, labels == 1)
    each_once = np.ones((1, len(scores)))
    error = measure_calibration(scores, labels).expected_error
    assert error is not None  # there are patches
    return {
        "validation_loss": float(log_loss(labels, scores, labels=[0, 1])),
        "validation_auc": float(roc_auc_score(labels, scores)),
        "validation_sensitivity_at_95": float(ranking.sensitivity_at(SPECIFICITY, each_once)[0]),
        "validation_calibration_error": error,
    }


def measure_calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """Compute the calibration of tumour probabilities (N,) with labels (N,) in ten bins of equal
    width, with 95 % intervals."""
    return calibration_curve(scores, labels == 1, bins=BINS, confidence=0.95)
