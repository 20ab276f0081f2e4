"""The eight orientations of a square patch: four rotations, each plain and mirrored."""

import numpy as np

__all__ = ["ORIENTATIONS", "orient"]

ORIENTATIONS = 8


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (..., rows, columns, channels) to orientation 0 to 7: mirrored from 4 on, then rotated
    orientation % 4 times."""
    flipped = image[..., ::-1, :] if orientation >= 4 else image
    return np.rot90(flipped, orientation % 4, axes=(-3, -2))
