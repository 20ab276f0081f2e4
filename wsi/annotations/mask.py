"""Label masks (TIFF), CAMELYON16's among them, as exact polygons along the edges of their px.

A mask is read in strips, so memory is bounded. rasterio's `features.shapes` gives the same
polygons, 753 of 753, in about our time, and near MOST_CORNERS in a sixth of it. It would need the
whole mask in memory and 108 MB more packages (benchmarks/slides/rasterising.py).

Frames: mask px (row, column) of one level; outlines are in level-0 px of the slide.
"""

import logging
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from shapely.affinity import translate

from ...storage import AnnotationError
from ..geometry import Region
from ..readers import open_tiff
from ..slide_frame import SlideFrame
from .origin import AnnotationOrigin
from .shapes import Outline
from .trace import corners_of, polygonise

__all__ = ["invert_white_is_zero", "read"]

logger = logging.getLogger(__name__)

# Largest level that is read: 8 level-0 px per mask px for 100 000 × 200 000 px; takes seconds.
LARGEST_PX = 2**29
# Largest decoded tile or strip; a mask in one piece may have 11 000 × 11 000 px.
LARGEST_TILE_BYTES = 2**27
MOST_CORNERS = 2**20  # takes about 1.5 GB and 20 s to polygonise
MOST_VALUES = 16  # an image with more is a picture
MOST_LEVELS = 64
BLOCK_PX = 2**22  # processed at a time
SAME_SHARE = 0.02  # a mask whose size differs less from the slide's has the slide's px, padded


def read(path: Path, frame: SlideFrame | None, origin: AnnotationOrigin = "") -> list[Outline]:
    """Read one outline per 4-connected piece of a value; the group is `mask-VALUE`, 0 is
    background.

    In a mask with values 0 and 1 only, the group is `binary-1`, because 1 may mean tumour or, as in
    CAMELYON16, tissue. Without a frame the first level is taken as the slide's level 0.

    A mask of the scanned part (bounds) of a slide is moved there.

    Raises:
        AnnotationError: no such file, not a label mask, or one with too many px or corners.
    """
    try:
        with open_tiff(path) as tiff:
            if not len(tiff.pages):
                raise AnnotationError(
                    f"{path}: a TIFF without images, not copied to its end; copy it again"
                )
            page = _finest_page(tiff)
            size = page.imagewidth, page.imagelength
            part = _find_part(path, size, frame, origin)
            corners, scale = _read_finest_level(tiff, path, part)
    except AnnotationError:
        raise
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read: {error.strerror or error}; correct the path (in a cohort: "
            "the column annotation)"
        ) from error
    except Exception as error:  # decoders raise errors of any class on damaged bytes
        raise AnnotationError(
            f"{path}: not a label mask, or a damaged one: {error!r}; export the file again"
        ) from error
    _refuse_inverted_labels(page, path, set(corners))
    outlines = []
    for value, found in sorted(corners.items()):
        group = "binary-1" if list(corners) == [1] else f"mask-{value}"
        for number, polygon in enumerate(polygonise(found, scale)):
            if part:
                polygon = translate(polygon, part.x, part.y)
            outlines.append(Outline(name=f"{group} {number}", group=group, polygon=polygon))
    return outlines


