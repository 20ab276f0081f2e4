"""Slides described by their TIFF directories alone, for files that OpenSlide refuses, sees only in
part, or cannot reach.

The rules for levels, downsamples and µm/px are OpenSlide's.
"""

import logging
import math
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

import tifffile
from defusedxml import DefusedXmlException, ElementTree

from ...storage import SlideError
from ..geometry import ceil_div
from .left_out import ImageInFile, log_left_out
from .ome_xml import describe_unfit_pixels, ome_mpp_xy, read_ome_pixels
from .pyramid import Pyramid, PyramidLevel, describe_not_brightfield
from .tiff_reader import TiffLevel, describe_colours, describe_unfit_tiles, read_tiff_level
from .units import parse_number, to_um

__all__ = [
    "TiffSlide",
    "count_segments",
    "find_slide_page",
    "log_unused_pages",
    "page_mpp_xy",
    "read_tiff_slide",
    "require_brightfield",
    "tiff_vendor",
]

logger = logging.getLogger(__name__)

MOST_DIRECTORIES = 1000
ROUNDED_PX = 1.5  # level px: largest rounding error of a level's width or height
OPENSLIDE_ONLY = {"ndpi": "Hamamatsu NDPI", "scn": "Leica SCN", "bif": "Ventana BIF"}
UNITS = {2: "inch", 3: "cm"}  # TIFF's ResolutionUnit
PHILIPS_LEVELS = (
    ".//DataObject[@ObjectType='PixelDataRepresentation']/Attribute[@Name='DICOM_PIXEL_SPACING']"
)


@dataclass(frozen=True, kw_only=True)
class TiffSlide:
    """Levels of a slide and the positions of their tiles."""

    pyramid: Pyramid
    levels: tuple[TiffLevel, ...]


def read_tiff_slide(tiff: tifffile.TiffFile, *, strict: bool = True) -> TiffSlide:
    """Read the slide of an open TIFF, without directories that are damaged or fit no level.

    strict: see `read_tiff_level`.

    Raises:
        SlideError: no brightfield slide, or one that only OpenSlide reads. The message is the
            reason alone.
    """
    first = require_brightfield(tiff)
    for flag, format_name in OPENSLIDE_ONLY.items():
        if flag in tiff.flags:
            raise SlideError(
                f"{format_name} stores its tiles in a layout that only OpenSlide reads"
            )
    unfit = describe_unfit_tiles(first)
    if unfit:
        raise SlideError(f"{_name_image(tiff, first)} cannot be read by its tiles: {unfit}")
    stored = read_tiff_level(first, strict=strict)
    if stored is None:
        raise SlideError(
            f"not a slide, or a damaged one: {_name_image(tiff, first)} has no readable tiles"
        )
    whole = first.imagewidth, first.imagelength
    levels = [(_level(first, whole, whole, None), stored)]
    used = {first.offset}
    spacings = _philips_spacings(first.description) if tiff.is_philips else []
    for number, page in enumerate(_reduced_pages(tiff, first), start=1):
        stated = round(sum(spacings[number]) / sum(spacings[0])) if number < len(spacings) else None
        size = page.imagewidth, page.imagelength
        if stated:
            size = whole[0] // stated, whole[1] // stated
        stored = read_tiff_level(page, strict=strict) if _fits(size, levels[-1][0], whole) else None
        if stored is not None and stored.counts.any():  # else it shows background only
            levels.append((_level(page, size, whole, stated), stored))
            used.add(page.offset)
    further_scans = log_unused_pages(tiff, used)
    pyramid = Pyramid(
        levels=tuple(level for level, _ in levels),
        mpp_xy=(spacings[0][0] * 1e3, spacings[0][1] * 1e3)
        if spacings
        else page_mpp_xy(tiff, first),
        vendor=tiff_vendor(tiff),
        further_scans=further_scans,
    )
    return TiffSlide(pyramid=pyramid, levels=tuple(stored for _, stored in levels))


def find_slide_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the largest image, the first of those of one size.

    Thumbnails, labels and macro images may come before the slide.
    """
    tiff.pages.cache = True  # every directory is parsed once
    first = tiff.pages.first
    pages = [first, *_readable_pages(tiff.pages, 1)]
    for page in sorted(pages, key=lambda page: -page.imagewidth * page.imagelength):
        # One changed byte states an image of any size, so its pixels must be there.
        if page is first or len(page.dataoffsets) >= count_segments(page) > 0:
            return page
    return first


def count_segments(page: tifffile.TiffPage) -> int:
    """Number of tiles or strips that an image of its size needs."""
    across, down = page.imagewidth, page.rowsperstrip
    if page.is_tiled:
        across, down = page.tilewidth, page.tilelength
    if not (across and down):
        return 0
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    return planes * ceil_div(page.imagewidth, across) * ceil_div(page.imagelength, down)


def log_unused_pages(tiff: tifffile.TiffFile, used: Container[int]) -> str:
    """Log which images of the file are no level; used has the offsets of those that are.

    Return a list of further scans; see `log_left_out`.
    """
    rest = [
        ImageInFile(
            number=page.index + 1,
            width=page.imagewidth,
            height=page.imagelength,
            # Only OME-TIFF states the scale of every image; others repeat that of the slide.
            mpp_xy=ome_mpp_xy(read_ome_pixels(tiff, page)) if tiff.is_ome else None,
        )
        for page in _readable_pages(tiff.pages, 0)
        if page.offset not in used
    ]
    slide_mpp = ome_mpp_xy(read_ome_pixels(tiff, find_slide_page(tiff))) if tiff.is_ome else None
    return log_left_out(tiff.filename, slide_mpp, rest)


def require_brightfield(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the image that is the slide.

    Raises:
        SlideError: it is not 8-bit RGB. The message is the reason alone.
    """
    page = find_slide_page(tiff)
    unfit = describe_unfit_pixels(read_ome_pixels(tiff, page)) if tiff.is_ome else None
    if unfit is None and (page.photometric not in (2, 6) or page.samplesperpixel != 3):
        unfit = f"{_name_image(tiff, page)} has {describe_colours(page)}, expected red, green, blue"
    elif unfit is None and page.bitspersample != 8:
        unfit = f"its pixels have {page.bitspersample} bits per channel, expected 8"
    if unfit:
        raise SlideError(describe_not_brightfield(unfit))
    if not (page.imagewidth and page.imagelength and page.imagedepth == 1):
        raise SlideError(
            f"not a slide, or a damaged one: {page.imagewidth} × {page.imagelength} px"
        )
    return page


