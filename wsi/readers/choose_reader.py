"""Choice of the reader for a slide: the fastest one that gives OpenSlide's pixels.

Files that OpenSlide refuses get another reader, if one can read them.
"""

import logging
from dataclasses import replace
from pathlib import Path

import tifffile

from ...storage import Location, SlideError, format_location, is_url
from .compare_readers import compare_readers
from .omezarr_reader import open_ome_zarr
from .open_tiff import open_tiff
from .openslide_reader import OpenSlideReader
from .picture_reader import PICTURE_SUFFIXES, read_picture, read_tiff_picture
from .pyramid import PyramidLevel, TileReader
from .remote import open_remote
from .tiff_directories import (
    count_segments,
    find_slide_page,
    log_unused_pages,
    page_mpp_xy,
    read_tiff_slide,
    require_brightfield,
    tiff_vendor,
)
from .tiff_reader import (
    TIFF_SIGNATURES,
    LocalBytes,
    TiffLevel,
    TiffReader,
    describe_unfit_tiles,
    read_tiff_level,
)

__all__ = ["open_reader"]

logger = logging.getLogger(__name__)

# Not Leica's SCN: its scans lie at fractions of a px, where OpenSlide blends neighbouring px.
NATIVE_VENDORS = {"generic-tiff", "aperio", "philips"}
EQUAL = "compared tiles are equal to OpenSlide's"
# With fewer tiles, errors that are all alike may still come from one damaged part.
FEWEST_ALIKE = 4


def open_reader(location: Location) -> tuple[TileReader, str]:
    """Choose and open the reader for the slide at a path or URL; return it with the reason.

    Raises:
        SlideError: no such file, or not a slide.
    """
    try:
        return open_remote(str(location)) if is_url(location) else _open_local(Path(location))
    except SlideError as error:
        raise SlideError(f"{format_location(location)}: {error}") from error


def _open_local(path: Path) -> tuple[TileReader, str]:
    if not path.exists():
        raise SlideError("no such file; correct the cohort's slide column")
    if path.is_dir():
        return open_ome_zarr(path), "OME-Zarr, by its own chunks"
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError("not a slide: the file is empty; copy it again")
    try:
        reference = OpenSlideReader(path)
    except SlideError as refusal:
        _require_mirax_folder(path)
        return _without_openslide(path, refusal)
    try:
        return _native_or_openslide(path, reference)
    except BaseException:
        reference.close()
        raise


def _native_or_openslide(path: Path, reference: OpenSlideReader) -> tuple[TileReader, str]:
    """The native reader if it gives the same pixels; the reader not chosen is closed."""
    vendor = reference.pyramid.vendor
    if vendor not in NATIVE_VENDORS:
        return reference, f"{vendor} slides are read by OpenSlide"
    native = _open_native(path, reference)
    if native is None:
        opened = _open_directories(path, "the slide is not the image that OpenSlide shows")
        reference.close()
        return opened
    if isinstance(native, str):
        return reference, native
    try:
        found = compare_readers(native, reference)
    except BaseException:
        native.close()
        raise
    if not found.difference and found.equal > len(found.missed):
        reference.close()
        unseen = len(native.levels) - len(reference.pyramid.levels)
        reason = EQUAL + (f", which misses {unseen} level(s)" if unseen else "")
        damaged = [*found.missed, *found.damaged]
        if damaged:
            reason += f"; {len(damaged)} of them are damaged: {damaged[0]}"
        return native, reason
    turned = _describe_orientation(path) if found.difference else None
    if turned:
        reference.close()
        message = "%s: %s; turn the annotations if they do not fit"
        logger.warning(message, path, turned, extra={"once": f"{path}: orientation"})
        return native, turned
    native.close()
    if found.missed:
        count = f"{len(found.missed)} of {len(found.missed) + found.equal} compared tiles"
        return (
            reference,
            f"only OpenSlide, which does not report damage, decodes {count}: {found.missed[0]}",
        )
    are_alike = len(found.damaged) >= FEWEST_ALIKE and len(set(found.damaged)) == 1
    if not found.difference and are_alike:
        lenient = _open_native(path, reference, strict=False)
        if isinstance(lenient, TiffReader) and not compare_readers(lenient, reference).damaged:
            reference.close()
            return (
                lenient,
                f"libjpeg warns of every tile ({found.damaged[0]}), so damage in single tiles "
                "cannot be detected",
            )
    return reference, found.difference or "no tile could be decoded both ways"


def _describe_orientation(path: Path) -> str | None:
    """Reason why OpenSlide shows other px in tiles: TIFF's tag 274 turns the image.

    OpenSlide then turns each tile by itself, in its place, except in JPEG, where it too ignores the
    tag.
    """
    with open_tiff(path) as tiff:
        tag = find_slide_page(tiff).tags.get("Orientation")
    if tag is None or tag.value == 1:
        return None
    return f"its px are shown as stored, for its Orientation tag is {tag.value}, expected 1"


