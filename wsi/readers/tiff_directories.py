"""Slides described by their TIFF directories alone, for files that OpenSlide refuses, sees only in
part, or cannot reach.

The rules for levels, downsamples and µm/px are OpenSlide's.
"""

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import tifffile
from defusedxml import DefusedXmlException, ElementTree

from ...storage import SlideError
from .pyramid import Pyramid, PyramidLevel
from .tiff_reader import TiffLevel, read_tiff_level
from .units import to_um

__all__ = ["TiffSlide", "page_mpp_xy", "read_tiff_slide", "require_brightfield", "tiff_vendor"]

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
    stored = read_tiff_level(first, strict=strict)
    if stored is None:
        raise SlideError("not a slide, or a damaged one: its first image has no readable tiles")
    whole = first.imagewidth, first.imagelength
    levels = [(_level(first, whole, whole, None), stored)]
    spacings = _philips_spacings(first.description) if tiff.is_philips else []
    for number, page in enumerate(_reduced_pages(tiff, first), start=1):
        stated = round(sum(spacings[number]) / sum(spacings[0])) if number < len(spacings) else None
        size = page.imagewidth, page.imagelength
        if stated:
            size = whole[0] // stated, whole[1] // stated
        stored = read_tiff_level(page, strict=strict) if _fits(size, levels[-1][0], whole) else None
        if stored is not None:
            levels.append((_level(page, size, whole, stated), stored))
    pyramid = Pyramid(
        levels=tuple(level for level, _ in levels),
        mpp_xy=(spacings[0][0] * 1e3, spacings[0][1] * 1e3) if spacings else page_mpp_xy(tiff),
        vendor=tiff_vendor(tiff),
    )
    return TiffSlide(pyramid=pyramid, levels=tuple(stored for _, stored in levels))


def require_brightfield(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the first image.

    Raises:
        SlideError: it is not 8-bit RGB. The message is the reason alone.
    """
    page = tiff.pages.first
    unfit = _ome_unfit(_ome_pixels(page.description)) if tiff.is_ome else None
    if unfit is None and (page.photometric not in (2, 6) or page.samplesperpixel != 3):
        unfit = f"its first image has {page.samplesperpixel} channel(s), expected red, green, blue"
    elif unfit is None and page.bitspersample != 8:
        unfit = f"its pixels have {page.bitspersample} bits per channel, expected 8"
    if unfit:
        raise SlideError(f"not a brightfield slide: {unfit}")
    if not (page.imagewidth and page.imagelength and page.imagedepth == 1):
        raise SlideError(
            f"not a slide, or a damaged one: {page.imagewidth} × {page.imagelength} px"
        )
    return page


def page_mpp_xy(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """µm/px of the first image in x and in y, from the vendor's metadata or else TIFF's
    resolution."""
    page = tiff.pages.first
    ome_mpp_xy = _ome_mpp_xy(_ome_pixels(page.description)) if tiff.is_ome else None
    if ome_mpp_xy:
        return ome_mpp_xy
    if tiff.is_svs:
        stated = re.search(r"\|\s*MPP\s*=\s*([\d.]+)", page.description)
        return (float(stated[1]), float(stated[1])) if stated else None
    per_unit = [_ratio(page, name) for name in ("XResolution", "YResolution")]
    unit = page.tags.get("ResolutionUnit")
    um = to_um(1.0, UNITS.get(int(unit.value) if unit else 2))
    if um is None or not all(math.isfinite(number) and number > 0 for number in per_unit):
        return None
    return um / per_unit[0], um / per_unit[1]


def _ome_pixels(xml: str) -> dict[str, str]:
    """Attributes of the first image of an OME-TIFF's description; empty if it is no OME-XML."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        return {}
    # Match by suffix, because the namespace changes with every version of the schema.
    return next((element.attrib for element in root.iter() if element.tag.endswith("}Pixels")), {})


def _ome_mpp_xy(pixels: dict[str, str]) -> tuple[float, float] | None:
    try:
        x, y = (
            to_um(float(pixels[f"PhysicalSize{axis}"]), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return None if x is None or y is None else (x, y)


def _ome_unfit(pixels: dict[str, str]) -> str | None:
    """Reason why it is no brightfield image; None if there is none."""
    if pixels.get("Type", "uint8") != "uint8":
        return f"its pixels are {pixels['Type']}, expected uint8"
    if pixels.get("SizeC", "3") != "3":
        return f"it has {pixels['SizeC']} channels, expected red, green and blue"
    for axis in "ZT":
        if pixels.get(f"Size{axis}", "1") != "1":
            return f"it is a stack of {pixels[f'Size{axis}']} planes in {axis}"
    return None


def _ratio(page: tifffile.TiffPage, name: str) -> float:
    tag = page.tags.get(name)
    over, under = tag.value if tag else (0, 1)
    return over / under if under else 0.0


def tiff_vendor(tiff: tifffile.TiffFile) -> str:
    """Vendor by OpenSlide's name; OME-TIFF, for which OpenSlide has none, is "ome-tiff"."""
    names = {"ome": "ome-tiff", "svs": "aperio", "philips": "philips"}
    return next((name for flag, name in names.items() if flag in tiff.flags), "generic-tiff")


def _reduced_pages(
    tiff: tifffile.TiffFile, first: tifffile.TiffPage
) -> Iterator[tifffile.TiffPage]:
    """Yield the directories that may hold further levels, in the file's order."""
    if first.subifds:
        yield from _readable_pages(first.pages, 0)
        return
    for page in _readable_pages(tiff.pages, 1):
        if page.is_tiled and (page.is_reduced or tiff.is_svs or tiff.is_philips):
            yield page


def _readable_pages(pages: tifffile.TiffPages | None, start: int) -> Iterator[tifffile.TiffPage]:
    for index in range(start, MOST_DIRECTORIES):
        try:
            page = pages[index].aspage() if pages is not None else None
        except IndexError:
            return
        except Exception as error:  # damaged bytes cause errors of any class
            logger.info("directory %d cannot be read: %s", index, error)
            continue
        if page is not None:
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
    spacings = [(float(pair[1]), float(pair[0])) for pair in pairs if len(pair) == 2]
    return spacings if all(math.isfinite(px) and px > 0 for pair in spacings for px in pair) else []
