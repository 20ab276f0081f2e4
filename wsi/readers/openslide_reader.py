"""Slides through OpenSlide: the reference for formats, levels, µm/px and bounds, and the reader for
all formats that no native reader decodes."""

import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import openslide

from ...storage import SlideError, UnreadableRegionError
from ..geometry import Region
from .pyramid import Pyramid, PyramidLevel

__all__ = ["OpenSlideReader", "onto_background"]

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
            _refuse_made_up_tiles(self._handle, path)
            self.pyramid = _pyramid(self._handle)
        except BaseException:
            self._handle.close()
            raise

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
                rgba = np.asarray(self._handle.read_region((x, y), level, size))
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
            f"{path}: not a slide in a format that OpenSlide reads; see docs/formats.md"
        ) from error
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(f"{path}: not a slide, or a damaged one: {error}") from error


def _refuse_made_up_tiles(handle: openslide.OpenSlide, path: Path) -> None:
    """Refuse tiles of absurd size, which one changed byte can cause.

    OpenSlide ends the whole process if it cannot allocate a tile.
    """
    for number in range(handle.level_count):
        sides = [
            handle.properties.get(f"openslide.level[{number}].tile-{side}")
            for side in ("width", "height")
        ]
        width, height = (_number(side) or 0 for side in sides)
        if width * height > LARGEST_TILE_PX:
            raise SlideError(
                f"{path}: not a slide, or a damaged one: level {number} has tiles of {width:.0f} × "
                f"{height:.0f} px; copy the file again"
            )


def _pyramid(handle: openslide.OpenSlide) -> Pyramid:
    properties = handle.properties
    colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    offset = tuple(
        _number(properties.get(f"hamamatsu.{axis}OffsetFromSlideCentre")) for axis in "XY"
    )
    return Pyramid(
        levels=tuple(_level(handle, number) for number in range(handle.level_count)),
        mpp_xy=_mpp(properties),
        background=(int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)),
        vendor=properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        bounds=_bounds(properties),
        offset_nm_xy=None if offset[0] is None or offset[1] is None else (offset[0], offset[1]),
    )


def _level(handle: openslide.OpenSlide, number: int) -> PyramidLevel:
    (width, height), downsample = handle.level_dimensions[number], handle.level_downsamples[number]
    ratio = handle.dimensions[0] / width, handle.dimensions[1] / height
    # Formats without a stated downsample get the mean of both ratios from OpenSlide; then each
    # axis keeps its own ratio.
    is_computed = abs((ratio[0] + ratio[1]) / 2 / downsample - 1) < 1e-9
    tile = [
        _number(handle.properties.get(f"openslide.level[{number}].tile-{side}"))
        for side in ("width", "height")
    ]
    useful = all(px is not None and USEFUL_TILE_PX[0] <= px <= USEFUL_TILE_PX[1] for px in tile)
    tile_width, tile_height = (round(px or 0) for px in tile) if useful else (TILE_PX, TILE_PX)
    return PyramidLevel(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        downsample=downsample,
        downsample_xy=ratio if is_computed else (downsample, downsample),
    )


def _mpp(properties) -> tuple[float, float] | None:
    x, y = (
        _number(properties.get(name))
        for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    )
    return None if x is None or y is None else (x, y)


def _bounds(properties) -> Region | None:
    found = [
        _number(properties.get(f"openslide.bounds-{side}"))
        for side in ("x", "y", "width", "height")
    ]
    x, y, width, height = (None if number is None else round(number) for number in found)
    if x is None or y is None or width is None or height is None:
        return None
    return Region(x=x, y=y, width=width, height=height)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
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
