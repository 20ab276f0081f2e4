"""Temperature of a model: one number that divides the log-odds of its probabilities."""

import numpy as np

from .card import Temperature
from .runtimes.forward import Forward

__all__ = ["LEAST", "scale_probabilities", "with_temperature"]

LEAST = 1e-37  # of a probability whose logarithm is taken; just above the least float32


def scale_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the log-odds of probabilities (N, classes) by a temperature: (N, classes) float64.

    Above 1 they move towards equal shares, below 1 away from them; their order stays. NaN stays.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST)) / temperature
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def with_temperature(forward: Forward, temperature: Temperature | None) -> Forward:
    """Return a forward pass whose probabilities are scaled; the same one without a temperature."""
    if temperature is None:
        return forward
    value = temperature.value

    def scaled(patches: np.ndarray) -> np.ndarray:
        return scale_probabilities(forward(patches), value)

    return scaled