def _open_native(
    path: Path, reference: OpenSlideReader, *, strict: bool = True
) -> TiffReader | str | None:
    """A reader of the file's own tiles, or the reason why they cannot be used.

    None if OpenSlide's level 0, the first image, is not the slide. An OME-TIFF's µm/px is set in
    the reference too.
    """
    pyramid = reference.pyramid
    try:
        with open_tiff(path) as tiff:
            first = find_slide_page(tiff)
            if pyramid.vendor == "generic-tiff" and first is not tiff.pages.first:
                return None
            if tiff.is_ome:
                require_brightfield(tiff)
                # OpenSlide knows TIFF's resolution only, often a default of 72 dpi.
                reference.pyramid = replace(pyramid, mpp_xy=page_mpp_xy(tiff, first))
                unfit = describe_unfit_tiles(first)
                if unfit:
                    _refuse_made_up_size(first)
                    return f"OpenSlide reads its first level only, because {unfit}"
                slide = read_tiff_slide(tiff, strict=strict)
                if len(slide.levels) >= len(pyramid.levels):
                    return TiffReader(LocalBytes(path), slide.levels, slide.pyramid)
            found = [_find_page(tiff, level, strict=strict) for level in pyramid.levels]
            log_unused_pages(tiff, {page.offset for page, _ in filter(None, found)})
            empty = [number for number, match in enumerate(found) if number and _is_empty(match)]
            reference.leave_out_levels(empty)
            pyramid = reference.pyramid
            found = [match for number, match in enumerate(found) if number not in empty]
    except SlideError:
        raise
    except Exception as error:  # damaged bytes cause errors of any class
        logger.info("%s: its TIFF directories cannot be read: %s", path, error)
        return f"its TIFF directories cannot be read: {error}"
    stored, levels = [], []
    for level, match in zip(pyramid.levels, found, strict=True):
        if match is None:
            unfit = describe_unfit_tiles(first)
            return f"level {len(levels)} is not stored as tiles of 8-bit RGB" + (
                f": {unfit}; OpenSlide converts them" if unfit else ""
            )
        page, positions = match
        stored.append(positions)
        levels.append(replace(level, tile_width=page.tilewidth, tile_height=page.tilelength))
    return TiffReader(LocalBytes(path), stored, replace(pyramid, levels=tuple(levels)))


def _find_page(
    tiff: tifffile.TiffFile, level: PyramidLevel, *, strict: bool
) -> tuple[tifffile.TiffPage, TiffLevel] | None:
    """The page that holds a level, and its tiles."""
    for page in (page.aspage() for page in tiff.pages):
        # Philips states a page's size in whole tiles, and the true size elsewhere.
        in_whole_tiles = tiff.is_philips and (
            page.is_tiled
            and 0 <= page.imagewidth - level.width < page.tilewidth
            and 0 <= page.imagelength - level.height < page.tilelength
        )
        if in_whole_tiles or (page.imagewidth, page.imagelength) == (level.width, level.height):
            positions = read_tiff_level(page, strict=strict)
            if positions is not None:
                return page, positions
            _refuse_made_up_size(page)
    return None


def _is_empty(match: tuple[tifffile.TiffPage, TiffLevel] | None) -> bool:
    """Test for a level of which no tile was written.

    It shows background only, so no tissue would be found on it.
    """
    if match is None or match[1].counts.any():
        return False
    logger.warning(
        "%s: its level of %d × %d px is left out, because none of its tiles was written; convert "
        "or copy the slide again",
        match[0].parent.filehandle.path,
        match[0].imagewidth,
        match[0].imagelength,
        extra={"once": f"{match[0].parent.filehandle.path}: {match[0].imagewidth} px"},
    )
    return True


def _refuse_made_up_size(page: tifffile.TiffPage) -> None:
    """Refuse a page with more px than its tiles cover.

    One changed byte makes a slide a million px long, and OpenSlide allocates all of them.
    """
    if page.is_tiled and page.tilewidth and page.tilelength:
        needed = count_segments(page)
        if len(page.dataoffsets) < needed:
            raise SlideError(
                f"not a slide, or a damaged one: {page.imagewidth} × {page.imagelength} px need "
                f"{needed} tiles, its directory lists {len(page.dataoffsets)}; copy the file again"
            )


def _require_mirax_folder(path: Path) -> None:
    """Refuse a MIRAX file without the folder that holds its pixels."""
    index = path.with_suffix("") / "Slidedat.ini"
    if path.suffix.casefold() == ".mrxs" and not index.is_file():
        missing = index if index.parent.is_dir() else f"{index.parent}/"
        raise SlideError(
            f"no {missing}, where a MIRAX slide has its pixels; copy the folder of this name "
            "beside the file, with all its files"
        )


def _without_openslide(path: Path, refusal: SlideError) -> tuple[TileReader, str]:
    if not path.is_file():
        raise refusal
    with path.open("rb") as file:
        signature = file.read(4)
    # By suffix only, because the .mrxs file of a MIRAX slide is a small JPEG too.
    if path.suffix.casefold() in PICTURE_SUFFIXES:
        return read_picture(path), "a picture, decoded whole"
    if signature in TIFF_SIGNATURES:
        return _open_directories(path, "OpenSlide refuses the file")
    raise refusal


def _open_directories(path: Path, why: str) -> tuple[TileReader, str]:
    """Open a TIFF by its own directories; why OpenSlide does not read it."""
    try:
        with open_tiff(path) as tiff:
            if not len(tiff.pages):
                raise SlideError(
                    "not a slide: a TIFF without images, not copied to its end; copy it again"
                )
            page = require_brightfield(tiff)
            if page.is_tiled and page.planarconfig == 1:
                slide = read_tiff_slide(tiff)
                reason = f"{why}; its directories hold {len(slide.levels)} level(s)"
                return TiffReader(LocalBytes(path), slide.levels, slide.pyramid), reason
            log_unused_pages(tiff, {page.offset})
            picture = read_tiff_picture(
                page, mpp_xy=page_mpp_xy(tiff, page), vendor=tiff_vendor(tiff)
            )
            return picture, "a TIFF without tiles, decoded whole"
    except SlideError:
        raise
    except Exception as error:  # damaged bytes cause errors of any class
        raise SlideError(
            f"not a slide, or a damaged one: its TIFF directories cannot be read ({error}); copy "
            "it again"
        ) from error
