"""An open slide: its size, µm/px and levels, and its pixels at any µm/px.

Frames: public methods take level-0 px; only `read_level` takes level px. See `geometry`.
"""

import math
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ..storage import SpacingError, UnreadableRegionError, format_location, parse_location
from .concentric import move_out, read_concentric
from .geometry import Region, Scale, floor_div
from .input_spec import InputSpec
from .overview import Overview, read_overview
from .readers import open_reader
from .slide_frame import SlideFrame
from .slide_info import SlideInfo
from .spacing import SNAP, choose_mpp, describe_too_coarse, read_file_mpp
from .tiled_image import RESAMPLED_TILE_PX, SCATTERED_TILE_PX, TiledImage, read_rectangle, resample
from .tiles import CACHE_BYTES, SlideTiles, TileCache, UnreadableTile
from .windows import read_windows

__all__ = ["Slide", "open_slide"]


def open_slide(
    path: str | Path,
    *,
    mpp: float | None = None,
    fallback_mpp: float | None = None,
    cache: TileCache | None = None,
) -> "Slide":
    """Open a slide with the fastest reader that gives OpenSlide's pixels; see docs/formats.md.

    mpp overrides the µm per level-0 px in the file; fallback_mpp is used only if the file states
    none. path may be a URL (s3://, gs://, https://). cache, which slides may share, keeps decoded
    tiles: for windows that are read one by one, from all over a slide.

    Raises:
        SlideError: no such file, or not a slide.
        SpacingError: no µm/px, an implausible one, or x and y that differ by more than 5 %.
    """
    location = parse_location(path, Path()) if isinstance(path, str) else path
    return Slide(location, mpp=mpp, fallback_mpp=fallback_mpp, cache=cache)


