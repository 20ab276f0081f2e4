"""Colours of one scanner from amounts of haematoxylin and eosin: Beer-Lambert law, white point,
grain.

Amounts are uint8 in hundredths of the optical density of the pure stain (`AMOUNT_PER_OD`).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from .plan import PhantomSlide

AMOUNT_PER_OD = 100
_GRAIN_SIDE_PX = 509  # a prime, so that the grain's period never aligns with tiles or blocks
FAINT = (0.4, 0.7)
"""Least and most strength of a faint stain, as a share of the ordinary one."""
_GRAIN_TILES = 4  # repeats side by side, so that a block of up to 3 sides is one slice


@dataclass(frozen=True, kw_only=True)
class Stain:
    """Staining and scanner of one slide."""

    haematoxylin: tuple[float, float, float]
    """Optical density in red, green, blue of one unit of haematoxylin."""
    eosin: tuple[float, float, float]
    """Optical density in red, green, blue of one unit of eosin."""
    white: tuple[float, float, float]
    """Red, green, blue of empty glass, grey levels."""
    blur_px: float
    """Standard deviation of the optics' blur."""
    grain: NDArray[np.int8]
    """Sensor noise (rows, columns, 3), grey levels, repeating every _GRAIN_SIDE_PX."""

    @classmethod
    def of_slide(cls, plan: PhantomSlide) -> "Stain":
        """Stain and scanner of a slide; they vary between slides."""
        rng = plan.rng("stain")

        def vector(
            red: float, green: float, blue: float, strength: float
        ) -> tuple[float, float, float]:
            tilted = np.array([red, green, blue]) * rng.uniform(0.88, 1.12, 3)
            return tuple(tilted / np.linalg.norm(tilted) * strength)

        warmth = rng.uniform(-4, 4)
        grain = rng.normal(0, rng.uniform(1.0, 2.2), (_GRAIN_SIDE_PX, _GRAIN_SIDE_PX, 3))
        stain = cls(
            haematoxylin=vector(0.61, 0.71, 0.33, rng.uniform(0.8, 1.2)),
            eosin=vector(0.12, 0.89, 0.37, rng.uniform(0.8, 1.15)),
            white=tuple(
                np.clip(
                    rng.uniform(236, 246) + np.array([warmth, rng.uniform(-3, 1), -warmth]), 0, 252
                )
            ),
            blur_px=float(rng.uniform(0.3, 0.55)) / plan.mpp,
            grain=np.tile(np.rint(grain).astype(np.int8), (_GRAIN_TILES, _GRAIN_TILES, 1)),
        )
        return stain._fade(plan.rng("faint stain")) if plan.difficulty.is_faint else stain

    def _fade(self, rng: np.random.Generator) -> "Stain":
        """Return a paler stain of another hue."""
        haematoxylin, eosin = (
            np.array(full) * rng.uniform(*FAINT) * rng.uniform(0.8, 1.2, 3)
            for full in (self.haematoxylin, self.eosin)
        )
        return replace(self, haematoxylin=tuple(haematoxylin), eosin=tuple(eosin))

    @cached_property
    def colours(self) -> NDArray[np.uint32]:
        """Colour of every pair of amounts, at 256 × haematoxylin + eosin, as bytes red, green,
        blue, unused."""
        amount = np.arange(256) / AMOUNT_PER_OD
        density = (
            amount[:, None, None] * np.array(self.haematoxylin)
            + amount[None, :, None] * np.array(self.eosin)
        ).reshape(-1, 3)
        rgb = np.rint(np.array(self.white) * 10.0**-density).astype(np.uint8)
        return np.pad(rgb, ((0, 0), (0, 1))).view(np.uint32).ravel()

    def develop(self, amounts: NDArray[np.uint8], *, x: int, y: int) -> NDArray[np.uint8]:
        """RGB (rows, columns, 3) of amounts (rows, columns, 2); their top left is at level-0 px (x,
        y)."""
        height, width = amounts.shape[:2]
        pairs = amounts[..., 0].astype(np.intp) * 256 + amounts[..., 1]
        packed = np.take(self.colours, pairs).view(np.uint8).reshape(height, width, 4)
        rgb = np.ascontiguousarray(packed[..., :3])
        top, left = y % _GRAIN_SIDE_PX, x % _GRAIN_SIDE_PX
        grain = self.grain[top : top + height, left : left + width]
        return np.asarray(cv2.add(rgb, grain, dtype=cv2.CV_8U), np.uint8)
