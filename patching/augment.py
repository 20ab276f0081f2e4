"""Random changes of one training patch: place, orientation and colour. Pure: a patch in, a patch out."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..wsi import ORIENTATIONS, oriented
from .settings import AugmentSettings

__all__ = ["Augmentation", "centre_crop", "draw_augmentation"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One draw. `apply` gives the same pixels for the same draw."""

    shift_px: tuple[int, int]
    """(x, y) by which the crop moves from the middle."""
    orientation: int
    brightness: float
    saturation: float
    hue_turn: float
    contrast: float

    def apply(self, patch: np.ndarray, *, side_px: int) -> np.ndarray:
        """Crop, orient and colour one stored patch: (P, P, 3) uint8 with margin → (side_px, side_px, 3) uint8."""
        return self._coloured(oriented(centre_crop(patch, side_px=side_px, shift_px=self.shift_px), self.orientation))

    def _coloured(self, patch: np.ndarray) -> np.ndarray:
        # The order of TF-Slim's distort_color: brightness, saturation, hue, contrast, and only then the clip.
        colour = patch.astype(np.float32) / 255 + np.float32(self.brightness)
        hsv = cv2.cvtColor(colour, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(360 * self.hue_turn), np.float32(360))
        hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(self.saturation), 0, 1)
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        mean = np.array(cv2.mean(colour)[:3], np.float32)
        colour = (colour - mean) * np.float32(self.contrast) + mean
        return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


def draw_augmentation(rng: np.random.Generator, settings: AugmentSettings) -> Augmentation:
    """One draw of all changes, uniform in the ranges of the settings."""
    x, y = rng.integers(-settings.jitter_px, settings.jitter_px + 1, size=2)
    orientation = int(rng.integers(ORIENTATIONS)) if settings.orientations else 0
    brightness, saturation, hue, contrast = rng.uniform(-1, 1, size=4)
    return Augmentation(
        shift_px=(int(x), int(y)),
        orientation=orientation,
        brightness=float(brightness * settings.brightness),
        saturation=float(1 + saturation * settings.saturation),
        hue_turn=float(hue * settings.hue),
        contrast=float(1 + contrast * settings.contrast),
    )


def centre_crop(patch: np.ndarray, *, side_px: int, shift_px: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The middle side_px × side_px of a stored patch, moved by (x, y) px."""
    margin = (patch.shape[0] - side_px) // 2
    left, top = margin + shift_px[0], margin + shift_px[1]
    return patch[top : top + side_px, left : left + side_px]