class Slide:
    """An open slide. It pickles as its path, so each process opens its own handle."""

    def __init__(
        self,
        path: Path | str,
        *,
        mpp: float | None = None,
        fallback_mpp: float | None = None,
        cache: TileCache | None = None,
    ) -> None:
        self._open_again = partial(Slide, path, mpp=mpp, fallback_mpp=fallback_mpp)
        self._reader, reason = open_reader(path)
        pyramid = self._reader.pyramid
        try:
            spacing = choose_mpp(path, pyramid, given=mpp, fallback=fallback_mpp)
        except SpacingError:
            self._reader.close()
            raise
        file_mpp = read_file_mpp(pyramid)
        self.info = SlideInfo.of_pyramid(
            pyramid,
            path=path,
            mpp=spacing,
            mpp_source="file" if mpp is None and file_mpp is not None else "given",
            file_mpp=file_mpp,
            reader=self._reader.name,
            reader_reason=reason,
        )
        self._tiles = SlideTiles(self._reader, name=format_location(path), cache=cache)

    def __reduce__(self):
        return self._open_again, ()

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

    @cached_property
    def frame(self) -> SlideFrame:
        """Size and position on the glass."""
        return SlideFrame.of_pyramid(self._reader.pyramid)

    @property
    def unreadable(self) -> tuple[UnreadableTile, ...]:
        """Tiles read so far that cannot be decoded, sorted by level, row and column."""
        return tuple(tile for _, tile in sorted(self._tiles.unreadable.items()))

    @property
    def tile_seconds(self) -> dict[str, float]:
        """Time so far in which tiles were read ("read") and decoded ("decode"), of all threads
        together (s). Readers other than our own count reading as decoding."""
        return {"read": self._tiles.read_seconds, "decode": self._tiles.decode_seconds}

    def scale(self, mpp: float, *, allow_upsampling: bool = False, network: str = "") -> Scale:
        """Choose the coarsest level that is fine enough for windows of mpp µm/px.

        network: noun of what was trained at mpp, for the message, see `describe_too_coarse`.

        Raises:
            SpacingError: mpp is more than 3 % finer than the slide, and allow_upsampling is False.
        """
        info = self.info
        if not (math.isfinite(mpp) and mpp > 0):
            raise SpacingError(
                f"{format_location(info.path)}: cannot be read at {mpp} µm/px; give a positive "
                "number"
            )
        if info.mpp / mpp - 1 > SNAP and not allow_upsampling:
            why = describe_too_coarse(info.mpp, wanted=mpp, network=network)
            raise SpacingError(f"{format_location(info.path)}: {why}")
        level = 0
        for candidate, downsample in enumerate(info.level_downsamples):
            if info.mpp * downsample <= mpp * (1 + SNAP):
                level = candidate
        downsample = info.level_downsamples[level]
        level_mpp = info.mpp * downsample
        snaps = abs(level_mpp / mpp - 1) <= SNAP
        return Scale(
            requested_mpp=mpp,
            mpp=level_mpp if snaps else mpp,
            level=level,
            level_downsample=downsample,
            level0=downsample if snaps else mpp / info.mpp,
        )

    def read_level(
        self, level: int, *, x: int, y: int, width: int, height: int, cached: bool = True
    ) -> np.ndarray:
        """Read a rectangle of one level, in level px: (height, width, 3) uint8 RGB.

        Parts outside the slide and transparent pixels show the background colour. With
        cached=False every tile is decoded now, which measures the speed of the file.

        Raises:
            UnreadableRegionError: pixels of the rectangle cannot be decoded.
        """
        pixels = read_rectangle(self._tiles.level(level, cached=cached), x, y, width, height)
        self._raise_if_any(self._tiles.find_unreadable(level, x, y, width, height))
        return pixels

    def read_region(
        self, region: Region, *, mpp: float, allow_upsampling: bool = False
    ) -> np.ndarray:
        """Read a level-0 rectangle at mpp µm/px: (rows, columns, 3) uint8 RGB.

        The result starts at the whole window px nearest to the region's corner. Parts outside the
        slide show the background colour.

        Raises:
            UnreadableRegionError: pixels of the region cannot be decoded.
        """
        scale = self.scale(mpp, allow_upsampling=allow_upsampling)
        step = self._window_px(scale)
        x, y = round(region.x / step[0]), round(region.y / step[1])
        width = max(1, round(region.width / step[0]))
        height = max(1, round(region.height / step[1]))
        pixels = read_rectangle(self._image(scale), x, y, width, height)
        self._raise_if_any(self._unreadable_under(scale, x, y, width, height))
        return pixels

    def stored_jpeg(self, region: Region, *, mpp: float) -> bytes | None:
        """Return the JPEG that the file itself stores for a rectangle, if it is exactly one tile of
        the level that `read_region` would read; else None. It decodes to the same pixels, or is
        damaged.
        """
        scale = self.scale(mpp)
        if scale.resample != 1:
            return None
        shape = self._reader.pyramid.levels[scale.level]
        across, down = shape.downsample_xy
        x, y = round(region.x / across), round(region.y / down)
        size = round(region.width / across), round(region.height / down)
        tile = shape.tile_width, shape.tile_height
        is_tile = size == tile and x % tile[0] == 0 and y % tile[1] == 0
        is_inside = 0 <= x <= shape.width - tile[0] and 0 <= y <= shape.height - tile[1]
        if not (is_tile and is_inside):
            return None
        return self._tiles.tile_jpeg(scale.level, floor_div(y, tile[1]), floor_div(x, tile[0]))

    def read_windows(
        self,
        xy: np.ndarray,
        *,
        size: int | tuple[int, int],
        mpp: float,
        allow_upsampling: bool = False,
        threads: int = 1,
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yield (index into xy, window) for equal windows, in an order that suits the slide.

        xy is (N, 2) integer level-0 (x, y) of the top left corners; size is the side, or (width,
        height), in window px. A window is (height, width, 3) uint8 RGB, or None if pixels of it
        cannot be decoded. It is read-only and shares memory with its neighbours: copy it to keep
        it. It starts at the whole window px nearest to its corner, and its pixels do not depend on
        the other windows.

        Every tile of the file is decoded once for all windows that touch it, on up to threads
        threads; tiles at the edges of stripes (see docs/formats.md) are decoded twice, and
        resampling decodes a little more often. Memory stays under 256 MB for tiles of up to 1024
        px and windows of up to 2000.
        """
        scale = self.scale(mpp, allow_upsampling=allow_upsampling)
        corners = np.rint(
            np.asarray(xy, np.float64).reshape(-1, 2) / self._window_px(scale)
        ).astype(np.int64)
        resampled = scale.resample != 1
        image = self._image(scale, cached=resampled or self._tiles.shares_cache)
        stripe_px = self._resampled_stripe_px(scale) if resampled else None
        sides = (size, size) if isinstance(size, int) else size
        for index, window in read_windows(
            image, corners, side=sides, threads=threads, stripe_px=stripe_px
        ):
            x, y = corners[index].tolist()
            yield index, None if self._unreadable_under(scale, x, y, *sides) else window

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
        scales = [self.scale(mpp, allow_upsampling=allow_upsampling) for mpp in spec.mpps]

        def read(corners: np.ndarray, scale: Scale) -> Iterator[tuple[int, np.ndarray | None]]:
            return self.read_windows(
                corners,
                size=side,
                mpp=scale.requested_mpp,
                allow_upsampling=allow_upsampling,
                threads=threads,
            )

        return read_concentric(read, np.asarray(xy).reshape(-1, 2), scales, side_px=side)

    def concentric_xy(
        self,
        xy: np.ndarray,
        *,
        size: int,
        mpp: float,
        finest_mpp: float,
        allow_upsampling: bool = False,
    ) -> np.ndarray:
        """Return where windows of mpp µm/px begin that `read_concentric` reads around windows of
        finest_mpp µm/px at xy: both (N, 2) int64, level-0 (x, y) top left; size in window px."""
        finest, scale = (
            self.scale(one, allow_upsampling=allow_upsampling) for one in (finest_mpp, mpp)
        )
        return move_out(np.asarray(xy).reshape(-1, 2), size, finest, scale)

    def overview(self, mpp: float) -> Overview:
        """Average the whole slide to about mpp µm/px or a little finer, in bounded memory."""
        return read_overview(self._tiles, downsample=mpp / self.info.mpp)

    def _window_px(self, scale: Scale) -> tuple[float, float]:
        """Level-0 px per window px in x and in y."""
        across, down = self._reader.pyramid.levels[scale.level].downsample_xy
        return (across, down) if scale.resample == 1 else (scale.level0, scale.level0)

    def _level_px(self, scale: Scale) -> tuple[float, float]:
        """Level px per window px in x and in y."""
        across, down = self._reader.pyramid.levels[scale.level].downsample_xy
        return (1.0, 1.0) if scale.resample == 1 else (scale.level0 / across, scale.level0 / down)

    def _image(self, scale: Scale, *, cached: bool = True) -> TiledImage:
        level = self._tiles.level(scale.level, cached=cached)
        if scale.resample == 1:
            return level
        tile_px = SCATTERED_TILE_PX if self._tiles.shares_cache else RESAMPLED_TILE_PX
        return resample(level, self._level_px(scale), tile_px=tile_px)

    def _resampled_stripe_px(self, scale: Scale) -> int:
        """Stripe width in window px for which the level's tiles under one row of resampled tiles
        fit in the slide's cache."""
        ratio = max(self._level_px(scale))
        rows = self._reader.pyramid.levels[scale.level].tile_height + RESAMPLED_TILE_PX * ratio
        return floor_div(CACHE_BYTES, 3 * ratio * rows)

    def _unreadable_under(
        self, scale: Scale, x: int, y: int, width: int, height: int
    ) -> list[UnreadableTile]:
        """Unreadable tiles under a rectangle in window px."""
        across, down = self._level_px(scale)
        # Enlarging interpolates between centres, which lie half a px outside the rectangle.
        reach = 0.5 if scale.resample < 1 else 0.0
        return self._tiles.find_unreadable(
            scale.level,
            x * across - reach,
            y * down - reach,
            width * across + 2 * reach,
            height * down + 2 * reach,
        )

    def _raise_if_any(self, unreadable: list[UnreadableTile]) -> None:
        if unreadable:
            first = unreadable[0]
            raise UnreadableRegionError(
                f"{format_location(self.info.path)}: cannot decode level {first.level}, tile row "
                f"{first.row}, column {first.column} ({len(unreadable)} such tiles here): "
                f"{first.reason}"
            )
