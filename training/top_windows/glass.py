"""Empty glass for a training from slide labels, which reads only windows with tissue."""

import numpy as np

from ...wsi import StainFit

__all__ = ["draw_glass"]

DARKEST, BRIGHTEST = 225.0, 254.0  # grey levels of a scanner's background
TINT, GRAIN = 2.5, 1.5  # standard deviations of the colour and of the noise, grey levels


def draw_glass(rng: np.random.Generator, *, side_px: int, stain: StainFit | None) -> np.ndarray:
    """Draw a window of empty glass in a scanner's tint, normalised as windows of a slide with this
    stain are: (1, P, P, 3) uint8 RGB."""
    colour = rng.uniform(DARKEST, BRIGHTEST) + rng.normal(0, TINT, 3)
    pixels = colour + rng.normal(0, GRAIN, (1, side_px, side_px, 3))
    window = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return window if stain is None else stain.apply(window)