def _name_image(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> str:
    return "its first image" if page is tiff.pages.first else f"its largest image, {page.index + 1}"


def page_mpp_xy(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float, float] | None:
    """µm/px of one image in x and in y, from the vendor's metadata or else TIFF's resolution."""
    stated_by_ome = ome_mpp_xy(read_ome_pixels(tiff, page)) if tiff.is_ome else None
    if stated_by_ome:
        return stated_by_ome
    if tiff.is_svs:
        return _aperio_mpp_xy(page.description)
    per_unit = [_ratio(page, name) for name in ("XResolution", "YResolution")]
    unit = page.tags.get("ResolutionUnit")
    um = to_um(1.0, UNITS.get(int(unit.value) if unit else 2))
    if um is None or not all(math.isfinite(number) and number > 0 for number in per_unit):
        return None
    return um / per_unit[0], um / per_unit[1]


def _aperio_mpp_xy(description: str) -> tuple[float, float] | None:
    stated = re.search(r"\|\s*MPP\s*=\s*([^|\s]+)", description)
    try:
        mpp = parse_number(stated[1]) if stated else None
    except ValueError:
        return None
    return None if mpp is None else (mpp, mpp)


def _ratio(page: tifffile.TiffPage, name: str) -> float:
    tag = page.tags.get(name)
    over, under = tag.value if tag else (0, 1)
    return over / under if under else 0.0


def tiff_vendor(tiff: tifffile.TiffFile) -> str:
    """Vendor by OpenSlide's name; OME-TIFF, for which OpenSlide has none, is "ome-tiff"."""
    names = {"ome": "ome-tiff", "svs": "aperio", "philips": "philips"}
    return next((name for flag, name in names.items() if flag in tiff.flags), "generic-tiff")


def _reduced_pages(tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """Return the directories that may hold further levels, largest first."""
    if first.subifds:
        pages = list(_readable_pages(first.pages, 0))
    else:
        pages = [
            page
            for page in _readable_pages(tiff.pages, 0)
            if page.offset != first.offset
            and page.is_tiled
            and (page.is_reduced or tiff.is_svs or tiff.is_philips)
        ]
    return sorted(pages, key=lambda page: -page.imagewidth)


def _readable_pages(pages: tifffile.TiffPages | None, start: int) -> Iterator[tifffile.TiffPage]:
    offsets = set()
    for index in range(start, MOST_DIRECTORIES):
        try:
            page = pages[index].aspage() if pages is not None else None
        except IndexError:
            return
        except Exception as error:  # damaged bytes cause errors of any class
            logger.info("directory %d cannot be read: %s", index, error)
            continue
        # tifffile detects a loop among directories only where it lists all of them at once.
        if page is None or page.offset in offsets:
            return
        offsets.add(page.offset)
        yield page


def _fits(size: tuple[int, int], finer: PyramidLevel, whole: tuple[int, int]) -> bool:
    """Test whether an image of that size shows the whole slide, smaller than the level before."""
    if not (0 < size[0] < finer.width and 0 < size[1] <= finer.height):
        return False
    least = max(length / (px + ROUNDED_PX) for length, px in zip(whole, size, strict=True))
    most = min(length / max(px - ROUNDED_PX, 0.1) for length, px in zip(whole, size, strict=True))
    return least <= most


def _level(
    page: tifffile.TiffPage, size: tuple[int, int], whole: tuple[int, int], stated: float | None
) -> PyramidLevel:
    """Geometry of one page; stated is the downsample stated in the file, if any."""
    ratio = whole[0] / size[0], whole[1] / size[1]
    return PyramidLevel(
        width=size[0],
        height=size[1],
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        downsample=stated or (ratio[0] + ratio[1]) / 2,
        downsample_xy=(stated, stated) if stated else ratio,
    )


def _philips_spacings(xml: str) -> list[tuple[float, float]]:
    """mm per px in x and in y of each level, finest first."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        return []
    # The y spacing comes first; each number is in its own quotes.
    pairs = [
        (element.text or "").replace('"', " ").split() for element in root.iterfind(PHILIPS_LEVELS)
    ]
    try:
        spacings = [
            (parse_number(pair[1]), parse_number(pair[0])) for pair in pairs if len(pair) == 2
        ]
    except ValueError:
        return []
    return spacings if all(math.isfinite(px) and px > 0 for pair in spacings for px in pair) else []
