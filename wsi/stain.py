"""Colours of an overview: stain, glass and pen.

All rules use optical density relative to the slide's own glass. The three densities of a stain rise
together with its amount, so their ratios are its hue; shadow, dust and bubbles dim all three alike.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import ceil_div

__all__ = ["OpticalDensity", "find_glass_colour"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SAMPLE_VALUES = 3_000_000  # number of values, evenly spread, that determine the colour of glass
GLASS_LEVEL = 191  # minimum brightness of glass, 0 to 255
# Glass may be tinted, but pale tissue absorbs green more than this above red and blue.
GLASS_PINK = 0.02
GLASS_SHARE = 0.005  # of the image; an image with less glass is a field cut out of tissue
# With this share of other glass, pure white is padding left by stitching.
PADDING_SHARE = 0.05

# Standard deviation of the blur: removes JPEG and sensor noise, keeps thin tissue.
NOISE_PX = 0.7
# Glass, dust, bubbles and padding reach 0.004 on real slides; faint mucus has 0.023.
CHROMA = 0.02
SATURATION = 0.25  # mixed stains have 0.4 and more; black ink, hair and shadow have under 0.15
# A pixel with less than this share of a neighbour's chroma is glass blurred by that neighbour.
EDGE = 0.35
DARKEST = 1.0  # stains are paler at some µm per pixel; borders and fluorescence are darker

# Blue and green pens absorb red above green by this share of the density. Of 4.5 million dense
# pixels of real tissue 21 do.
COLD_INK = 0.15
COLD_RIM = 0.0  # at the thin rim of a stroke, where ink mixes with tissue
# Red pens absorb red less than the first, and green above blue by less than the second share.
RED_INK = (0.3, 0.3)
INK_DENSITY = 0.2  # of a stroke; below this a hue is too uncertain
RIM_DENSITY = 0.04  # of its rim


def find_glass_colour(image: np.ndarray) -> np.ndarray:
    """Colour of empty glass in an RGB uint8 (rows, columns, 3) image: (3,) float64; white if there
    is none.

    The brightest tenth is ignored. Pure white is ignored as padding if there is bright glass of
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
    """Optical density relative to glass, -log10 of transmission: three float32 (rows, columns), at
    least 0."""

    red: Floats
    green: Floats
    blue: Floats

    @classmethod
    def from_image(cls, image: np.ndarray, glass: np.ndarray) -> "OpticalDensity":
        """Convert an RGB uint8 (rows, columns, 3) image over glass of colour (3,), lightly blurred
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
        """Largest difference of the three densities: 0 for grey of any darkness."""
        largest = np.maximum(np.maximum(self.red, self.green), self.blue)
        return largest - np.minimum(np.minimum(self.red, self.green), self.blue)

    @property
    def is_coloured(self) -> Mask:
        """Coloured relative to its darkness, as stains are; not glass, shadow, dust, hair, black
        ink or a black border."""
        nearby = cv2.dilate(self.chroma, np.ones((3, 3), np.uint8))
        least = np.maximum(np.float32(CHROMA), np.maximum(EDGE * nearby, SATURATION * self.mean))
        return (self.chroma > least) & (self.mean < DARKEST)

    @property
    def is_ink(self) -> Mask:
        """Hue of a blue, green or red pen; haematoxylin and eosin both absorb green most."""
        return self._has_ink_hue(cold=COLD_INK) & (self.mean > INK_DENSITY)

    @property
    def may_be_ink(self) -> Mask:
        """Hue that pale ink shares with a little tissue; it is ink where it touches `is_ink`."""
        return self._has_ink_hue(cold=COLD_RIM) & (self.mean > RIM_DENSITY)

    def _has_ink_hue(self, *, cold: float) -> Mask:
        is_cold = self.red - self.green > cold * self.mean
        least_red, least_blue = RED_INK
        return is_cold | (self.red < least_red * self.mean) & (
            self.green - self.blue < least_blue * self.mean
        )
