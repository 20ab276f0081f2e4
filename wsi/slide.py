"""One open slide: its size, µm/px and levels, and its pixels at any µm/px.

Frames: everything public is level-0 px; `level px` appears only in `read_level`. See `geometry`.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import openslide

from .errors import SlideError, SpacingError, UnreadableRegionError
from .geometry import Region, Scale, floor_div
from .overview import Overview, overview_of
from .resample import mean_of_strips, resized

__all__ = ["Slide", "SlideInfo", "open_slide"]

logger = logging.getLogger(__name__)

SNAP = 0.03  # a level within 3 % of the wanted µm/px is read as it is
PLAUSIBLE_MPP = (0.02, 40.0)  # outside it the number is a unit error, not a microscope
BLOCK_PX = 1024  # level px: windows that start within one such square are cut from a single read
UNSEEN_PX = 1 / 256  # level-0 px: a shift by less than this changes no pixel
LARGE_PX = 2**23  # level px: a larger rectangle is read in strips; blocks hold up to four times as much, 250 MB
STRIP_PX = 2**22  # level px of such a strip: under 200 MB with all copies of it


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """What a slide says of itself. Sizes in level-0 px; `mpp` is µm per level-0 px, the mean of x and y."""

    path: Path
    width: int
    height: int
    mpp: float
    mpp_source: str
    """"file", or "given" where the cohort or an option gave it."""
    level_downsamples: tuple[float, ...]
    level_sizes: tuple[tuple[int, int], ...]
    """(width, height) of each level in that level's px."""
    background: tuple[int, int, int]
    """RGB under transparent pixels and outside the slide."""
    vendor: str


def open_slide(path: str | Path, *, mpp: float | None = None, fallback_mpp: float | None = None) -> "Slide":
    """Open a slide through OpenSlide.

    mpp overrides what the file says (µm per level-0 px); fallback_mpp is used only where the file says nothing.

    Raises:
        SlideError: no such file, or not a slide.
        SpacingError: no µm/px anywhere, an absurd one, or x and y that differ by more than 5 %.
    """
    return Slide(Path(path), mpp=mpp, fallback_mpp=fallback_mpp)


