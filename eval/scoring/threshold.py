"""Comparison of probabilities with the operating point."""

from typing import Any

import numpy as np

__all__ = ["reaches"]


def reaches(probability: Any, threshold: float) -> np.ndarray:
    """Return whether probabilities of any shape are at least the threshold: bool; NaN is not.

    Both are rounded to float32, as heatmaps are stored: a cell of 0.7 reaches a threshold of 0.7,
    and so does the slide whose score it is.
    """
    return np.asarray(probability, np.float32) >= np.float32(threshold)
