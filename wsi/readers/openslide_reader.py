"""Slides through OpenSlide: the reference for formats, levels, µm/px and bounds, and the reader for
all formats that no native reader decodes."""

import logging
import threading
from collections.abc import Container, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide

from ...storage import SlideError, UnreadableRegionError
from ..geometry import Region
from .pyramid import Pyramid, PyramidLevel, shows_whole
from .units import parse_number

__all__ = ["OpenSlideReader", "onto_background"]

logger = logging.getLogger(__name__)

TILE_PX = 512  # level px, for files whose own tiles make no useful grid
USEFUL_TILE_PX = (128, 1024)
LARGEST_TILE_PX = 2**28  # 1 GB in OpenSlide's memory; some NDPI levels are a single tile


class OpenSlideReader:
    """Reads every tile of a fixed grid by itself.

    At positions that are no whole level-0 px OpenSlide blends neighbouring px, by weights that
    depend on where the read starts. With a fixed grid every window gets the same pixels.
    """

    name = "OpenSlide"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = _open_handle(path)
        self._alone = threading.Lock()
        self._has_failed = False
        try:
            self._numbers = _numbers_of_levels(self._handle)
            self.pyramid = _pyramid(self._handle, self._numbers)
        except BaseException:
            self._handle.close()
            raise

    def leave_out_levels(self, numbers: Container[int]) -> None:
        """Forget levels, for example those without px."""
        kept = [number for number in range(len(self._numbers)) if number not in numbers]
        self._numbers = tuple(self._numbers[number] for number in kept)
        levels = tuple(self.pyramid.levels[number] for number in kept)
        self.pyramid = replace(self.pyramid, levels=levels)

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        shape = self.pyramid.levels[level]
        x, y = column * shape.tile_width, row * shape.tile_height
        size = min(shape.tile_width, shape.width - x), min(shape.tile_height, shape.height - y)
        return self.region_at_level0(
            round(x * shape.downsample), round(y * shape.downsample), level=level, size=size
        )

    def region_at_level0(self, x: int, y: int, *, level: int, size: tuple[int, int]) -> np.ndarray:
        """Call OpenSlide's read_region, with transparent px on the background."""
        # After a failure one thread reads at a time, because an error in one thread would break
        # the handle of the others.
        with self._alone if self._has_failed else nullcontext():
            try:
                rgba = np.asarray(self._handle.read_region((x, y), self._numbers[level], size))
            except openslide.OpenSlideError as error:
                # A handle is unusable after its first error. The old one is not closed here,
                # because another thread may still use it.
                self._has_failed = True
                self._handle = _open_handle(self._path)
                raise UnreadableRegionError(str(error)) from error
        return onto_background(rgba, self.pyramid.background)

    def reopen(self) -> None:
        """Nothing to do: a failed handle has already been replaced."""

    def close(self) -> None:
        self._handle.close()


def _open_handle(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SlideError(
            "not a slide in a format that OpenSlide reads; see docs/formats.md"
        ) from error
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(f"not a slide, or a damaged one: {error}") from error


def _numbers_of_levels(handle: openslide.OpenSlide) -> tuple[int, ...]:
    """OpenSlide's numbers of the levels that show the whole slide.

    In some files a macro image with tiles passes for a level.
    """
    fitting = []
    for number, size in enumerate(handle.level_dimensions):
        if shows_whole(size, handle.dimensions):
            fitting.append(number)
        else:
            logger.info("level %d (%d × %d px) is left out: it has another shape", number, *size)
    return tuple(fitting)


def _pyramid(handle: openslide.OpenSlide, numbers: Sequence[int]) -> Pyramid:
    properties = handle.properties
    colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    corner = _pair(properties, "openslide.bounds-x", "openslide.bounds-y")
    size = _pair(properties, "openslide.bounds-width", "openslide.bounds-height")
    bounds = None
    if corner and size:
        (x, y), (width, height) = map(round, corner), map(round, size)
        bounds = Region(x=x, y=y, width=width, height=height)
    return Pyramid(
        levels=tuple(_level(handle, number) for number in numbers),
        mpp_xy=_pair(properties, openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y),
        background=(int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)),
        vendor=properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        bounds=bounds,
        offset_nm_xy=_pair(
            properties, "hamamatsu.XOffsetFromSlideCentre", "hamamatsu.YOffsetFromSlideCentre"
        ),
    )


def _level(handle: openslide.OpenSlide, number: int) -> PyramidLevel:
    (width, height), downsample = handle.level_dimensions[number], handle.level_downsamples[number]
    ratio = handle.dimensions[0] / width, handle.dimensions[1] / height
    # Formats without a stated downsample get the mean of both ratios from OpenSlide; then each
    # axis keeps its own ratio.
    is_computed = abs((ratio[0] + ratio[1]) / 2 / downsample - 1) < 1e-9
    names = (f"openslide.level[{number}].tile-{side}" for side in ("width", "height"))
    tile = _pair(handle.properties, *names) or (TILE_PX, TILE_PX)
    # One changed byte causes tiles of absurd size, and OpenSlide ends the whole process if it
    # cannot allocate a tile.
    if tile[0] * tile[1] > LARGEST_TILE_PX:
        raise SlideError(
            f"not a slide, or a damaged one: level {number} has tiles of {tile[0]:.0f} × "
            f"{tile[1]:.0f} px; copy the file again"
        )
    if not all(USEFUL_TILE_PX[0] <= px <= USEFUL_TILE_PX[1] for px in tile):
        tile = TILE_PX, TILE_PX
    return PyramidLevel(
        width=width,
        height=height,
        tile_width=round(tile[0]),
        tile_height=round(tile[1]),
        downsample=downsample,
        downsample_xy=ratio if is_computed else (downsample, downsample),
    )


def _pair(properties: Mapping[str, str], x: str, y: str) -> tuple[float, float] | None:
    """Two properties as numbers; None if one is missing or is no number."""
    try:
        return parse_number(properties[x]), parse_number(properties[y])
    except (KeyError, ValueError):
        return None


def onto_background(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Blend RGBA onto a colour. OpenSlide gives transparent black outside the scan, which looks
    like tissue."""
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    opacity = alpha.astype(np.float32) / 255
    return np.rint(rgb * opacity + np.asarray(background, np.float32) * (1 - opacity)).astype(
        np.uint8
    )