class Slide:
    """An open slide. Pickles as its path, so each process opens its own handle; one handle serves one thread."""

    def __init__(self, path: Path, *, mpp: float | None = None, fallback_mpp: float | None = None) -> None:
        self._arguments = (path, mpp, fallback_mpp)
        self._handle = _open_handle(path)
        self.info = _describe(path, self._handle, mpp=mpp, fallback_mpp=fallback_mpp)

    def __reduce__(self):
        return _reopen, self._arguments

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._handle.close()

    def scale(self, mpp: float, *, allow_upsampling: bool = False) -> Scale:
        """How windows of mpp µm/px are read from this slide: from the coarsest level that is fine enough.

        Raises:
            SpacingError: mpp is more than 3 % finer than the slide, and allow_upsampling is False.
        """
        info = self.info
        if not (math.isfinite(mpp) and mpp > 0):
            raise SpacingError(f"{info.path}: asked for {mpp} µm/px; give a positive number")
        if mpp < info.mpp * (1 - SNAP) and not allow_upsampling:
            raise SpacingError(
                f"{info.path}: {mpp:g} µm/px was asked for but the slide holds {info.mpp:g}; "
                f"ask for {info.mpp:.4g} or coarser, or pass --allow-upsampling"
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

        It may reach outside the slide: there, and wherever the file is transparent, it shows the background colour.

        Raises:
            UnreadableRegionError: the file's pixels there cannot be decoded.
        """
        downsample = self.info.level_downsamples[level]
        location = (round(x * downsample), round(y * downsample))
        try:
            rgba = np.asarray(self._handle.read_region(location, level, (width, height)))
        except openslide.OpenSlideError as error:
            # An OpenSlide handle answers nothing after its first error until it is reopened.
            self._handle.close()
            self._handle = _open_handle(self.info.path)
            at = f"level {level}, x {location[0]}, y {location[1]}, {width} × {height} px"
            raise UnreadableRegionError(f"{self.info.path}: cannot decode {at}: {error}") from error
        return _onto_background(rgba, self.info.background)

    def read_region(self, region: Region, *, mpp: float, allow_upsampling: bool = False) -> np.ndarray:
        """A level-0 rectangle at mpp µm/px: (rows, columns, 3) uint8 RGB, padded with background outside the slide."""
        scale = self.scale(mpp, allow_upsampling=allow_upsampling)
        size = (round(region.width / scale.level0), round(region.height / scale.level0))
        d = scale.level_downsample
        corner = round(region.x / d), round(region.y / d)
        cover = max(1, round(region.width / d)), max(1, round(region.height / d))
        return self._read_resized(scale.level, corner, cover, (max(1, size[0]), max(1, size[1])))

    def _read_resized(
        self, level: int, corner: tuple[int, int], cover: tuple[int, int], size: tuple[int, int]
    ) -> np.ndarray:
        """A rectangle, corner (x, y) and cover (width, height) in level px, resized to size (width, height)."""
        (x, y), (width, height) = corner, cover
        if width * height <= LARGE_PX or size[0] >= width or size[1] >= height:
            return resized(self.read_level(level, x=x, y=y, width=width, height=height), size)
        rows = max(1, floor_div(STRIP_PX, width))
        strips = (
            self.read_level(level, x=x, y=y + top, width=width, height=min(rows, height - top))
            for top in range(0, height, rows)
        )
        return mean_of_strips(strips, height=height, size=size)

    def read_windows(
        self, xy: np.ndarray, *, size: int, mpp: float, allow_upsampling: bool = False
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Square windows, in an order of the slide's choosing: yields (index into xy, window).

        xy is (N, 2) integer level-0 (x, y) top left; size is the side in window px. A window is (size, size, 3)
        uint8 RGB, None where its pixels could not be decoded. Its pixels do not depend on the other windows.
        """
        scale = self.scale(mpp, allow_upsampling=allow_upsampling)
        corners = np.rint(np.asarray(xy, np.float64).reshape(-1, 2) / scale.level_downsample).astype(np.int64)
        side = max(1, round(size * scale.resample))
        # Off whole px OpenSlide blends neighbours, by a share that depends on where a read starts. There every window
        # is read alone, at a half to a third of the speed, so that its pixels depend on its own place only.
        # So is a large one, which goes in strips.
        shares = side * side <= LARGE_PX and self._falls_on_whole_px(scale.level)
        block_px = max(BLOCK_PX, side) if shares else 1
        blocks: dict[tuple[int, int], list[int]] = {}
        for index, (x, y) in enumerate(corners):
            blocks.setdefault((floor_div(y, block_px), floor_div(x, block_px)), []).append(index)
        for _, members in sorted(blocks.items()):
            yield from self._cut(corners, members, side=side, size=size, level=scale.level)

    def _falls_on_whole_px(self, level: int) -> bool:
        downsample = self.info.level_downsamples[level]
        return abs(downsample - round(downsample)) * max(self.info.level_sizes[level]) < UNSEEN_PX

    def _cut(self, corners, members, *, side: int, size: int, level: int) -> Iterator[tuple[int, np.ndarray | None]]:
        if len(members) == 1:
            yield members[0], self._window(corners[members[0]], side=side, size=size, level=level)
            return
        left, top = corners[members].min(axis=0)
        width, height = corners[members].max(axis=0) + side - (left, top)
        try:
            block = self.read_level(level, x=left, y=top, width=width, height=height)
        except UnreadableRegionError:
            for member in members:  # one by one, so that only windows that touch the damage are lost
                yield member, self._window(corners[member], side=side, size=size, level=level)
            return
        for member in members:
            x, y = corners[member] - (left, top)
            yield member, resized(block[y : y + side, x : x + side], (size, size))

    def _window(self, corner: np.ndarray, *, side: int, size: int, level: int) -> np.ndarray | None:
        try:
            return self._read_resized(level, (int(corner[0]), int(corner[1])), (side, side), (size, size))
        except UnreadableRegionError as error:
            logger.warning("%s", error)
            return None

    def overview(self, mpp: float) -> Overview:
        """The whole slide at about mpp µm/px or a little finer, area-averaged, read in strips of bounded memory."""
        return overview_of(self, mpp)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) in level-0 px."""
        return self.info.width, self.info.height


def _reopen(path: Path, mpp: float | None, fallback_mpp: float | None) -> Slide:
    return Slide(path, mpp=mpp, fallback_mpp=fallback_mpp)


def _open_handle(path: Path) -> openslide.OpenSlide:
    if not path.exists():
        raise SlideError(f"{path}: no such file; check the cohort's slide column")
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError(f"{path}: not a slide: the file is empty; copy it again")
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SlideError(f"{path}: not a slide that OpenSlide can read; see openslide.org/formats") from error
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(f"{path}: not a slide, or a damaged one: {error}") from error


def _describe(path: Path, handle: openslide.OpenSlide, *, mpp: float | None, fallback_mpp: float | None) -> SlideInfo:
    properties = handle.properties
    colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    in_file = _mpp_of_file(path, properties) if mpp is None else None
    spacing = next((value for value in (mpp, in_file, fallback_mpp) if value is not None), None)
    if spacing is None:
        raise SpacingError(
            f"{path}: the file does not say its µm/px; give it in the cohort's mpp column or with --slide-mpp"
        )
    if not (math.isfinite(spacing) and PLAUSIBLE_MPP[0] <= spacing <= PLAUSIBLE_MPP[1]):
        raise SpacingError(
            f"{path}: {spacing} µm/px is not between {PLAUSIBLE_MPP[0]} and {PLAUSIBLE_MPP[1]}; "
            "give the right one in the cohort's mpp column"
        )
    return SlideInfo(
        path=path,
        width=handle.dimensions[0],
        height=handle.dimensions[1],
        mpp=spacing,
        mpp_source="file" if in_file is not None else "given",
        level_downsamples=tuple(handle.level_downsamples),
        level_sizes=tuple(handle.level_dimensions),
        background=(int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)),
        vendor=properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
    )


def _mpp_of_file(path: Path, properties) -> float | None:
    try:
        x = float(properties[openslide.PROPERTY_NAME_MPP_X])
        y = float(properties[openslide.PROPERTY_NAME_MPP_Y])
    except (KeyError, ValueError):
        return None
    if not (x > 0 and y > 0 and abs(x - y) <= 0.05 * max(x, y)):
        raise SpacingError(
            f"{path}: the file says {x:g} µm/px in x and {y:g} in y, which differ by more than 5 % or are absurd; "
            "give the right one in the cohort's mpp column"
        )
    return (x + y) / 2


def _onto_background(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    # Outside the scan OpenSlide gives transparent black, which looks like tissue.
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    opacity = alpha.astype(np.float32) / 255
    return np.rint(rgb * opacity + np.asarray(background, np.float32) * (1 - opacity)).astype(np.uint8)
