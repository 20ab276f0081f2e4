"""Metadata of a slide: its size, µm/px, levels and reader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .geometry import Region
from .readers import Pyramid

__all__ = ["SlideInfo"]


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """Metadata of a slide. Sizes are level-0 px; `mpp` is µm per level-0 px, mean of x and y."""

    path: Path | str
    width: int
    height: int
    mpp: float
    mpp_source: str
    """"file", or "given" if the cohort or an option gave it."""
    file_mpp: float | None
    """µm/px stated in the file, mean of x and y; None if the file states none or a wrong one."""
    level_downsamples: tuple[float, ...]
    level_sizes: tuple[tuple[int, int], ...]
    """(width, height) of each level in that level's px."""
    level_tiles: tuple[tuple[int, int], ...]
    """(width, height) of the tiles that each level is decoded in, in that level's px."""
    background: tuple[int, int, int]
    """RGB of transparent pixels and of everything outside the slide."""
    vendor: str
    reader: str
    """Name of the reader, such as "OpenSlide"."""
    reader_reason: str
    """Reason for choosing this reader."""
    bounds: Region | None
    """The scanned part; None if the file does not state it."""
    further_scans: str = ""
    """Images of the file that are not read, though they have the slide's µm/px; empty if none."""

    @classmethod
    def of_pyramid(cls, pyramid: Pyramid, **facts: Any) -> "SlideInfo":
        """Take size, levels, background, vendor and bounds from the pyramid of the file; facts: the
        other fields."""
        return cls(
            width=pyramid.levels[0].width,
            height=pyramid.levels[0].height,
            level_downsamples=tuple(level.downsample for level in pyramid.levels),
            level_sizes=tuple((level.width, level.height) for level in pyramid.levels),
            level_tiles=tuple((level.tile_width, level.tile_height) for level in pyramid.levels),
            background=pyramid.background,
            vendor=pyramid.vendor,
            bounds=pyramid.bounds,
            further_scans=pyramid.further_scans,
            **facts,
        )
