"""Random changes of one training patch: place, orientation, stain, colour, sharpness. Pure: a patch
in, a patch out."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from ..wsi import ORIENTATIONS, floor_div, orient
from .settings import AugmentSettings

__all__ = ["Augmentation", "centre_crop", "draw_augmentation", "patch_rng"]

# Optical density of haematoxylin and eosin in red, green and blue (Ruifrok and Johnston 2001), and
# what is neither.
_H_AND_E = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
STAINS = np.vstack([_H_AND_E, np.cross(*_H_AND_E)])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)


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
    stain_factors: tuple[float, float] = (1.0, 1.0)
    """Factors for the amounts of haematoxylin and eosin."""
    stain_shifts: tuple[float, float] = (0.0, 0.0)
    """Optical density of each that is added."""
    blur_px: float = 0.0
    """Standard deviation."""
    jpeg_quality: int = 100
    """100: not compressed."""

    def apply(self, patch: np.ndarray, *, side_px: int, coarser: float = 1) -> np.ndarray:
        """One stored patch changed: (P, P, 3) uint8 with margin → (side_px, side_px, 3) uint8.

        As a slide comes about: place and orientation, stain, the scanner's colours, its blur, its
        JPEG. For another scale of the same patch, coarser by that factor, the same draw moves it by
        as many µm, to half a px.
        """
        shift = (round(self.shift_px[0] / coarser), round(self.shift_px[1] / coarser))
        placed = orient(centre_crop(patch, side_px=side_px, shift_px=shift), self.orientation)
        coloured = self._coloured(self._stained(placed))
        if self.blur_px:
            coloured = cv2.GaussianBlur(
                coloured, (0, 0), self.blur_px, borderType=cv2.BORDER_REFLECT_101
            )
        changed = np.rint(np.clip(coloured, 0, 1) * 255).astype(np.uint8)
        return changed if self.jpeg_quality == 100 else _compressed(changed, self.jpeg_quality)

    def _stained(self, patch: np.ndarray) -> np.ndarray:
        """Float32 in [0, 1], with other amounts of the stains."""
        if self.stain_factors == (1.0, 1.0) and self.stain_shifts == (0.0, 0.0):
            return patch.astype(np.float32) / 255
        density = cv2.LUT(np.ascontiguousarray(patch), DENSITY)
        # Unmixed, changed and mixed again: one matrix and one offset for the three densities.
        matrix = np.linalg.inv(STAINS) @ np.diag([*self.stain_factors, 1.0]) @ STAINS
        offset = np.array([*self.stain_shifts, 0.0]) @ STAINS
        changed = cv2.transform(density, np.column_stack([matrix.T, offset]).astype(np.float32))
        return np.clip(
            (np.float32(256) * np.power(np.float32(10), -changed) - 1) / np.float32(255), 0, 1
        )

    def _coloured(self, patch: np.ndarray) -> np.ndarray:
        # The order of TF-Slim's distort_color: brightness, saturation, hue, contrast, and only then
        # the clip.
        colour = patch + np.float32(self.brightness)
        hsv = cv2.cvtColor(colour, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(360 * self.hue_turn), np.float32(360))
        hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(self.saturation), 0, 1)
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        mean = np.array(cv2.mean(colour)[:3], np.float32)
        return (colour - mean) * np.float32(self.contrast) + mean


def draw_augmentation(rng: np.random.Generator, settings: AugmentSettings) -> Augmentation:
    """One draw of all changes, uniform in the ranges of the settings."""
    x, y = rng.integers(-settings.jitter_px, settings.jitter_px + 1, size=2)
    orientation = int(rng.integers(ORIENTATIONS)) if settings.orientations else 0
    brightness, saturation, hue, contrast = rng.uniform(-1, 1, size=4)
    # Last, so that what was drawn before there were these is drawn still.
    factors, shifts = rng.uniform(-1, 1, size=(2, 2))
    blur, jpeg = rng.uniform(0, 1, size=2)
    return Augmentation(
        shift_px=(int(x), int(y)),
        orientation=orientation,
        brightness=float(brightness * settings.brightness),
        saturation=float(1 + saturation * settings.saturation),
        hue_turn=float(hue * settings.hue),
        contrast=float(1 + contrast * settings.contrast),
        stain_factors=(
            float(1 + factors[0] * settings.stain),
            float(1 + factors[1] * settings.stain),
        ),
        stain_shifts=(
            float(shifts[0] * settings.stain_shift),
            float(shifts[1] * settings.stain_shift),
        ),
        blur_px=float(blur * settings.blur_px),
        jpeg_quality=100 - floor_div(jpeg * (101 - settings.jpeg_quality), 1),
    )


def patch_rng(*, seed: int, group: str, row: int, copy: int) -> np.random.Generator:
    """The generator of one copy of one patch, by its place in the store: group is slide/class.

    Draws do not depend on when, where and in which order they are made.
    """
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big"), row, copy])


def centre_crop(
    patch: np.ndarray, *, side_px: int, shift_px: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """The middle side_px × side_px of a stored patch, moved by (x, y) px."""
    margin = (patch.shape[0] - side_px) // 2
    left, top = margin + shift_px[0], margin + shift_px[1]
    return patch[top : top + side_px, left : left + side_px]


def _compressed(patch: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG and back, with colour at half resolution as scanners have it: uint8 RGB."""
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(patch, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1]
    return cv2.cvtColor(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
