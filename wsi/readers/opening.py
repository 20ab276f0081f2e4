"""Which reader a file gets: the fastest one that gives OpenSlide's pixels."""

import logging
from dataclasses import replace
from pathlib import Path

import tifffile

from ..errors import SlideError
from .bytes_of import LocalBytes
from .openslide_reader import OpenSlideReader
from .probe import difference_from_openslide
from .pyramid import Pyramid, PyramidLevel, TileReader
from .tiff_reader import TiffLevel, TiffReader, tiff_level

__all__ = ["open_reader"]

logger = logging.getLogger(__name__)

NATIVE_VENDORS = {"generic-tiff", "aperio", "philips", "leica"}


def open_reader(path: Path) -> tuple[TileReader, str]:
    """An open file's reader, and in words why it is this one.

    Raises:
        SlideError: no such file, or not a slide.
    """
    if not path.exists():
        raise SlideError(f"{path}: no such file; check the cohort's slide column")
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError(f"{path}: not a slide: the file is empty; copy it again")
    authority = OpenSlideReader(path)
    if authority.pyramid.vendor not in NATIVE_VENDORS:
        return authority, f"{authority.pyramid.vendor} slides are read by OpenSlide"
    native = _native(path, authority.pyramid)
    if isinstance(native, str):
        return authority, native
    different = difference_from_openslide(native, authority)
    if different:
        native.close()
        return authority, different
    authority.close()
    return native, "compared tiles are equal to OpenSlide's"


def _native(path: Path, pyramid: Pyramid) -> TiffReader | str:
    """The file's own tiles, or why they cannot be used."""
    try:
        with tifffile.TiffFile(path) as tiff:
            found = [_matching(tiff, level) for level in pyramid.levels]
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        logger.info("%s: its TIFF directories cannot be read: %s", path, error)
        return f"its TIFF directories cannot be read: {error}"
    places, levels = [], []
    for number, match in enumerate(found):
        if match is None:
            return f"level {number} has no tiles of 8-bit RGB of its own"
        place, tile_width, tile_height = match
        places.append(place)
        levels.append(replace(pyramid.levels[number], tile_width=tile_width, tile_height=tile_height))
    return TiffReader(LocalBytes(path), places, replace(pyramid, levels=tuple(levels)))


def _matching(tiff: tifffile.TiffFile, level: PyramidLevel) -> tuple[TiffLevel, int, int] | None:
    for page in (page.aspage() for page in tiff.pages):
        # Philips gives its pages' sizes in whole tiles, and the true ones elsewhere.
        whole = tiff.is_philips and (
            page.is_tiled
            and 0 <= page.imagewidth - level.width < page.tilewidth
            and 0 <= page.imagelength - level.height < page.tilelength
        )
        if whole or (page.imagewidth, page.imagelength) == (level.width, level.height):
            place = tiff_level(page)
            if place is not None:
                return place, page.tilewidth, page.tilelength
    return None
