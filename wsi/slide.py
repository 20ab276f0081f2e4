"""One open slide: its size, µm/px and levels, and its pixels at any µm/px.

Frames: everything public is level-0 px; `level px` appears only in `read_level`. See `geometry`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..storage import SpacingError, UnreadableRegionError, format_location, parse_location
from .geometry import Region, Scale, floor_div
from .input_spec import InputSpec
from .layers import RESAMPLED_TILE_PX, Layer, rectangle, resampled_layer
from .overview import Overview, overview_of
from .readers import Pyramid, open_reader
from .tiles import CACHE_BYTES, SlideTiles, UnreadableTile
from .windows import windows_of_layer

__all__ = ["Slide", "SlideInfo", "open_slide"]

SNAP = 0.03  # a level within 3 % of the wanted µm/px is read as it is
PLAUSIBLE_MPP = (0.02, 40.0)  # outside it the number is a unit error, not a microscope
UNEQUAL_MPP = 0.05  # µm/px in x and y that differ by more are an error of the file
WAITING_BYTES = 128 * 2**20  # windows of coarser scales that wait for those of the finest


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """What a slide says of itself. Sizes in level-0 px; `mpp` is µm per level-0 px, the mean of x
    and y."""

    path: Path | str
    width: int
    height: int
    mpp: float
    mpp_source: str
    """"file", or "given" where the cohort or an option gave it."""
    level_downsamples: tuple[float, ...]
    level_sizes: tuple[tuple[int, int], ...]
    """(width, height) of each level in that level's px."""
    level_tiles: tuple[tuple[int, int], ...]
    """(width, height) of the tiles each level is decoded by, in that level's px."""
    background: tuple[int, int, int]
    """RGB under transparent pixels and outside the slide."""
    vendor: str
    reader: str
    """What reads its pixels."""
    reader_reason: str
    """Why it is this reader and no other."""
    bounds: Region | None
    """Where the scanned part lies, if the file tells."""


def open_slide(
    path: str | Path, *, mpp: float | None = None, fallback_mpp: float | None = None
) -> "Slide":
    """Open a slide by its fastest reader that gives OpenSlide's pixels; see docs/formats.md.

    mpp overrides what the file says (µm per level-0 px); fallback_mpp is used only where the file
    says nothing. path may be a URL (s3://, gs://, https://).

    Raises:
        SlideError: no such file, or not a slide.
        SpacingError: no µm/px anywhere, an absurd one, or x and y that differ by more than 5 %.
    """
    location = parse_location(path, Path()) if isinstance(path, str) else path
    return Slide(location, mpp=mpp, fallback_mpp=fallback_mpp)