def _read_finest_level(
    tiff: tifffile.TiffFile, path: Path, part: Region | None
) -> tuple[dict[int, np.ndarray], tuple[float, float]]:
    """Read the finest level that is small and smooth enough.

    Returns the corners by value, and the level-0 px of the slide per mask px in (x, y).
    """
    first = _finest_page(tiff)
    width, height = first.imagewidth, first.imagelength
    if first.samplesperpixel != 1 or first.dtype is None or first.dtype.kind not in "bui":
        raise AnnotationError(
            f"{path}: {first.samplesperpixel} channel(s) of {first.dtype}, expected one channel of "
            "integers; give a label mask, not an image"
        )
    fit_x, fit_y = _scale_to((width, height), part)
    reason = (
        f"no level of the {width} × {height} px mask has less than {LARGEST_PX:.2g} px; write the "
        "mask with a pyramid"
    )
    for page in _levels(tiff):
        if page.imagewidth * page.imagelength > LARGEST_PX:
            continue
        block = (
            page.tilewidth * page.tilelength
            if page.is_tiled
            else page.imagewidth * page.rowsperstrip
        )
        if block * page.dtype.itemsize > LARGEST_TILE_BYTES:
            reason = f"tiles or strips of {block} px are too large; write the mask with tiles"
            continue
        corners = _find_corners(_blocks(tiff, page), path)
        if corners is not None:
            across = _downsample(width, page.imagewidth)
            down = _downsample(height, page.imagelength)
            return corners, (fit_x * across, fit_y * down)
        reason = (
            f"the outlines of the mask have over {MOST_CORNERS} corners; smooth the mask, or write "
            "it with a pyramid"
        )
        logger.info(
            "%s: over %d corners at %d × %d px; next a coarser level is tried",
            path,
            MOST_CORNERS,
            page.imagewidth,
            page.imagelength,
        )
    raise AnnotationError(f"{path}: {reason}")


def _finest_page(tiff: tifffile.TiffFile) -> Any:
    """Return the largest image; a thumbnail may stand before it."""
    return max(islice(tiff.pages, MOST_LEVELS), key=_area)


def _area(page: Any) -> int:
    return page.imagewidth * page.imagelength


def _levels(tiff: tifffile.TiffFile) -> Iterator[Any]:
    """Yield the largest page and its reduced copies, the largest first."""
    first = _finest_page(tiff)
    page: Any
    for page in sorted(islice(tiff.pages, MOST_LEVELS), key=_area, reverse=True):
        across, down = first.imagewidth / page.imagewidth, first.imagelength / page.imagelength
        # Sizes are rounded by up to a px at each end, and by more if tiles are padded.
        slack = 2 / min(page.imagewidth, page.imagelength) + 0.01
        if (
            page.samplesperpixel == 1
            and page.dtype == first.dtype
            and abs(across / down - 1) <= slack
        ):
            yield page


def _downsample(whole_px: int, level_px: int) -> float:
    """Ratio of two sizes; a ratio that differs from an integer only by rounding becomes that
    integer."""
    nearest = max(1, round(whole_px / level_px))
    return float(nearest) if abs(whole_px / nearest - level_px) < 1 else whole_px / level_px


def _find_part(
    path: Path, size: tuple[int, int], frame: SlideFrame | None, origin: AnnotationOrigin
) -> Region | None:
    """Find what a mask of that size shows: the slide, or its scanned part."""
    if frame is None:
        logger.warning("%s: read without its slide, so its px are taken as level-0 px", path)
        return None
    whole = Region(x=0, y=0, width=frame.width, height=frame.height)
    parts = {"slide": whole}
    if frame.bounds not in (None, whole):
        parts["bounds"] = frame.bounds
    if origin in parts:
        parts = {origin: parts[origin]}
    scales = {name: (r.width / size[0], r.height / size[1]) for name, r in parts.items()}
    exact = [name for name, (x, y) in scales.items() if x == y == 1]
    same = [name for name, (x, y) in scales.items() if _is_same(x, y)]
    fits = [name for name, (x, y) in scales.items() if abs(x / y - 1) <= SAME_SHARE]
    for names in (exact, same, fits):
        if len(names) == 1:
            return parts[names[0]]
    sizes = " and ".join(f"{r.width} × {r.height} px ({name})" for name, r in parts.items())
    if fits:
        raise AnnotationError(
            f"{path}: a mask of {size[0]} × {size[1]} px may show the slide or its scanned part: "
            f"{sizes}; write slide or bounds into the cohort's column annotation_origin"
        )
    raise AnnotationError(
        f"{path}: a mask of {size[0]} × {size[1]} px has another shape than its slide of {sizes}; "
        "give the mask of this slide"
    )


