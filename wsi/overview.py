"""A whole slide as one small image."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import UnreadableRegionError
from .geometry import ceil_div, floor_div
from .resample import resized

if TYPE_CHECKING:
    from .slide import Slide

__all__ = ["Overview", "overview_of"]

logger = logging.getLogger(__name__)

LOST_PX = 64  # level px: how closely it closes in on damage
STRIP_PX = 2**24  # pixels a strip may hold: 64 MB as RGBA


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A whole slide, small: RGB uint8 (rows, columns, 3); a pixel averages a square of `scale_level0` level-0 px."""

    image: np.ndarray
    scale_level0: float
    unreadable: np.ndarray
    """(rows, columns) bool: pixels, shown as background, whose part of the file could not be decoded."""


def overview_of(slide: "Slide", mpp: float) -> Overview:
    """The whole slide at about mpp µm/px or a little finer, area-averaged, read in strips of bounded memory."""
    info = slide.info
    wanted = max(1.0, mpp / info.mpp)
    level = max(i for i, d in enumerate(info.level_downsamples) if d <= wanted * 1.001)
    factor = max(1, floor_div(wanted * 1.001, info.level_downsamples[level]))
    width, height = info.level_sizes[level]
    columns = ceil_div(width, factor)
    strip_rows = max(1, floor_div(STRIP_PX, columns * factor * factor))
    strips, lost = [], []
    for row in range(0, ceil_div(height, factor), strip_rows):
        rows = min(strip_rows, ceil_div(height, factor) - row)
        strip = np.full((rows * factor, columns * factor, 3), info.background, np.uint8)
        damage = np.zeros(strip.shape[:2], np.uint8)
        _read_what_can_be_read(slide, level, strip, damage, x=0, y=row * factor)
        strips.append(resized(strip, (columns, rows)))
        lost.append(damage.reshape(rows, factor, columns, factor).any(axis=(1, 3)))
    return Overview(
        image=np.concatenate(strips),
        scale_level0=factor * info.level_downsamples[level],
        unreadable=np.concatenate(lost),
    )


def _read_what_can_be_read(
    slide: "Slide", level: int, image: np.ndarray, damage: np.ndarray, *, x: int, y: int
) -> None:
    """Fill image from (x, y) on, level px; halve what cannot be decoded down to LOST_PX, then mark it in damage."""
    height, width = damage.shape
    try:
        image[:] = slide.read_level(level, x=x, y=y, width=width, height=height)
    except UnreadableRegionError as error:
        if max(width, height) <= LOST_PX:
            logger.warning("%s", error)
            damage[:] = 1
        elif width >= height:
            half = width // 2
            _read_what_can_be_read(slide, level, image[:, :half], damage[:, :half], x=x, y=y)
            _read_what_can_be_read(slide, level, image[:, half:], damage[:, half:], x=x + half, y=y)
        else:
            half = height // 2
            _read_what_can_be_read(slide, level, image[:half], damage[:half], x=x, y=y)
            _read_what_can_be_read(slide, level, image[half:], damage[half:], x=x, y=y + half)
