"""Pyramidal tiled TIFF with JPEG tiles, written in one pass from a function that paints rectangles.

Level 0 is written directly, a row of tiles at a time. Each row is averaged down at once and feeds
the next level, whose encoded tiles wait in a temporary file, so no level is held as pixels.

Frame: px of the named level; level k + 1 has a quarter of the side of level k, rounded up.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from ..storage import SettingsError, atomic_file
from ..wsi import ceil_div

DOWNSAMPLE = 4
_SMALLEST_LEVEL_PX = 512
_CLASSIC_TIFF_BYTES = 2**32

Pixels = NDArray[np.uint8]


class PaintRegion(Protocol):
    """Paints any rectangle of level 0 as RGB (height, width, 3)."""

    def __call__(self, *, x: int, y: int, width: int, height: int) -> Pixels: ...


@dataclass(frozen=True, kw_only=True)
class PyramidSpec:
    """Parameters of the file."""

    width_px: int
    height_px: int
    mpp: float
    tile_px: int
    jpeg_quality: int
    block_px: int
    """Side of the squares requested from the painter, a multiple of a tile's side; it changes
    memory, not pixels."""
    description: str = ""

    def __post_init__(self) -> None:
        if self.tile_px % 16 or self.block_px % self.tile_px:
            raise SettingsError(
                f"tiles of {self.tile_px} px in blocks of {self.block_px} px: a tile must be a "
                "multiple of 16 px, a block a multiple of a tile; use 256 and 1024"
            )

    def level_sizes(self) -> list[tuple[int, int]]:
        """(width, height) of every level; the last has at most _SMALLEST_LEVEL_PX."""
        sizes = [(self.width_px, self.height_px)]
        while max(sizes[-1]) > _SMALLEST_LEVEL_PX:
            width, height = sizes[-1]
            sizes.append((ceil_div(width, DOWNSAMPLE), ceil_div(height, DOWNSAMPLE)))
        return sizes


def write_pyramid(path: Path, spec: PyramidSpec, paint: PaintRegion) -> None:
    """Write a pyramid that OpenSlide opens as generic tiled TIFF, whole or not at all."""
    sizes = spec.level_sizes()
    with atomic_file(path) as partial:
        levels = [_WaitingLevel(size, spec, folder=partial.parent) for size in sizes[1:]]
        for level, below in pairwise(levels):
            level.below = below
        # JPEG takes a tenth of the pixels' bytes; a third is a safe limit for noisy slides.
        big = spec.width_px * spec.height_px > _CLASSIC_TIFF_BYTES // 3
        with tifffile.TiffWriter(partial, bigtiff=big) as tiff:
            _write_level(
                tiff, sizes[0], spec, _paint_tiles(spec, paint, levels[0] if levels else None)
            )
            # Not at the end of the generator, because tifffile stops at the last tile it needs.
            for level in levels[:1]:
                level.finish()
            for size, level in zip(sizes[1:], levels, strict=True):
                _write_level(tiff, size, spec, level.tiles(), reduced=True)


def _write_level(
    tiff: tifffile.TiffWriter,
    size: tuple[int, int],
    spec: PyramidSpec,
    tiles: Iterator[bytes],
    *,
    reduced=False,
) -> None:
    pixels_per_cm = 1e4 / spec.mpp * size[0] / spec.width_px
    tiff.write(
        tiles,
        shape=(size[1], size[0], 3),
        dtype=np.uint8,
        tile=(spec.tile_px, spec.tile_px),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=(2, 2),
        subfiletype=1 if reduced else 0,
        resolution=(pixels_per_cm, pixels_per_cm),
        resolutionunit="CENTIMETER",
        description=None if reduced else spec.description,
        software="gigaslide phantom",
        metadata=None,
    )


def _paint_tiles(
    spec: PyramidSpec, paint: PaintRegion, below: "_WaitingLevel | None"
) -> Iterator[bytes]:
    """Yield the encoded tiles of level 0, row by row, and average the pixels into the level
    below."""
    for y in range(0, spec.height_px, spec.block_px):
        height = min(spec.block_px, spec.height_px - y)
        rows: list[list[bytes]] = [[] for _ in range(ceil_div(height, spec.tile_px))]
        reduced: list[Pixels] = []
        for x in range(0, spec.width_px, spec.block_px):
            block = paint(x=x, y=y, width=min(spec.block_px, spec.width_px - x), height=height)
            for row, tiles in zip(rows, _tile_rows(block, spec), strict=True):
                row.extend(tiles)
            if below:
                reduced.append(_average(block))
        if below:
            below.feed(np.concatenate(reduced, axis=1))
        for row in rows:
            yield from row


class _WaitingLevel:
    """One reduced level: takes rows of pixels, keeps encoded tiles in a temporary file, feeds
    `below`."""

    def __init__(self, size: tuple[int, int], spec: PyramidSpec, *, folder: Path) -> None:
        self.below: _WaitingLevel | None = None
        self._spec = spec
        self._rows = np.empty((0, size[0], 3), np.uint8)
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed when its tiles have been read
        self._lengths: list[int] = []

    def feed(self, rows: Pixels) -> None:
        """Take the next rows, (n, width, 3)."""
        self._rows = np.concatenate([self._rows, rows])
        while len(self._rows) >= self._spec.tile_px:
            self._encode(self._rows[: self._spec.tile_px])
            self._rows = self._rows[self._spec.tile_px :]

    def finish(self) -> None:
        """Encode the last row of tiles, which may be incomplete."""
        if len(self._rows):
            self._encode(self._rows)
        if self.below:
            self.below.finish()

    def tiles(self) -> Iterator[bytes]:
        """Yield the encoded tiles, row by row; works once."""
        with self._spool:
            self._spool.seek(0)
            for length in self._lengths:
                yield self._spool.read(length)

    def _encode(self, rows: Pixels) -> None:
        for tiles in _tile_rows(rows, self._spec):
            for tile in tiles:
                self._spool.write(tile)
                self._lengths.append(len(tile))
        if self.below:
            self.below.feed(_average(rows))


def _tile_rows(pixels: Pixels, spec: PyramidSpec) -> Iterator[list[bytes]]:
    """Yield lists of encoded tiles, one per row of tiles; incomplete tiles repeat their border."""
    side = spec.tile_px
    padded = _pad(pixels, side)
    for y in range(0, padded.shape[0], side):
        yield [
            _jpeg(padded[y : y + side, x : x + side], quality=spec.jpeg_quality)
            for x in range(0, padded.shape[1], side)
        ]


def _jpeg(tile: Pixels, *, quality: int) -> bytes:
    contiguous = np.ascontiguousarray(tile)
    return bytes(
        imagecodecs.jpeg8_encode(
            contiguous, level=quality, colorspace="rgb", outcolorspace="ycbcr", subsampling="420"
        )
    )


def _average(pixels: Pixels) -> Pixels:
    """Means of DOWNSAMPLE × DOWNSAMPLE px."""
    padded = _pad(pixels, DOWNSAMPLE)
    height, width = padded.shape[:2]
    small = cv2.resize(
        padded, (width // DOWNSAMPLE, height // DOWNSAMPLE), interpolation=cv2.INTER_AREA
    )
    return np.asarray(small, np.uint8)


def _pad(pixels: Pixels, multiple_px: int) -> Pixels:
    height, width = pixels.shape[:2]
    low, right = -height % multiple_px, -width % multiple_px
    return np.pad(pixels, ((0, low), (0, right), (0, 0)), mode="edge") if low or right else pixels
