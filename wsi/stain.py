"""The colours of an overview: what is stained, what is glass, what is pen.

Everything is told in optical density over the slide's own glass: a stain's three densities rise
together with its amount, so their ratios are its colour, while shadow, dust and bubbles dim the
three alike.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import ceil_div

__all__ = ["OpticalDensity", "glass_colour"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SAMPLE_VALUES = 3_000_000  # so many values, evenly spread, tell the colour of glass
GLASS_LEVEL = 191  # glass is at least this bright, 0 to 255
# glass may be tinted, but absorbs green no more than this above red and blue: that is pale tissue
GLASS_PINK = 0.02
GLASS_SHARE = 0.005  # of the image; with less, it is a field cut out of tissue
PADDING_SHARE = (
    0.05  # of the image: with so much other glass, pure white is what stitching left empty
)

# standard deviation of the blur: half a pixel of JPEG and sensor noise goes, thin tissue stays
NOISE_PX = 0.7
# above what glass, dust, bubbles and padding reach on real slides (0.004), below faint mucus
# (0.023)
CHROMA = 0.02
SATURATION = 0.25  # stains have 0.4 and more, even mixed; black ink, hair and shadow under 0.15
# a pixel with less than this of a neighbour's chroma is glass that the neighbour's edge bled into
EDGE = 0.35
DARKEST = 1.0  # no stain is so dark at µm per pixel; borders and fluorescence are

# blue, green: red absorbed above green, of the density; of 4.5 million dense pixels of real tissue
# 21 have it
COLD_INK = 0.15
COLD_RIM = 0.0  # the same at the thin rim of a stroke, where it mixes with tissue
RED_INK = (
    0.3,
    0.3,
)  # red absorbed less than this, green above blue by less than that, of the density
INK_DENSITY = 0.2  # of a stroke; paler, a hue is too uncertain to cut by
RIM_DENSITY = 0.04  # of its rim


def glass_colour(image: np.ndarray) -> np.ndarray:
    """Colour of empty glass in an RGB uint8 (rows, columns, 3) image: (3,) float64; white where
    none is seen.

    The brightest tenth is left out; so is pure white, as padding, where there is bright glass of
    another colour.
    """
    step = ceil_div((image.size / SAMPLE_VALUES) ** 0.5, 1)
    image = np.ascontiguousarray(image[::step, ::step])
    red, green, blue = cv2.split(
        cv2.LUT(image, -np.log10((np.arange(256, dtype=np.float32) + 1) / 256))
    )
    is_glass = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) >= GLASS_LEVEL
    is_glass &= green - (red + blue) / 2 <= GLASS_PINK
    if np.count_nonzero(is_glass) < GLASS_SHARE * is_glass.size:
        return np.full(3, 255.0)
    unpadded = is_glass & (image.min(axis=2) < 255)
    if np.count_nonzero(unpadded) >= PADDING_SHARE * is_glass.size:
        is_glass = unpadded
    counts = [
        np.bincount(channel[is_glass], minlength=256).cumsum() for channel in cv2.split(image)
    ]
    return np.array([np.searchsorted(count, 0.9 * count[-1]) for count in counts], np.float64)


@dataclass(frozen=True, kw_only=True)
class OpticalDensity:
    """Optical density over glass, -log10 of the light let through: three float32 (rows, columns),
    at least 0."""

    red: Floats
    green: Floats
    blue: Floats

    @classmethod
    def of(cls, image: np.ndarray, glass: np.ndarray) -> "OpticalDensity":
        """Of an RGB uint8 (rows, columns, 3) image, over glass of this colour (3,); lightly blurred
        against noise."""
        levels = np.arange(256)[:, None] + 1
        table = np.maximum(0, -np.log10(levels / (glass + 1))).astype(np.float32)
        blurred = cv2.GaussianBlur(cv2.LUT(image, table[None]), (0, 0), NOISE_PX)
        red, green, blue = (np.asarray(channel, np.float32) for channel in cv2.split(blurred))
        return cls(red=red, green=green, blue=blue)

    @cached_property
    def mean(self) -> Floats:
        return (self.red + self.green + self.blue) / np.float32(3)

    @cached_property
    def chroma(self) -> Floats:
        """How far the three are apart: 0 for grey of any darkness."""
        largest = np.maximum(np.maximum(self.red, self.green), self.blue)
        return largest - np.minimum(np.minimum(self.red, self.green), self.blue)

    @property
    def is_coloured(self) -> Mask:
        """Coloured for its darkness, as stains are: not glass, shadow, dust, hair, black ink or a
        black border."""
        nearby = cv2.dilate(self.chroma, np.ones((3, 3), np.uint8))
        least = np.maximum(np.float32(CHROMA), np.maximum(EDGE * nearby, SATURATION * self.mean))
        return (self.chroma > least) & (self.mean < DARKEST)

    @property
    def is_ink(self) -> Mask:
        """Hue of a blue, green or red pen: haematoxylin and eosin both absorb green most."""
        return self._inked(cold=COLD_INK) & (self.mean > INK_DENSITY)

    @property
    def may_be_ink(self) -> Mask:
        """Hue that pale ink shares with a little tissue: ink where it touches `is_ink`."""
        return self._inked(cold=COLD_RIM) & (self.mean > RIM_DENSITY)

    def _inked(self, *, cold: float) -> Mask:
        is_cold = self.red - self.green > cold * self.mean
        least_red, least_blue = RED_INK
        return is_cold | (self.red < least_red * self.mean) & (
            self.green - self.blue < least_blue * self.mean
        )
