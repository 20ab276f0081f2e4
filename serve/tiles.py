"""Tiles of a slide for a viewer: a grid of squares at resolutions of powers of two, as JPEG.

Resolutions are level-0 px per tile px, the coarsest first; z is an index into them. Tile (x, y) of
z begins at level-0 (x, y) × tile_px × resolution.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import simplejpeg

from ..storage import UnreadableRegionError
from ..wsi import Region, Slide, ceil_div

__all__ = ["TileGrid", "encode_jpeg", "read_jpeg_tile", "read_thumbnail", "read_tile"]

TILE_PX = 256
LIKED_TILE_PX = range(192, 513, 16)  # a side has 16 px as a factor, so that a tile can be halved
MOST_STORED_BYTES = 0.6  # of a stored JPEG, per px; links are slow
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

    @classmethod
    def of_slide(cls, slide: Slide) -> "TileGrid":
        """Return the grid for a slide, with the file's own tiles where their size is usual."""
        across, down = slide.info.level_tiles[0]
        is_liked = across == down and across in LIKED_TILE_PX
        tile_px = across if is_liked else TILE_PX
        return cls(width=slide.info.width, height=slide.info.height, tile_px=tile_px)

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


def read_jpeg_tile(slide: Slide, region: Region, resolution: int) -> tuple[bytes, str]:
    """Read a square of the slide as JPEG, and why parts are hatched.

    What the file stores as one JPEG of a usual size is passed on as it is, which costs no quality
    and a fraction of the time. Halfway between two levels of the file, its JPEGs are halved while
    they are decoded, which differs from the mean of 2 × 2 px by less than JPEG itself does.
    """
    stored = slide.stored_jpeg(region, mpp=slide.info.mpp * resolution)
    if stored is not None and _can_be_shown(stored, region.width // resolution):
        return stored, ""
    pixels, lost = _read_halved(slide, region, resolution), ""
    if pixels is None:
        pixels, lost = read_tile(slide, region, resolution)
    return encode_jpeg(pixels, full_colour=resolution == 1), lost


def _can_be_shown(stored: bytes, side: int) -> bool:
    """Tell whether a stored JPEG is undamaged and not too large for a link. It is decoded at an
    eighth of its size, in grey, which reads every bit all the same, and takes half of the time."""
    is_light = len(stored) <= MOST_STORED_BYTES * side * side
    return is_light and _decode(stored, side, shrink=8, colours="GRAY") is not None


def _decode(
    stored: bytes, side: int, *, shrink: int, colours: Literal["RGB", "GRAY"] = "RGB"
) -> np.ndarray | None:
    """Decode a stored JPEG at a fraction of its size; None if it is damaged or of another size."""
    least = side // shrink
    try:
        if simplejpeg.decode_jpeg_header(stored)[:2] != (side, side):
            return None
        return simplejpeg.decode_jpeg(
            stored, colours, min_height=least, min_width=least, min_factor=shrink, strict=True
        )
    except ValueError:
        return None


def _read_halved(slide: Slide, region: Region, resolution: int) -> np.ndarray | None:
    """Read a square from the four JPEGs of the next finer level; None unless the file has them."""
    level = slide.scale(slide.info.mpp * resolution).level_downsample
    if abs(resolution / level - 2) > WHOLE:
        return None
    side, half, mpp = region.width // resolution, region.width // 2, slide.info.mpp * resolution
    pixels = np.empty((side, side, 3), np.uint8)
    for down in (0, 1):
        for across in (0, 1):
            x, y = region.x + across * half, region.y + down * half
            quarter = Region(x=x, y=y, width=half, height=half)
            stored = slide.stored_jpeg(quarter, mpp=mpp / 2)
            part = None if stored is None else _decode(stored, side, shrink=2)
            if part is None:
                return None
            top, left = down * side // 2, across * side // 2
            pixels[top : top + side // 2, left : left + side // 2] = part
    return pixels


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