class Slide:
    """An open slide. Pickles as its path, so each process opens its own handle."""

    def __init__(
        self, path: Path | str, *, mpp: float | None = None, fallback_mpp: float | None = None
    ) -> None:
        self._arguments = (path, mpp, fallback_mpp)
        self._reader, reason = open_reader(path)
        pyramid = self._reader.pyramid
        try:
            spacing, source = _spacing(path, pyramid, mpp=mpp, fallback_mpp=fallback_mpp)
        except SpacingError:
            self._reader.close()
            raise
        self.info = SlideInfo(
            path=path,
            width=pyramid.levels[0].width,
            height=pyramid.levels[0].height,
            mpp=spacing,
            mpp_source=source,
            level_downsamples=tuple(level.downsample for level in pyramid.levels),
            level_sizes=tuple((level.width, level.height) for level in pyramid.levels),
            level_tiles=tuple((level.tile_width, level.tile_height) for level in pyramid.levels),
            background=pyramid.background,
            vendor=pyramid.vendor,
            reader=self._reader.name,
            reader_reason=reason,
            bounds=pyramid.bounds,
        )
        self._tiles = SlideTiles(self._reader, name=format_location(path))

    def __reduce__(self):
        return _reopen, self._arguments

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) in level-0 px."""
        return self.info.width, self.info.height

    @property
    def unreadable(self) -> tuple[UnreadableTile, ...]:
        """Tiles that were asked for so far and could not be decoded, by level, row and column."""
        return tuple(tile for _, tile in sorted(self._tiles.unreadable.items()))

    def scale(self, mpp: float, *, allow_upsampling: bool = False) -> Scale:
        """How windows of mpp µm/px are read from this slide: from the coarsest level that is fine
        enough.

        Raises:
            SpacingError: mpp is more than 3 % finer than the slide, and allow_upsampling is False.
        """
        info = self.info
        if not (math.isfinite(mpp) and mpp > 0):
            raise SpacingError(
                f"{format_location(info.path)}: asked for {mpp} µm/px; give a positive number"
            )
        if info.mpp / mpp - 1 > SNAP and not allow_upsampling:
            raise SpacingError(
                f"{format_location(info.path)}: {mpp:g} µm/px was asked for but the slide holds "
                f"{info.mpp:g}; ask for {info.mpp:.4g} or coarser, or pass --allow-upsampling"
            )
        level = 0
        for candidate, downsample in enumerate(info.level_downsamples):
            if info.mpp * downsample <= mpp * (1 + SNAP):
                level = candidate
        downsample = info.level_downsamples[level]
        level_mpp = info.mpp * downsample
        as_it_is = abs(level_mpp / mpp - 1) <= SNAP
        return Scale(
            requested_mpp=mpp,
            mpp=level_mpp if as_it_is else mpp,
            level=level,
            level_downsample=downsample,
            level0=downsample if as_it_is else mpp / info.mpp,
        )

    def read_level(self, level: int, *, x: int, y: int, width: int, height: int) -> np.ndarray:
        """A rectangle of one level, all four numbers in level px: (height, width, 3) uint8 RGB.

        It may reach outside the slide: there, and wherever the file is transparent, it shows the
        background colour.

        Raises:
            UnreadableRegionError: the file's pixels there cannot be decoded.
        """
        image = rectangle(self._tiles.layer(level), x, y, width, height)
        self._refuse(self._tiles.lost(level, x, y, width, height))
        return image

    def read_region(
        self, region: Region, *, mpp: float, allow_upsampling: bool = False
    ) -> np.ndarray:
        """A level-0 rectangle at mpp µm/px: (rows, columns, 3) uint8 RGB, padded with background
        outside the slide.

        It begins on the whole window px nearest to the region's corner.

        Raises:
            UnreadableRegionError: the file's pixels there cannot be decoded.
        """
        scale = self.scale(mpp, allow_upsampling=allow_upsampling)
        step = self._window_px(scale)
        x, y = round(region.x / step[0]), round(region.y / step[1])
        width, height = (
            max(1, round(region.width / step[0])),
            max(1, round(region.height / step[1])),
        )
        image = rectangle(self._layer(scale), x, y, width, height)
        self._refuse(self._lost(scale, x, y, width, height))
        return image

    def read_windows(
        self,
        xy: np.ndarray,
        *,
        size: int,
        mpp: float,
        allow_upsampling: bool = False,
        threads: int = 1,
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Square windows, in an order of the slide's choosing: yields (index into xy, window).

        xy is (N, 2) integer level-0 (x, y) top left; size is the side in window px. A window is
        (size, size, 3) uint8 RGB, None where its pixels could not be decoded. It is read-only and
        shares memory with its neighbours: copy what you keep. It begins on the whole window px
        nearest to its corner, and its pixels do not depend on the other windows.

        Every tile of the file is decoded once for all the windows that touch it, on up to threads
        threads; at the edges of stripes (see docs/formats.md) twice, and between levels a little
        more often. Memory is at most 256 MB where tiles have up to 1024 px and windows up to 2000.
        """
        scale = self.scale(mpp, allow_upsampling=allow_upsampling)
        corners = np.rint(
            np.asarray(xy, np.float64).reshape(-1, 2) / self._window_px(scale)
        ).astype(np.int64)
        resampled = scale.resample != 1
        layer = self._layer(scale, cached=resampled)
        stripe_px = self._resampled_stripe_px(scale) if resampled else None
        for index, window in windows_of_layer(
            layer, corners, side=size, threads=threads, stripe_px=stripe_px
        ):
            x, y = corners[index].tolist()
            lost = bool(self._tiles.unreadable) and bool(self._lost(scale, x, y, size, size))
            yield index, None if lost else window

    def read_concentric(
        self,
        xy: np.ndarray,
        spec: InputSpec,
        *,
        margin_px: int = 0,
        allow_upsampling: bool = False,
        threads: int = 1,
    ) -> Iterator[tuple[int, tuple[np.ndarray, ...] | None]]:
        """Patches for a network: yields (index into xy, one window per scale of spec).

        xy is (N, 2) integer level-0 (x, y) top left of the windows of the finest scale, margin
        included. Each window is (side, side, 3) uint8 RGB with side = patch_px + 2 × margin_px;
        windows of coarser scales have the same centre, to half of their own px. None stands for a
        patch with an unreadable window at any scale. Order and sharing of memory are those of
        `read_windows`, windows of one scale are exactly its windows.

        Windows of coarser scales wait in memory for those of the finest, at most 128 MiB.
        """
        side = spec.patch_px + 2 * margin_px
        finest, *coarser = (self.scale(mpp, allow_upsampling=allow_upsampling) for mpp in spec.mpps)

        def windows(corners: np.ndarray, scale: Scale) -> Iterator[tuple[int, np.ndarray | None]]:
            reach = side * (scale.level0 - finest.level0) / 2
            return self.read_windows(
                np.rint(corners - reach).astype(np.int64),
                size=side,
                mpp=scale.requested_mpp,
                allow_upsampling=allow_upsampling,
                threads=threads,
            )

        xy = np.asarray(xy).reshape(-1, 2)
        waiting_bytes = len(coarser) * side * side * 3
        at_once = max(1, floor_div(WAITING_BYTES, waiting_bytes) if coarser else len(xy))
        for first in range(0, len(xy), at_once):
            corners = xy[first : first + at_once]
            waiting = [dict(windows(corners, scale)) for scale in coarser]
            for index, window in windows(corners, finest):
                patch = (window, *(found.pop(index) for found in waiting))
                readable = tuple(one for one in patch if one is not None)
                yield first + index, readable if len(readable) == len(patch) else None
            del waiting  # before the next are read

    def overview(self, mpp: float) -> Overview:
        """The whole slide at about mpp µm/px or a little finer, area-averaged, read in blocks of
        bounded memory."""
        return overview_of(self._tiles, coarser=mpp / self.info.mpp)

    def _window_px(self, scale: Scale) -> tuple[float, float]:
        """Level-0 px per window px in x and in y."""
        across, down = self._reader.pyramid.levels[scale.level].downsample_xy
        return (across, down) if scale.resample == 1 else (scale.level0, scale.level0)

    def _ratio(self, scale: Scale) -> tuple[float, float]:
        """Level px per window px in x and in y."""
        across, down = self._reader.pyramid.levels[scale.level].downsample_xy
        return (1.0, 1.0) if scale.resample == 1 else (scale.level0 / across, scale.level0 / down)

    def _layer(self, scale: Scale, *, cached: bool = True) -> Layer:
        level = self._tiles.layer(scale.level, cached=cached)
        return level if scale.resample == 1 else resampled_layer(level, self._ratio(scale))

    def _resampled_stripe_px(self, scale: Scale) -> int:
        """Window px: of so wide a stripe, the level's tiles under one row of resampled tiles fit
        the slide's cache."""
        ratio = max(self._ratio(scale))
        rows = self._reader.pyramid.levels[scale.level].tile_height + RESAMPLED_TILE_PX * ratio
        return floor_div(CACHE_BYTES, 3 * ratio * rows)

    def _lost(self, scale: Scale, x: int, y: int, width: int, height: int) -> list[UnreadableTile]:
        across, down = self._ratio(scale)
        reach = (
            0.5 if scale.resample < 1 else 0.0
        )  # enlarging is linear between centres, which lie half a px further
        x_px, y_px = x * across - reach, y * down - reach
        return self._tiles.lost(
            scale.level, x_px, y_px, width * across + 2 * reach, height * down + 2 * reach
        )

    def _refuse(self, lost: list[UnreadableTile]) -> None:
        if lost:
            first = lost[0]
            raise UnreadableRegionError(
                f"{format_location(self.info.path)}: cannot decode level {first.level}, tile row "
                f"{first.row}, column {first.column} ({len(lost)} such tiles here): {first.reason}"
            )


