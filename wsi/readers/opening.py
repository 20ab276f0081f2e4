"""Which reader a file gets: the fastest one that gives OpenSlide's pixels, and others for what
OpenSlide refuses."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import tifffile

from ...storage import Location, SlideError, is_url
from ..geometry import ceil_div
from .byte_source import LocalBytes
from .compare_readers import Comparison, compare
from .omezarr_reader import ome_zarr_in_folder
from .openslide_reader import OpenSlideReader
from .picture_reader import PICTURE_SUFFIXES, picture_of_file, picture_of_tiff
from .pyramid import Pyramid, PyramidLevel, TileReader
from .remote import open_remote
from .tiff_directories import brightfield_page, page_mpp_xy, tiff_slide, tiff_vendor
from .tiff_reader import TIFF_SIGNATURES, TiffLevel, TiffReader, tiff_level

__all__ = ["open_reader"]

logger = logging.getLogger(__name__)

_File = tuple[str, int, int, int, int]
# A global, for whoever opens the slide again is another task of this process, and there is nothing
# that both see: every block of a tiling opens its slide, and a comparison takes 20 ms.
_SOUND: dict[_File, Comparison] = {}
SOUND_AT_MOST = 64

# Leica's SCN is not among them: its scans lie at fractions of a px on the glass, where OpenSlide
# blends neighbours.
NATIVE_VENDORS = {"generic-tiff", "aperio", "philips"}
EQUAL = "compared tiles are equal to OpenSlide's"
FEW = 4  # tiles: when fewer are lost it may be by damage, however alike the reasons are


def open_reader(location: Location) -> tuple[TileReader, str]:
    """The reader of the slide at a path or URL, and in words why it is this one.

    Raises:
        SlideError: no such file, or not a slide.
    """
    if isinstance(location, str) and is_url(location):
        return open_remote(location)
    path = Path(location)
    if not path.exists():
        raise SlideError(f"{path}: no such file; check the cohort's slide column")
    if path.is_dir():
        return _folder(path), "OME-Zarr, by its own chunks"
    status = (
        path.stat()
    )  # before it is opened: what is put in its place while we read is another file
    if path.is_file() and status.st_size == 0:
        raise SlideError(f"{path}: not a slide: the file is empty; copy it again")
    try:
        authority = OpenSlideReader(path)
    except SlideError as refusal:
        return _without_openslide(path, refusal)
    try:
        return _beside_openslide(path, authority, _file(path, status))
    except BaseException:
        authority.close()
        raise


def _folder(path: Path) -> TileReader:
    if not any((path / name).exists() for name in ("zarr.json", ".zgroup")):
        raise SlideError(
            f"{path}: not a slide: a folder that is no OME-Zarr; give a file, of DICOM one of its "
            "files"
        )
    try:
        return ome_zarr_in_folder(path)
    except SlideError as error:
        raise SlideError(f"{path}: {error}") from error


def _beside_openslide(
    path: Path, authority: OpenSlideReader, file: _File
) -> tuple[TileReader, str]:
    vendor = authority.pyramid.vendor
    if vendor not in NATIVE_VENDORS:
        return authority, f"{vendor} slides are read by OpenSlide"
    native = _native(path, authority.pyramid)
    if isinstance(native, str):
        return authority, native
    try:
        found = _compared(file, native, authority)
    except BaseException:
        native.close()
        raise
    if not found.difference and found.equal > len(found.missed):
        authority.close()
        unseen = len(native.levels) - len(authority.pyramid.levels)
        told = EQUAL + (f", which misses {unseen} level(s)" if unseen else "")
        damaged = [*found.missed, *found.lost]
        return native, told + (
            f"; {len(damaged)} of them are damaged: {damaged[0]}" if damaged else ""
        )
    native.close()
    if found.missed:
        count = f"{len(found.missed)} of {len(found.missed) + found.equal} compared tiles"
        return (
            authority,
            f"{count} are decoded by OpenSlide alone, which does not tell damage: "
            f"{found.missed[0]}",
        )
    if not found.difference and len(found.lost) >= FEW and len(set(found.lost)) == 1:
        lenient = _native(path, authority.pyramid, strict=False)
        if isinstance(lenient, TiffReader) and not compare(lenient, authority).lost:
            authority.close()
            return (
                lenient,
                f"libjpeg warns of every tile ({found.lost[0]}), so that damage in one would not "
                "be seen",
            )
    return authority, found.difference or "no tile could be decoded both ways"


def _compared(file: _File, native: TiffReader, authority: OpenSlideReader) -> Comparison:
    """As `compare`, but once in a process for an unchanged file in which nothing was wrong."""
    found = _SOUND.get(file)
    if found is None:
        found = compare(native, authority)
        if found.difference is None and not found.missed and not found.lost:
            if len(_SOUND) >= SOUND_AT_MOST:
                _SOUND.clear()  # in one step, for threads open slides too
            _SOUND[file] = found
    return found


def _file(path: Path, status: os.stat_result) -> _File:
    return str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _native(path: Path, pyramid: Pyramid, *, strict: bool = True) -> TiffReader | str:
    """The file's own tiles, or why they cannot be used."""
    try:
        with tifffile.TiffFile(path) as tiff:
            if tiff.is_ome:
                brightfield_page(tiff)
                slide = tiff_slide(tiff, strict=strict)
                if len(slide.levels) >= len(pyramid.levels):
                    return TiffReader(LocalBytes(path), slide.levels, slide.pyramid)
            found = [_matching(tiff, level, strict=strict) for level in pyramid.levels]
    except SlideError as error:
        raise SlideError(f"{path}: {error}") from error
    except Exception as error:  # directories of random bytes meet errors of all kinds
        logger.info("%s: its TIFF directories cannot be read: %s", path, error)
        return f"its TIFF directories cannot be read: {error}"
    places, levels = [], []
    for number, match in enumerate(found):
        if match is None:
            return f"level {number} has no tiles of 8-bit RGB of its own"
        place, tile_width, tile_height = match
        places.append(place)
        levels.append(
            replace(pyramid.levels[number], tile_width=tile_width, tile_height=tile_height)
        )
    return TiffReader(LocalBytes(path), places, replace(pyramid, levels=tuple(levels)))


