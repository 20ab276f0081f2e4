"""Levels of a slide as its file describes them, and the interface of readers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..geometry import Region, ceil_div

__all__ = ["Pyramid", "PyramidLevel", "TileReader", "describe_not_brightfield", "shows_whole"]

ROUNDED_PX, UNEQUAL = 4, 0.05  # px and share by which a level's sides may differ from the slide's


@dataclass(frozen=True, kw_only=True)
class PyramidLevel:
    """One level and its grid of tiles. Sizes in that level's px."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    downsample: float
    """Level-0 px per level px, mean of x and y."""
    downsample_xy: tuple[float, float]
    """Level-0 px per level px in x and in y. They differ where a level's size was rounded, which
    moves the far corner by whole px."""

    @property
    def columns(self) -> int:
        return ceil_div(self.width, self.tile_width)

    @property
    def rows(self) -> int:
        return ceil_div(self.height, self.tile_height)


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Metadata of a slide as its file states them, unchecked."""

    levels: tuple[PyramidLevel, ...]
    """Finest first."""
    mpp_xy: tuple[float, float] | None
    """µm per level-0 px in x and in y; None if the file states none."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB of everything that was not scanned."""
    vendor: str
    bounds: Region | None = None
    """The scanned part, level-0 px; None if the file does not state it."""
    further_scans: str = ""
    """Images of the file that are not read, though they have the slide's µm/px; empty if none."""
    offset_nm_xy: tuple[float, float] | None = None
    """Hamamatsu only: the slide's centre in the frame of the stage, nm. NDPA annotations use that
    frame."""


def shows_whole(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Test whether a level of that (width, height) has the shape of the whole slide.

    Otherwise it is another image, such as a macro image among the levels.
    """
    if not all(size):
        return False
    downsample = min(whole[0] / size[0], whole[1] / size[1])
    off = max(whole[0] / downsample - size[0], whole[1] / downsample - size[1])
    return off <= max(ROUNDED_PX, UNEQUAL * max(size))


def describe_not_brightfield(fact: str) -> str:
    """Describe why an image is no brightfield slide in 8-bit RGB, and what to do."""
    return f"not a brightfield slide: {fact}; leave it out, or export it as 8-bit RGB"


class TileReader(Protocol):
    """An open slide file that gives pixels tile by tile; `tile` may be called from several
    threads."""

    name: str
    """Name for people, such as "OpenSlide" or "native TIFF tiles"."""
    pyramid: Pyramid

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        """Decode a tile: RGB uint8 (rows, columns, 3), or None if the file has no such tile.

        Transparent px show the background. A tile at the right or lower border may be cut to the
        level or be whole.

        Raises:
            UnreadableRegionError: the pixels cannot be decoded. The message is the reason alone.
        """
        ...

    def reopen(self) -> None:
        """Replace the handle by a fresh one."""
        ...

    def close(self) -> None: ...
