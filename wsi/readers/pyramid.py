"""What every reader says of a slide's levels, and how it hands out their tiles."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..geometry import Region, ceil_div

__all__ = ["Pyramid", "PyramidLevel", "TileReader"]


@dataclass(frozen=True, kw_only=True)
class PyramidLevel:
    """One level, and the grid of tiles it is read by. Sizes in that level's px."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    downsample: float
    """Level-0 px per level px, the mean of x and y."""
    downsample_xy: tuple[float, float]
    """The same in x and in y: where a level's size was rounded they differ, by px at the far
    corner."""

    @property
    def columns(self) -> int:
        return ceil_div(self.width, self.tile_width)

    @property
    def rows(self) -> int:
        return ceil_div(self.height, self.tile_height)


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """What a file says of its slide, before anybody checks it."""

    levels: tuple[PyramidLevel, ...]
    """Finest first."""
    mpp_xy: tuple[float, float] | None
    """µm per level-0 px in x and in y; None where the file says nothing."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB of what was not scanned."""
    vendor: str
    bounds: Region | None = None
    """Where the scanned part lies, level-0 px; None where the file says nothing."""
    offset_nm_xy: tuple[float, float] | None = None
    """Hamamatsu only: the slide's centre in its stage's frame, in nm; NDPA annotations are told in
    it."""


class TileReader(Protocol):
    """An open file that gives a slide's pixels tile by tile; `tile` may be called from several
    threads at once."""

    name: str
    """What reads, for people: "OpenSlide", "native TIFF tiles", …"""
    pyramid: Pyramid

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        """RGB uint8 (rows, columns, 3), what is transparent laid on the background; None where the
        file has no tile.

        A tile at the right or lower border may be cut to the level, or be whole.

        Raises:
            UnreadableRegionError: the tile's pixels cannot be decoded. Its message is the reason
            alone.
        """
        ...

    def reopen(self) -> None:
        """Start over with a fresh handle."""
        ...

    def close(self) -> None: ...