def _reopen(path: Path | str, mpp: float | None, fallback_mpp: float | None) -> Slide:
    return Slide(path, mpp=mpp, fallback_mpp=fallback_mpp)


def _spacing(
    path: Path | str, pyramid: Pyramid, *, mpp: float | None, fallback_mpp: float | None
) -> tuple[float, str]:
    """µm per level-0 px, and where it comes from."""
    in_file = _mpp_of_file(path, pyramid) if mpp is None else None
    spacing = next((value for value in (mpp, in_file, fallback_mpp) if value is not None), None)
    if spacing is None:
        raise SpacingError(
            f"{format_location(path)}: the file does not say its µm/px; give it in the cohort's "
            "mpp column or with --slide-mpp"
        )
    if not (math.isfinite(spacing) and PLAUSIBLE_MPP[0] <= spacing <= PLAUSIBLE_MPP[1]):
        raise SpacingError(
            f"{format_location(path)}: {spacing} µm/px is not between {PLAUSIBLE_MPP[0]} and "
            f"{PLAUSIBLE_MPP[1]}; give the right one in the cohort's mpp column"
        )
    return spacing, "file" if in_file is not None else "given"


def _mpp_of_file(path: Path | str, pyramid: Pyramid) -> float | None:
    if pyramid.mpp_xy is None:
        return None
    x, y = pyramid.mpp_xy
    if not (x > 0 and y > 0 and abs(x - y) <= UNEQUAL_MPP * max(x, y)):
        raise SpacingError(
            f"{format_location(path)}: the file says {x:g} µm/px in x and {y:g} in y, which differ "
            "by more than 5 % or are absurd; give the right one in the cohort's mpp column"
        )
    return (x + y) / 2
