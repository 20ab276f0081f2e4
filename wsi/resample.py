"""Images at another size. Arrays in, arrays out."""

from collections.abc import Iterable

import cv2
import numpy as np

__all__ = ["mean_of_strips", "resized"]


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To size (width, height): area average when it shrinks, linear when it grows."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = size[0] <= width and size[1] <= height
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def mean_of_strips(strips: Iterable[np.ndarray], *, height: int, size: tuple[int, int]) -> np.ndarray:
    """What `resized` makes of an image that shrinks, given as strips of whole rows from the top: uint8 RGB.

    height is the rows of all strips together, size the (width, height) of the result.
    """
    edges = np.linspace(0, height, size[1] + 1)
    mean = np.zeros((size[1], size[0], 3), np.float32)
    top = 0
    for strip in strips:
        rows = np.arange(top, top + len(strip))
        narrow = cv2.resize(strip.astype(np.float32), (size[0], len(strip)), interpolation=cv2.INTER_AREA)
        # How much of each row of the strip falls on each row of the result.
        overlap = np.minimum(edges[1:, None], rows + 1) - np.maximum(edges[:-1, None], rows)
        share = (np.clip(overlap, 0, None) * size[1] / height).astype(np.float32)
        mean += np.tensordot(share, narrow, axes=1)
        top += len(strip)
    return np.clip(np.rint(mean), 0, 255).astype(np.uint8)
