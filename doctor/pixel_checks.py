"""What a slide says of its pixels, and whether a sample of them can be decoded.

Frames: tiles are counted (row, column) on their level; what `tissue` is asked for is level-0 px.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..cohort import CohortSlide
from ..storage import SlideError, UnreadableRegionError
from ..wsi import Region, Slide, SlideInfo, TissueMask, ceil_div, open_slide
from .findings import Finding, error, note, warning
from .settings import DoctorSettings, SampleSettings

__all__ = ["COPY_AGAIN", "PixelFacts", "TileSample", "check_pixels", "overview_mpx", "sample_tiles"]

OPENSLIDE = "OpenSlide"
LARGE_MPX = 64.0  # an overview that reads more takes seconds
PROVEN, REFUSED = (
    "compared tiles are equal",
    "OpenSlide refuses the file",
)  # how a reader's reason begins
SCANNERS_MPP = (0.1, 2.0)  # from 100X with oil to about 5X
LARGEST_MM = 80.0  # a microscope slide is 76 mm long
UNLIKE = 0.03  # share by which two µm/px may differ and read the same level
POWER_OF_TWO = 0.02  # a level's size is rounded up: 513.1 is still 512
TILES_LOOKED_UP = 2**18
COPY_AGAIN = "copy the file again; the run would go on without what cannot be read"


@dataclass(frozen=True, kw_only=True)
class PixelFacts:
    """What the file says. Sizes in level-0 px; mpp in µm per level-0 px."""

    width: int
    height: int
    mpp: float
    mpp_source: str
    vendor: str
    reader: str
    reader_reason: str
    level_downsamples: tuple[float, ...]
    bounds: Region | None
    """Where the scanned part lies, if the file tells."""

    @classmethod
    def of(cls, info: SlideInfo) -> "PixelFacts":
        return cls(
            width=info.width,
            height=info.height,
            mpp=info.mpp,
            mpp_source=info.mpp_source,
            vendor=info.vendor,
            reader=info.reader,
            reader_reason=info.reader_reason,
            level_downsamples=info.level_downsamples,
            bounds=info.bounds,
        )


@dataclass(frozen=True, kw_only=True)
class TileSample:
    """Tiles of all levels that were decoded, and how fast those of the finest one were, on one
    core."""

    sampled: int
    unreadable: int
    mpx_per_s: float | None
    """Million px a second; None where no tile could be decoded."""


def overview_mpx(slide: Slide, mpp: float) -> float:
    """Million px that are read to see the whole slide at mpp µm/px."""
    width, height = slide.info.level_sizes[slide.scale(mpp, allow_upsampling=True).level]
    return width * height / 1e6


def check_pixels(slide: Slide, row: CohortSlide, settings: DoctorSettings) -> Iterator[Finding]:
    """Findings on the reader, µm/px, levels and bounds: what is known without decoding."""
    info = slide.info
    yield from _reader(info)
    yield from _given(info, row)
    yield from _plausible(info)
    yield from _scale(info, settings)
    yield from _levels(slide, settings)
    if info.bounds is not None and (info.bounds.width, info.bounds.height) != (
        info.width,
        info.height,
    ):
        share = info.bounds.width * info.bounds.height / (info.width * info.height)
        yield note(
            "bounds", f"the scanned part is {share:.0%} of the slide; the rest is background"
        )


def _reader(info: SlideInfo) -> Iterator[Finding]:
    why = info.reader_reason
    if why.startswith(REFUSED):
        yield warning(
            "reader", f"{why}: it may be cut short", "copy the file again and compare its size"
        )
    elif info.reader == OPENSLIDE:
        yield note("reader", f"read by OpenSlide, several times slower than native tiles: {why}")
    elif not why.startswith(PROVEN):
        yield note("reader", f"{info.reader}, not compared with OpenSlide: {why}")


def _given(info: SlideInfo, row: CohortSlide) -> Iterator[Finding]:
    if info.mpp_source == "given":
        by = "--slide-mpp" if row.mpp is None else "the cohort"
        said = None if row.mpp is None else _mpp_of_file(row)
        if said is not None and abs(said / info.mpp - 1) > UNLIKE:
            advice = (
                "empty the mpp column if the file is right; keep it if the file is known to be "
                "wrong"
            )
            yield warning("µm/px", f"the cohort says {info.mpp:g} µm/px, the file {said:g}", advice)
        else:
            yield note("µm/px", f"{info.mpp:g} µm/px is given by {by}")


def _plausible(info: SlideInfo) -> Iterator[Finding]:
    advice = "look whether it is right; if not, give the right one in the mpp column"
    width_mm, height_mm = info.width * info.mpp / 1e3, info.height * info.mpp / 1e3
    if not SCANNERS_MPP[0] <= info.mpp <= SCANNERS_MPP[1]:
        low, high = SCANNERS_MPP
        yield warning(
            "µm/px", f"{info.mpp:g} µm/px, while slide scanners give {low:g} to {high:g}", advice
        )
    elif max(width_mm, height_mm) > LARGEST_MM:
        says = (
            f"{info.mpp:g} µm/px makes it {width_mm:.0f} × {height_mm:.0f} mm, longer than a "
            "microscope slide"
        )
        yield warning("µm/px", says, advice)


def _scale(info: SlideInfo, settings: DoctorSettings) -> Iterator[Finding]:
    wanted = settings.tile.mpp
    if info.mpp * (1 - UNLIKE) > wanted:
        says = f"holds {info.mpp:g} µm/px, coarser than the {wanted:g} asked for"
        if settings.tile.allow_upsampling:
            yield warning(
                "scale",
                f"{says}; it will be enlarged, with no more detail",
                "expect lower figures on it",
            )
        else:
            advice = (
                f"ask for --mpp {info.mpp:.4g} or coarser, leave the slide out, or pass "
                "--allow-upsampling"
            )
            yield error("scale", says, advice)


def _mpp_of_file(row: CohortSlide) -> float | None:
    try:
        with open_slide(row.path) as slide:
            return slide.info.mpp
    except SlideError:
        return None


def _levels(slide: Slide, settings: DoctorSettings) -> Iterator[Finding]:
    info, mpp = slide.info, settings.tile.tissue.mpp
    mpx = overview_mpx(slide, mpp)
    if mpx > LARGE_MPX:
        what = (
            "one level only"
            if len(info.level_sizes) == 1
            else "no level near the scale of the tissue mask"
        )
        says = f"{what}: each stage reads {mpx:.0f} million px just to find tissue at {mpp:g} µm/px"
        if mpx > settings.sample.overview_mpx:
            says += "; tissue was not looked for here, so nothing is estimated"
        yield warning(
            "levels", says, "write a pyramid, for example with vips tiffsave --tile --pyramid"
        )
    odd = [
        d for d in info.level_downsamples if abs(2 ** round(math.log2(d)) / d - 1) > POWER_OF_TWO
    ]
    if odd:
        yield note(
            "levels",
            f"downsamples that are no power of two: {', '.join(f'{d:g}' for d in odd)}; read as "
            "such",
        )


def sample_tiles(
    slide: Slide, tissue: TissueMask | None, settings: SampleSettings
) -> tuple[TileSample, list[Finding]]:
    """Decode some tiles of every level, over tissue where there is any. The slide must not have
    read any before."""
    sampled, decoded_px, seconds = 0, 0, 0.0
    for level in range(len(slide.info.level_sizes)):
        for x, y, width, height in _spread(slide.info, level, tissue, settings):
            sampled += 1
            start = time.perf_counter()
            try:
                slide.read_level(level, x=x, y=y, width=width, height=height)
            except UnreadableRegionError:
                continue
            if level == 0:
                seconds += time.perf_counter() - start
                decoded_px += width * height
    lost = slide.unreadable
    sample = TileSample(
        sampled=sampled,
        unreadable=len(lost),
        mpx_per_s=decoded_px / 1e6 / seconds if decoded_px else None,
    )
    if not lost:
        return sample, []
    first = lost[0]
    says = (
        f"{len(lost)} of {sampled} sampled tiles ({len(lost) / sampled:.0%}) cannot be decoded, "
        f"the first on level {first.level}, row {first.row}, column {first.column}: {first.reason}"
    )
    return sample, [error("tiles", says, COPY_AGAIN)]


def _spread(
    info: SlideInfo, level: int, tissue: TissueMask | None, settings: SampleSettings
) -> Iterator[tuple[int, int, int, int]]:
    """(x, y, width, height) in level px of tiles spread evenly over those with tissue, else over
    all."""
    (width, height), (across, down) = info.level_sizes[level], info.level_tiles[level]
    columns, rows = ceil_div(width, across), ceil_div(height, down)
    tiles = np.linspace(0, rows * columns - 1, min(rows * columns, TILES_LOOKED_UP)).astype(
        np.int64
    )
    if tissue is not None:
        row, column = np.divmod(tiles, columns)
        corners = np.stack([column * across, row * down], axis=1) * info.level_downsamples[level]
        share = tissue.fraction(
            corners, side_level0=max(across, down) * info.level_downsamples[level]
        )
        tiles = tiles[share > 0] if (share > 0).any() else tiles
    count = min(len(tiles), settings.tiles if level == 0 else settings.tiles_per_level)
    for tile in tiles[np.linspace(0, len(tiles) - 1, count).astype(np.int64)].tolist():
        x, y = tile % columns * across, tile // columns * down
        yield x, y, min(across, width - x), min(down, height - y)