def _matching(
    tiff: tifffile.TiffFile, level: PyramidLevel, *, strict: bool
) -> tuple[TiffLevel, int, int] | None:
    for page in (page.aspage() for page in tiff.pages):
        # Philips gives its pages' sizes in whole tiles, and the true ones elsewhere.
        whole = tiff.is_philips and (
            page.is_tiled
            and 0 <= page.imagewidth - level.width < page.tilewidth
            and 0 <= page.imagelength - level.height < page.tilelength
        )
        if whole or (page.imagewidth, page.imagelength) == (level.width, level.height):
            place = tiff_level(page, strict=strict)
            if place is not None:
                return place, page.tilewidth, page.tilelength
            _refuse_made_up_size(page)
    return None


def _refuse_made_up_size(page: tifffile.TiffPage) -> None:
    """One changed byte makes a slide a million px long; OpenSlide would lay out every one of
    them."""
    if page.is_tiled and page.tilewidth and page.tilelength and page.planarconfig == 1:
        needed = ceil_div(page.imagewidth, page.tilewidth) * ceil_div(
            page.imagelength, page.tilelength
        )
        if len(page.dataoffsets) < needed:
            raise SlideError(
                f"not a slide, or a damaged one: {page.imagewidth} × {page.imagelength} px are "
                f"{needed} tiles, and its directory has {len(page.dataoffsets)}"
            )


def _without_openslide(path: Path, refusal: SlideError) -> tuple[TileReader, str]:
    if not path.is_file():
        raise refusal
    with path.open("rb") as file:
        signature = file.read(4)
    try:
        # Only by their names: what a MIRAX slide calls .mrxs is a small JPEG too.
        if path.suffix.casefold() in PICTURE_SUFFIXES:
            return picture_of_file(path), "a picture, decoded whole"
        if signature not in TIFF_SIGNATURES:
            raise refusal
        return _by_directories(path)
    except SlideError as error:
        if error is refusal:
            raise
        raise SlideError(f"{path}: {error}") from error


def _by_directories(path: Path) -> tuple[TileReader, str]:
    try:
        with tifffile.TiffFile(path) as tiff:
            page = brightfield_page(tiff)
            if page.is_tiled and page.planarconfig == 1:
                slide = tiff_slide(tiff)
                note = (
                    f"OpenSlide refuses the file; its own directories hold {len(slide.levels)} "
                    "level(s)"
                )
                return TiffReader(LocalBytes(path), slide.levels, slide.pyramid), note
            picture = picture_of_tiff(page, mpp_xy=page_mpp_xy(tiff), vendor=tiff_vendor(tiff))
            return picture, "a TIFF without tiles, decoded whole"
    except SlideError:
        raise
    except Exception as error:  # directories of random bytes meet errors of all kinds
        raise SlideError(
            f"not a slide, or a damaged one: its TIFF directories cannot be read: {error!r}"
        ) from error
