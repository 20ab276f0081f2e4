"""Patches on which a runtime is compared with Keras: always the same."""

from functools import lru_cache

import numpy as np

from ...wsi import InputSpec
from ..check.pictures import draw_tissue_windows

__all__ = ["draw_probes", "draw_tile"]

DRAWN, NOISE = 4, 2
MPP = 0.5  # of drawn tissue; networks take any


def draw_probes(shape: tuple[int, ...]) -> np.ndarray:
    """Draw tissue, and noise, dark and bright, for a network that takes patches of that shape
    (scales, P, P, 3): (N, scales, P, P, 3) uint8 RGB."""
    noise = np.random.default_rng(0).integers(0, 256, (NOISE, *shape), dtype=np.uint8)
    noise[0] //= 2
    return np.concatenate([_draw(shape, DRAWN), noise])


@lru_cache(maxsize=4)
def _draw(shape: tuple[int, ...], count: int) -> np.ndarray:
    scales, side = shape[0], shape[1]
    mpps = tuple(MPP * 2.0**number for number in range(scales))
    return draw_tissue_windows(InputSpec(patch_px=side, centre_px=side, mpps=mpps), count)


def draw_tile(side: int) -> np.ndarray:
    """Draw tissue on the left, and noise on the right, for a dense network: (1, side, side, 3)
    uint8 RGB."""
    tile = _draw((1, side, side, 3), 1)[0].copy()
    right = side // 2
    tile[:, :, right:] = np.random.default_rng(0).integers(0, 256, tile[:, :, right:].shape)
    return tile
