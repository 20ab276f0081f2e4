"""Encoders without a network, for `--encoder study_encoders:colours`."""

import numpy as np


def colours(patches: np.ndarray) -> np.ndarray:
    """Mean and deviation of each colour: (N, 6)."""
    values = patches.astype(np.float32) / 255
    return np.concatenate([values.mean(axis=(1, 2)), values.std(axis=(1, 2))], axis=1)


def first_pixel(patches: np.ndarray) -> np.ndarray:
    """Colour of one pixel: (N, 3)."""
    return patches[:, 0, 0].astype(np.float32) / 255
