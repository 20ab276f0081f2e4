"""Calibration of a trained model: the temperature that fits its validation patches best."""

import logging

import numpy as np

from ...eval import calibration_curve
from ...models import Temperature, scale_probabilities
from ...wsi import CLASSES

__all__ = ["fit_temperature"]

logger = logging.getLogger(__name__)

LIMITS = (0.05, 20.0)
LEAST = 1e-37  # of a probability whose logarithm is taken
BINS = 10  # of the expected calibration error


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> Temperature:
    """Find the temperature with the lowest log loss (Guo et al. 2017).

    probabilities: (N, classes) without a temperature; labels: (N,), 1 is tumour.
    """
    from scipy.optimize import minimize_scalar

    tumor = CLASSES.index("tumor")
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    log_odds = np.where(labels == tumor, 1, -1) * (logs[:, tumor] - logs[:, 1 - tumor])

    def log_loss(logarithm: float) -> float:
        return float(np.logaddexp(0, -log_odds / np.exp(logarithm)).mean())

    low, high = np.log(LIMITS)
    fit = minimize_scalar(log_loss, bounds=(low, high), method="bounded")
    value = float(f"{np.exp(fit.x):.6g}")
    if not LIMITS[0] * 1.01 < value < LIMITS[1] / 1.01:
        logger.warning(
            "the temperature is %g, the limit: the validation patches are told apart perfectly or "
            "not at all; validate on more slides",
            value,
        )
    scaled = scale_probabilities(probabilities, value)
    return Temperature(
        value=value,
        patches=len(labels),
        log_loss=(round(log_loss(0.0), 6), round(log_loss(np.log(value)), 6)),
        calibration_error=(
            _calibration_error(probabilities[:, tumor], labels == tumor),
            _calibration_error(scaled[:, tumor], labels == tumor),
        ),
    )


def _calibration_error(scores: np.ndarray, is_tumor: np.ndarray) -> float:
    curve = calibration_curve(scores, is_tumor, bins=BINS, confidence=0.95)
    assert curve.expected_error is not None
    return round(curve.expected_error, 6)
