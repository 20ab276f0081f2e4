"""A TIFF slide as its own directories tell it: for files that OpenSlide refuses, sees in part, or
cannot reach.

OpenSlide's rules are kept for what is a level, how many level-0 px its px are wide, and how wide
those are in µm.
"""

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import tifffile
from defusedxml import DefusedXmlException, ElementTree

from ...storage import SlideError
from .ome_xml import ome_image
from .pyramid import Pyramid, PyramidLevel
from .tiff_reader import TiffLevel, tiff_level
from .units import um_of

__all__ = ["TiffSlide", "brightfield_page", "page_mpp_xy", "tiff_slide", "tiff_vendor"]

logger = logging.getLogger(__name__)

MOST_DIRECTORIES = 1000
ROUNDED_PX = 1.5  # level px: by so much a level's width or height may be off
LAID_OUT_ELSEWHERE = {"ndpi": "Hamamatsu NDPI", "scn": "Leica SCN", "bif": "Ventana BIF"}
UNITS = {2: "inch", 3: "cm"}  # TIFF's ResolutionUnit
PHILIPS_LEVELS = (
    ".//DataObject[@ObjectType='PixelDataRepresentation']/Attribute[@Name='DICOM_PIXEL_SPACING']"
)


@dataclass(frozen=True, kw_only=True)
class TiffSlide:
    """A slide's levels, and where their tiles lie."""

    pyramid: Pyramid
    levels: tuple[TiffLevel, ...]


def tiff_slide(tiff: tifffile.TiffFile, *, strict: bool = True) -> TiffSlide:
    """The slide of an open TIFF; directories that are lost or fit nowhere are left out. strict: see
    `tiff_level`.

    Raises:
        SlideError: no brightfield slide, or none without OpenSlide. Its message is the reason
        alone.
    """
    first = brightfield_page(tiff)
    for flag, words in LAID_OUT_ELSEWHERE.items():
        if flag in tiff.flags:
            raise SlideError(f"the tiles of {words} lie where only OpenSlide finds them")
    place = tiff_level(first, strict=strict)
    if place is None:
        raise SlideError(
            "not a slide, or a damaged one: its first image has no tiles that can be read"
        )
    whole = first.imagewidth, first.imagelength
    levels = [(_level(first, whole, whole, None), place)]
    spacings = _philips_spacings(first.description) if tiff.is_philips else []
    for number, page in enumerate(_reduced(tiff, first), start=1):
        told = round(sum(spacings[number]) / sum(spacings[0])) if number < len(spacings) else None
        size = page.imagewidth, page.imagelength
        if told:
            size = whole[0] // told, whole[1] // told
        place = tiff_level(page, strict=strict) if _fits(size, levels[-1][0], whole) else None
        if place is not None:
            levels.append((_level(page, size, whole, told), place))
    pyramid = Pyramid(
        levels=tuple(level for level, _ in levels),
        mpp_xy=(spacings[0][0] * 1e3, spacings[0][1] * 1e3) if spacings else page_mpp_xy(tiff),
        vendor=tiff_vendor(tiff),
    )
    return TiffSlide(pyramid=pyramid, levels=tuple(place for _, place in levels))


def brightfield_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """The first image.

    Raises:
        SlideError: it is not 8-bit RGB. Its message is the reason alone.
    """
    page = tiff.pages.first
    unfit = ome_image(page.description).unfit if tiff.is_ome else None
    if page.photometric not in (2, 6) or page.samplesperpixel != 3:
        unfit = (
            unfit
            or f"an image of it has {page.samplesperpixel} channel(s), expected red, green and blue"
        )
    elif page.bitspersample != 8:
        unfit = unfit or f"its pixels have {page.bitspersample} bits a channel, expected 8"
    if unfit:
        raise SlideError(f"not a brightfield slide: {unfit}")
    if not (page.imagewidth and page.imagelength and page.imagedepth == 1):
        raise SlideError(
            f"not a slide, or a damaged one: {page.imagewidth} × {page.imagelength} px"
        )
    return page


def page_mpp_xy(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """µm per px of the first image in x and in y: by its maker's word, else by TIFF's
    resolution."""
    page = tiff.pages.first
    if tiff.is_ome:
        found = ome_image(page.description).mpp_xy
        if found:
            return found
    if tiff.is_svs:
        said = re.search(r"\|\s*MPP\s*=\s*([\d.]+)", page.description)
        return (float(said[1]), float(said[1])) if said else None
    per_unit = [_ratio(page, name) for name in ("XResolution", "YResolution")]
    unit = page.tags.get("ResolutionUnit")
    um = um_of(1.0, UNITS.get(int(unit.value) if unit else 2))
    if um is None or not all(math.isfinite(number) and number > 0 for number in per_unit):
        return None
    return um / per_unit[0], um / per_unit[1]


def _ratio(page: tifffile.TiffPage, name: str) -> float:
    tag = page.tags.get(name)
    over, under = tag.value if tag else (0, 1)
    return over / under if under else 0.0


def tiff_vendor(tiff: tifffile.TiffFile) -> str:
    """OpenSlide's name of the maker; it has none for OME-TIFF."""
    names = {"ome": "ome-tiff", "svs": "aperio", "philips": "philips"}
    return next((name for flag, name in names.items() if flag in tiff.flags), "generic-tiff")


def _reduced(tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> Iterator[tifffile.TiffPage]:
    """The directories that may hold further levels, in the file's order."""
    if first.subifds:
        yield from _readable(first.pages, 0)
        return
    for page in _readable(tiff.pages, 1):
        if page.is_tiled and (page.is_reduced or tiff.is_svs or tiff.is_philips):
            yield page


def _readable(pages: tifffile.TiffPages | None, start: int) -> Iterator[tifffile.TiffPage]:
    for index in range(start, MOST_DIRECTORIES):
        try:
            page = pages[index].aspage() if pages is not None else None
        except IndexError:
            return
        except Exception as error:  # a directory of random bytes meets errors of all kinds
            logger.info("directory %d cannot be read: %s", index, error)
            continue
        if page is not None:
            yield page


def _fits(size: tuple[int, int], finer: PyramidLevel, whole: tuple[int, int]) -> bool:
    """Whether an image of that size shows the whole slide, smaller than the level before."""
    if not (0 < size[0] < finer.width and 0 < size[1] <= finer.height):
        return False
    least = max(length / (px + ROUNDED_PX) for length, px in zip(whole, size, strict=True))
    most = min(length / max(px - ROUNDED_PX, 0.1) for length, px in zip(whole, size, strict=True))
    return least <= most


def _level(
    page: tifffile.TiffPage, size: tuple[int, int], whole: tuple[int, int], told: float | None
) -> PyramidLevel:
    """told is the downsample where the file says it."""
    ratio = whole[0] / size[0], whole[1] / size[1]
    return PyramidLevel(
        width=size[0],
        height=size[1],
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        downsample=told or (ratio[0] + ratio[1]) / 2,
        downsample_xy=(told, told) if told else ratio,
    )


def _philips_spacings(xml: str) -> list[tuple[float, float]]:
    """mm per px in x and in y of each level, the finest first."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        return []
    # The y spacing comes first, each in quotes of its own.
    pairs = [
        (element.text or "").replace('"', " ").split() for element in root.iterfind(PHILIPS_LEVELS)
    ]
    spacings = [(float(pair[1]), float(pair[0])) for pair in pairs if len(pair) == 2]
    return spacings if all(math.isfinite(px) and px > 0 for pair in spacings for px in pair) else []
