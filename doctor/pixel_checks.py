"""Checks of a slide's metadata, and of a sample of its tiles.

Frames: tiles are counted (row, column) on their level; the tissue mask is addressed in level-0 px.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..cohort import CohortSlide
from ..storage import UnreadableRegionError
from ..wsi import Slide, SlideInfo, TissueMask, ceil_div, describe_unlikely_mpp
from .findings import Finding, error, note, warning
from .settings import DoctorSettings, SampleSettings

__all__ = ["COPY_AGAIN", "TileSample", "check_pixels", "overview_mpx", "sample_tiles"]

OPENSLIDE = "OpenSlide"
LARGE_MPX = 64.0  # a larger overview takes seconds
COMPARED, REFUSED = "compared tiles are equal", "OpenSlide refuses the file"  # readers' reasons
LARGEST_MM = 80.0  # a microscope slide is 76 mm long
SAME_MPP = 0.03  # two µm/px that differ by a smaller share are read from the same level
POWER_OF_TWO = 0.02  # tolerance: sizes are rounded up, so 513.1 counts as 512
MOST_CANDIDATES = 2**18  # tiles that are compared with the tissue mask
COPY_AGAIN = "copy the file again; a run skips the tiles that cannot be read"
VERIFY_MPP = "verify it; if it is wrong, give the right one in the mpp column"


@dataclass(frozen=True, kw_only=True)
class TileSample:
    """Number of tiles sampled over all levels, and the speed of the finest level on one core."""

    sampled: int
    unreadable: int
    mpx_per_s: float | None
    """Million px per second; None if no tile could be decoded."""


def overview_mpx(slide: Slide, mpp: float) -> float:
    """Million px that are read for an overview of the slide at mpp µm/px."""
    width, height = slide.info.level_sizes[slide.scale(mpp, allow_upsampling=True).level]
    return width * height / 1e6


def check_pixels(slide: Slide, row: CohortSlide, settings: DoctorSettings) -> Iterator[Finding]:
    """Check reader, µm/px, levels and bounds, without decoding anything."""
    info = slide.info
    yield from _check_reader(info)
    yield from _check_given_mpp(info, row)
    yield from _check_plausible_mpp(info)
    yield from _check_scale(info, settings)
    yield from _check_levels(slide, settings)
    if info.further_scans:
        yield warning(
            "reader",
            f"only the largest image is read, and not {info.further_scans} of the same µm/px",
            "export each scan to a file of its own",
        )
    bounds = info.bounds
    if bounds is not None and (bounds.width, bounds.height) != (info.width, info.height):
        share = bounds.width * bounds.height / (info.width * info.height)
        yield note(
            "bounds", f"the scanned part is {share:.0%} of the slide; the rest is background"
        )


def _check_reader(info: SlideInfo) -> Iterator[Finding]:
    reason = info.reader_reason
    if reason.startswith(REFUSED):
        yield warning(
            "reader", f"{reason}: it may be truncated", "copy the file again and compare its size"
        )
    elif info.reader == OPENSLIDE:
        yield note("reader", f"read by OpenSlide, several times slower than native tiles: {reason}")
    elif not reason.startswith(COMPARED):
        yield note("reader", f"{info.reader}, not compared with OpenSlide: {reason}")


def _check_given_mpp(info: SlideInfo, row: CohortSlide) -> Iterator[Finding]:
    if info.mpp_source != "given":
        return
    if row.mpp is None:
        yield note("µm/px", f"{info.mpp:g} µm/px, from --slide-mpp")
    elif info.file_mpp is None or abs(info.file_mpp / info.mpp - 1) <= SAME_MPP:
        yield note("µm/px", f"{info.mpp:g} µm/px, from the cohort")
    else:
        yield warning(
            "µm/px",
            f"{info.mpp:g} µm/px in the cohort, {info.file_mpp:g} in the file",
            "empty the mpp column if the file is right; keep it if the file is wrong",
        )


def _check_plausible_mpp(info: SlideInfo) -> Iterator[Finding]:
    width_mm, height_mm = info.width * info.mpp / 1e3, info.height * info.mpp / 1e3
    unlikely = describe_unlikely_mpp(info.mpp)
    if unlikely:
        yield warning("µm/px", unlikely, VERIFY_MPP)
    elif max(width_mm, height_mm) > LARGEST_MM:
        yield warning(
            "µm/px",
            f"{info.mpp:g} µm/px gives {width_mm:.0f} × {height_mm:.0f} mm, longer than a "
            "microscope slide",
            VERIFY_MPP,
        )


def _check_scale(info: SlideInfo, settings: DoctorSettings) -> Iterator[Finding]:
    requested = settings.tile.mpp
    if info.mpp * (1 - SAME_MPP) <= requested:
        return
    message = f"{info.mpp:g} µm/px, coarser than the requested {requested:g}"
    if settings.tile.allow_upsampling:
        yield warning(
            "scale", f"{message}; it will be enlarged without detail", "expect lower figures on it"
        )
    else:
        yield error(
            "scale",
            message,
            f"give --mpp {info.mpp:.4g} or more, leave the slide out, or pass --allow-upsampling",
        )


def _check_levels(slide: Slide, settings: DoctorSettings) -> Iterator[Finding]:
    info, mpp = slide.info, settings.tile.tissue.mpp
    mpx = overview_mpx(slide, mpp)
    if mpx > LARGE_MPX:
        levels = "one level only" if len(info.level_sizes) == 1 else f"no level near {mpp:g} µm/px"
        message = f"{levels}: every stage reads {mpx:.0f} million px to detect tissue"
        if mpx > settings.sample.overview_mpx:
            message += "; tissue was not detected here, so nothing is estimated"
        yield warning(
            "levels", message, "write a pyramid, for example with vips tiffsave --tile --pyramid"
        )
    odd = [
        downsample
        for downsample in info.level_downsamples
        if abs(2 ** round(math.log2(downsample)) / downsample - 1) > POWER_OF_TWO
    ]
    if odd:
        numbers = ", ".join(f"{downsample:g}" for downsample in odd)
        yield note("levels", f"downsamples that are no powers of two: {numbers}; used as they are")


def sample_tiles(
    slide: Slide, tissue: TissueMask | None, settings: DoctorSettings
) -> tuple[TileSample, list[Finding]]:
    """Decode some tiles of every level, over tissue if there is any."""
    info, sampled, decoded_px, seconds = slide.info, 0, 0, 0.0
    read_by_run = _levels_read(slide, settings)
    failed: set[tuple[int, int, int]] = set()
    for level in range(len(info.level_sizes)):
        (level_width, level_height), (across, down) = (
            info.level_sizes[level],
            info.level_tiles[level],
        )
        for row, column in _choose_tiles(info, level, tissue, settings.sample):
            sampled += 1
            x, y = column * across, row * down
            width, height = min(across, level_width - x), min(down, level_height - y)
            start = time.perf_counter()
            try:
                slide.read_level(level, x=x, y=y, width=width, height=height, cached=False)
            except UnreadableRegionError:
                failed.add((level, row, column))
                continue
            if level == 0:
                seconds += time.perf_counter() - start
                decoded_px += width * height
    sample = TileSample(
        sampled=sampled,
        unreadable=len(failed),
        mpx_per_s=decoded_px / 1e6 / seconds if decoded_px else None,
    )
    if not failed:
        return sample, []
    # Tiles that cost a run pixels come first.
    lost = [tile for tile in slide.unreadable if (tile.level, tile.row, tile.column) in failed]
    first = min(lost, key=lambda tile: tile.level not in read_by_run)
    message = (
        f"{len(failed)} of {sampled} sampled tiles ({len(failed) / sampled:.0%}) cannot be "
        f"decoded, the first on level {first.level}, row {first.row}, column {first.column}: "
        f"{first.reason}"
    )
    if first.level in read_by_run:
        return sample, [error("tiles", message, COPY_AGAIN)]
    advice = f"none is on a level that a run at {settings.tile.mpp:g} µm/px reads; copy the file "
    return sample, [warning("tiles", message, f"{advice}again to read them at others")]


def _levels_read(slide: Slide, settings: DoctorSettings) -> set[int]:
    """Levels that tiling and prediction read; where tissue was detected, also those of its lost
    tiles."""
    spacings = {
        *settings.tile.input_spec.mpps,
        settings.tile.tissue.mpp,
        settings.predict.tissue.mpp,
    }
    levels = {slide.scale(mpp, allow_upsampling=True).level for mpp in spacings}
    return levels | {tile.level for tile in slide.unreadable}


def _choose_tiles(
    info: SlideInfo, level: int, tissue: TissueMask | None, settings: SampleSettings
) -> list[tuple[int, int]]:
    """(row, column) of tiles, spread evenly over those with tissue or else over all."""
    (width, height), (across, down) = info.level_sizes[level], info.level_tiles[level]
    columns, total = ceil_div(width, across), ceil_div(width, across) * ceil_div(height, down)
    tiles = np.linspace(0, total - 1, min(total, MOST_CANDIDATES)).astype(np.int64)
    if tissue is not None:
        row, column = np.divmod(tiles, columns)
        corners = np.stack([column * across, row * down], axis=1) * info.level_downsamples[level]
        share = tissue.fraction(
            corners, side_level0=max(across, down) * info.level_downsamples[level]
        )
        tiles = tiles[share > 0] if (share > 0).any() else tiles
    count = min(len(tiles), settings.tiles if level == 0 else settings.tiles_per_level)
    chosen = tiles[np.linspace(0, len(tiles) - 1, count).astype(np.int64)]
    return [divmod(tile, columns) for tile in chosen.tolist()]
