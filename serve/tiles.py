"""Tiles of a slide for a viewer: a grid of squares at resolutions of powers of two, as JPEG.

Resolutions are level-0 px per tile px, the coarsest first; z is an index into them. Tile (x, y) of
z begins at level-0 (x, y) × tile_px × resolution.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import simplejpeg

from ..storage import UnreadableRegionError
from ..wsi import Region, Slide, ceil_div

__all__ = ["TILE_PX", "TileGrid", "encode_jpeg", "read_thumbnail", "read_tile"]

TILE_PX = 256
SMALLEST_PART_PX = 16  # of a tile with unreadable pixels
HATCH_PX = 8
HATCH_RGB, HATCH_LINE_RGB = (245, 245, 245), (60, 60, 60)
QUALITY = 85
MOST_SHRUNK = 4  # px of a level per px of a tile, along a side
WHOLE = 1e-3


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """Grid of a slide's tiles."""

    width: int
    """Of the slide, level-0 px, as height."""
    height: int
    tile_px: int = TILE_PX

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Level-0 px per tile px, the coarsest first; the coarsest shows the slide in one tile."""
        longest, found = max(self.width, self.height), [1]
        while found[-1] * self.tile_px < longest:
            found.append(found[-1] * 2)
        return tuple(reversed(found))

    def region(self, z: int, x: int, y: int) -> Region | None:
        """Level-0 square of a tile; None if the grid has no such tile."""
        if not 0 <= z < len(self.resolutions):
            return None
        side = self.tile_px * self.resolutions[z]
        columns, rows = ceil_div(self.width, side), ceil_div(self.height, side)
        if not (0 <= x < columns and 0 <= y < rows):
            return None
        return Region(x=x * side, y=y * side, width=side, height=side)


def read_tile(slide: Slide, region: Region, resolution: int) -> tuple[np.ndarray, str]:
    """Read a square of the slide: (rows, columns, 3) uint8 RGB, and why parts are hatched; empty
    where every pixel could be decoded.

    Parts outside the slide show its background.
    """
    side = region.width // resolution
    try:
        pixels = slide.read_region(region, mpp=slide.info.mpp * _read_at(slide, resolution))
    except UnreadableRegionError as error:
        return _read_in_parts(slide, region, resolution, side), str(error)
    if pixels.shape[:2] != (side, side):  # a level whose px are not quite that large
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels), ""


def _read_at(slide: Slide, resolution: int) -> float:
    """Return the level-0 px per px to read a tile at: those of a level a few whole times finer,
    because to shrink whole blocks of px is several times quicker than the reader's exact mean."""
    level = slide.scale(slide.info.mpp * resolution).level_downsample
    ratio = resolution / level
    is_whole = abs(ratio - round(ratio)) < WHOLE
    return level if is_whole and 2 <= round(ratio) <= MOST_SHRUNK else resolution


def _read_in_parts(slide: Slide, region: Region, resolution: int, side: int) -> np.ndarray:
    """Hatch the parts that cannot be decoded, and read the others."""
    pixels = np.empty((side, side, 3), np.uint8)
    rows, columns = np.mgrid[:side, :side]
    stripes = (rows + columns) % HATCH_PX < 2
    pixels[:] = np.where(stripes[..., None], HATCH_LINE_RGB, HATCH_RGB)
    half = side // 2
    if half < SMALLEST_PART_PX:
        return pixels
    for top in (0, half):
        for left in (0, half):
            part = Region(
                x=region.x + left * resolution,
                y=region.y + top * resolution,
                width=half * resolution,
                height=half * resolution,
            )
            pixels[top : top + half, left : left + half] = read_tile(slide, part, resolution)[0]
    return pixels


def read_thumbnail(slide: Slide, *, longest_px: int) -> np.ndarray:
    """Read the whole slide in a picture of at most longest_px: (rows, columns, 3) uint8 RGB."""
    info = slide.info
    overview = slide.overview(info.mpp * max(info.width, info.height) / longest_px)
    image = overview.image.copy()
    rows, columns = np.indices(overview.unreadable.shape)
    stripes = (rows + columns) % HATCH_PX < 2
    image[overview.unreadable] = HATCH_RGB
    image[overview.unreadable & stripes] = HATCH_LINE_RGB
    factor = min(1.0, longest_px / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def encode_jpeg(pixels: np.ndarray, *, full_colour: bool = False) -> bytes:
    """Encode RGB as JPEG; full_colour: colours at the full resolution too."""
    return simplejpeg.encode_jpeg(
        pixels,
        quality=QUALITY,
        colorspace="RGB",
        colorsubsampling="444" if full_colour else "420",
    )