def _is_same(x: float, y: float) -> bool:
    return max(abs(x - 1), abs(y - 1)) <= SAME_SHARE


def _scale_to(size: tuple[int, int], part: Region | None) -> tuple[float, float]:
    """(x, y) level-0 px of the slide per px of the mask's first level."""
    if part is None:
        return 1.0, 1.0
    x, y = part.width / size[0], part.height / size[1]
    return (1.0, 1.0) if _is_same(x, y) else (x, y)


def _blocks(tiff: tifffile.TiffFile, page: Any) -> Iterator[np.ndarray]:
    """Yield blocks of rows from top to bottom, as wide as the level, between two empty rows."""
    offsets, counts = page.dataoffsets, page.databytecounts
    rows, columns = page.chunks[-2:] if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    across = -(-page.imagewidth // columns)
    tables = page.jpegtables
    empty_row = np.zeros((1, page.imagewidth), page.dtype)
    yield empty_row
    for top in range(0, page.imagelength, rows):
        strip = np.zeros((min(rows, page.imagelength - top), page.imagewidth), page.dtype)
        for left in range(0, page.imagewidth, columns):
            index = top // rows * across + left // columns
            if not counts[index]:
                continue  # a sparse tile
            tiff.filehandle.seek(offsets[index])
            data = tiff.filehandle.read(counts[index])
            tile = page.decode(data, index, **({"jpegtables": tables} if tables else {}))[0]
            if tile is None:
                continue
            tile = tile.reshape(-1, tile.shape[-2])[: len(strip)]
            shown = invert_white_is_zero(tile[:, : page.imagewidth - left], page)
            strip[: len(tile), left : left + columns] = shown
        height = max(1, BLOCK_PX // page.imagewidth)
        yield from (strip[start : start + height] for start in range(0, len(strip), height))
    yield empty_row


def invert_white_is_zero(values: np.ndarray, page: Any) -> np.ndarray:
    """Return the values of a TIFF page as viewers show them: inverted where 0 is white, as in
    fax-coded masks."""
    if not _is_inverted(page):
        return values
    return ~values if values.dtype == bool else values.dtype.type(_white(page)) - values


def _is_inverted(page: Any) -> bool:
    return page.photometric == tifffile.PHOTOMETRIC.MINISWHITE


def _white(page: Any) -> int:
    return 2**page.bitspersample - 1


def _refuse_inverted_labels(page: Any, path: Path, values: set[int]) -> None:
    """Refuse labels under WhiteIsZero: nobody can tell whether they were meant inverted."""
    if _is_inverted(page) and values - {_white(page)}:
        stored = ", ".join(str(_white(page) - value) for value in sorted(values, reverse=True))
        raise AnnotationError(
            f"{path}: values {stored} with PhotometricInterpretation WhiteIsZero, expected black "
            "and white only; write labels as BlackIsZero (minisblack)"
        )


def _find_corners(blocks: Iterator[np.ndarray], path: Path) -> dict[int, np.ndarray] | None:
    """Find the lattice points where the outline of a value turns; see `corners_of`.

    Returns them by value; None if there are more than MOST_CORNERS.
    """
    found: dict[int, list[np.ndarray]] = {}
    top, count = 0, 0
    for above, block in pairwise(blocks):
        rows = np.pad(np.concatenate([above[-1:], block]), ((0, 0), (1, 1)))
        # Most of a mask is background, for which this test is quick.
        values = set(np.unique(rows).tolist()) - {0} if rows.any() else set()
        if len(found.keys() | values) > MOST_VALUES:
            raise AnnotationError(
                f"{path}: more than {MOST_VALUES} values; give a label mask, not a picture"
            )
        for value in sorted(values):
            points = corners_of(rows == value)
            points[0] += top
            found.setdefault(int(value), []).append(points)
            count += points.shape[1]
        if count > MOST_CORNERS:
            return None
        top += len(block)
    return {value: np.concatenate(parts, axis=1) for value, parts in found.items()}
