"""Random changes of one training patch: place, orientation, stain, colour, sharpness. Pure: a patch
in, a patch out."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from ..wsi import ORIENTATIONS, floor_div
from .settings import AugmentSettings

__all__ = ["Augmentation", "centre_crop", "draw_augmentation", "patch_rng"]

# Optical density of haematoxylin and eosin in red, green and blue (Ruifrok and Johnston 2001), and
# what is neither.
_H_AND_E = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
STAINS = np.vstack([_H_AND_E, np.cross(*_H_AND_E)])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
LOG_LIGHT = np.log((np.arange(256) + 1) / 256).astype(np.float32)
"""Natural logarithm of the share of light that comes through, by pixel value."""
SHARES = np.arange(256, dtype=np.float32) / 255
"""Pixel values as shares of 1."""
TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


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
        placed = _orient_copy(centre_crop(patch, side_px=side_px, shift_px=shift), self.orientation)
        colour = self._stained(placed)
        self._change_colours(colour)
        if self.blur_px:
            colour = cv2.GaussianBlur(
                colour, (0, 0), self.blur_px, borderType=cv2.BORDER_REFLECT_101
            )
        np.clip(colour, 0, 1, out=colour)
        changed = cv2.convertScaleAbs(colour, alpha=255)  # rounds as `np.rint`
        return changed if self.jpeg_quality == 100 else _compressed(changed, self.jpeg_quality)

    def _stained(self, patch: np.ndarray) -> np.ndarray:
        """Float32 in [0, 1], a copy, with other amounts of the stains."""
        if self.stain_factors == (1.0, 1.0) and self.stain_shifts == (0.0, 0.0):
            return cv2.LUT(patch, SHARES)
        # Unmixed, changed and mixed again: one matrix and one offset for the three logarithms. The
        # offset also scales 256 to 255.
        matrix = np.linalg.inv(STAINS) @ np.diag([*self.stain_factors, 1.0]) @ STAINS
        offset = np.log(256 / 255) - np.log(10) * np.array([*self.stain_shifts, 0.0]) @ STAINS
        light = cv2.transform(
            cv2.LUT(patch, LOG_LIGHT), np.column_stack([matrix.T, offset]).astype(np.float32)
        )
        cv2.exp(light, light)
        light -= np.float32(1 / 255)
        return np.clip(light, 0, 1, out=light)

    def _change_colours(self, colour: np.ndarray) -> None:
        """Change (P, P, 3) float32 in place, plane by plane, for NumPy is slow along an axis of
        three.

        The order is that of TF-Slim's distort_color: brightness, saturation, hue, contrast, and
        only then the clip.
        """
        colour += np.float32(self.brightness)
        hsv = cv2.cvtColor(colour, cv2.COLOR_RGB2HSV)
        hue, saturation, value = cv2.split(hsv)
        hue += np.float32(360 * self.hue_turn)
        np.subtract(hue, np.float32(360), out=hue, where=hue >= 360)
        np.add(hue, np.float32(360), out=hue, where=hue < 0)
        saturation *= np.float32(self.saturation)
        np.clip(saturation, 0, 1, out=saturation)
        cv2.cvtColor(cv2.merge((hue, saturation, value), hsv), cv2.COLOR_HSV2RGB, colour)
        rows = colour.reshape(len(colour), -1)
        mean = np.tile(np.array(cv2.mean(colour)[:3], np.float32), colour.shape[1])
        rows -= mean
        rows *= np.float32(self.contrast)
        rows += mean


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


def _orient_copy(patch: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a patch as `orient` does, with its pixels in order in memory."""
    flipped = cv2.flip(patch, 1) if orientation >= 4 else patch
    turn = TURNS[orientation % 4]
    return np.ascontiguousarray(flipped) if turn is None else cv2.rotate(flipped, turn)


def _compressed(patch: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG and back, with colour at half resolution as scanners have it: uint8 RGB."""
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(patch, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1]
    return cv2.cvtColor(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
