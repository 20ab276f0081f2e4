"""Label masks (TIFF), CAMELYON16's among them, as polygons along the edges of their pixels: exact,
and read in strips.

Frames: mask px (row, column) of one level; lattice points are the corners of px, (0, 0) the top
left of the mask; outlines are in level-0 px of the slide.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import tifffile

from ...storage import AnnotationError
from .frame import SlideFrame
from .outline import Outline

__all__ = ["read"]

logger = logging.getLogger(__name__)

LARGEST_PX = (
    2**29
)  # the finest level up to this is read: 8 px wide for 100 000 × 200 000 px, some seconds
LARGEST_TILE_BYTES = (
    2**27
)  # of one tile or strip, decoded; a mask in one piece may have 11 000 × 11 000 px
MOST_CORNERS = 2**20  # of outlines: about 1.5 GB and 10 s while they are joined
MOST_VALUES = 16  # in one mask; more is a picture
MOST_LEVELS = 64
BLOCK_PX = 2**22  # compared at a time
SAME_SHARE = 0.02  # a mask this near to the slide's size has its px, and was padded


@dataclass(frozen=True, kw_only=True)
class _Corners:
    """Lattice points where the outline of one value turns."""

    row: np.ndarray
    column: np.ndarray
    is_double: np.ndarray
    """Two px of the value meet there by their corners: two outlines turn."""
    is_inside: np.ndarray
    """The px right of and below the point has the value."""


def read(path: Path, frame: SlideFrame | None) -> list[Outline]:
    """One outline for each 4-connected piece of a value; the group is `mask-VALUE`, background is
    0.

    In a mask of 0 and 1 alone the group is `binary-1`: nothing says whether that is tumour or, as
    in CAMELYON16, tissue. Without a frame the mask's first level is taken for the slide's.

    Raises:
        AnnotationError: no such file, not a label mask, or one too large or too ragged to be read.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            corners, scale = _of_some_level(tiff, path, frame)
    except AnnotationError:
        raise
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read: {error}; check the cohort's annotation column"
        ) from error
    except Exception as error:  # what a decoder raises over damaged bytes is its own affair
        raise AnnotationError(
            f"{path}: not a label mask, or a damaged one: {error!r}; export it again"
        ) from error
    outlines = []
    for value, found in sorted(corners.items()):
        group = "binary-1" if list(corners) == [1] else f"mask-{value}"
        for number, polygon in enumerate(_polygons(found, scale)):
            outlines.append(Outline(name=f"{group} {number}", group=group, polygon=polygon))
    return outlines


def _of_some_level(
    tiff: tifffile.TiffFile, path: Path, frame: SlideFrame | None
) -> tuple[dict[int, _Corners], tuple[float, float]]:
    """From the finest level that is small and smooth enough; the (x, y) level-0 px of the slide its
    px are wide."""
    first: Any = tiff.pages[0]
    width, height = first.imagewidth, first.imagelength
    if first.samplesperpixel != 1 or first.dtype is None or first.dtype.kind not in "bui":
        raise AnnotationError(
            f"{path}: {first.samplesperpixel} channels of {first.dtype}, expected one channel of "
            "whole numbers; an image is not a mask"
        )
    fit_x, fit_y = _fit(path, (width, height), frame)
    said = (
        f"no level of the {width} × {height} px mask is under {LARGEST_PX:.2g} px; write it with a "
        "pyramid"
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
            said = f"tiles or strips of {block} px are too large to decode; write it with tiles"
            continue
        corners = _corners(_blocks(tiff, page), path)
        if corners is not None:
            across, down = (
                _downsample(width, page.imagewidth),
                _downsample(height, page.imagelength),
            )
            return corners, (fit_x * across, fit_y * down)
        said = (
            f"its outlines have over {MOST_CORNERS} corners: too ragged; smooth it, or write it "
            "with a pyramid"
        )
        logger.info(
            "%s: too ragged at %d × %d px; a coarser level is tried",
            path,
            page.imagewidth,
            page.imagelength,
        )
    raise AnnotationError(f"{path}: {said}")


def _levels(tiff: tifffile.TiffFile) -> Iterator[Any]:
    """Reduced images of the first page, itself included, as they come in the file."""
    first: Any = tiff.pages[0]
    for index in range(MOST_LEVELS):
        try:
            page: Any = tiff.pages[index]
        except IndexError:
            return
        across, down = first.imagewidth / page.imagewidth, first.imagelength / page.imagelength
        # Sizes are rounded, by up to a px at each end, more where tiles are padded.
        slack = 2 / min(page.imagewidth, page.imagelength) + 0.01
        if (
            page.samplesperpixel == 1
            and page.dtype == first.dtype
            and abs(across / down - 1) <= slack
        ):
            yield page


def _downsample(whole_px: int, level_px: int) -> float:
    """Sizes are rounded: a ratio that may have been a whole number was one."""
    nearest = max(1, round(whole_px / level_px))
    return float(nearest) if abs(whole_px / nearest - level_px) < 1 else whole_px / level_px


def _fit(path: Path, size: tuple[int, int], frame: SlideFrame | None) -> tuple[float, float]:
    """(x, y) level-0 px of the slide in one px of the mask's first level."""
    if frame is None:
        logger.warning("%s: its slide is not at hand, so its px are taken for level-0 px", path)
        return 1.0, 1.0
    x, y = frame.width / size[0], frame.height / size[1]
    if max(abs(x - 1), abs(y - 1)) <= SAME_SHARE:
        return 1.0, 1.0
    if abs(x / y - 1) > SAME_SHARE:
        raise AnnotationError(
            f"{path}: the mask is {size[0]} × {size[1]} px and the slide {frame.width} × "
            f"{frame.height}: their shapes differ; is it this slide's mask?"
        )
    return x, y


def _blocks(tiff: tifffile.TiffFile, page: Any) -> Iterator[np.ndarray]:
    """Rows from top to bottom, each block as wide as the level."""
    offsets, counts = page.dataoffsets, page.databytecounts
    rows, columns = page.chunks[-2:] if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    across = -(-page.imagewidth // columns)
    tables = page.jpegtables
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
            strip[: len(tile), left : left + columns] = tile[:, : page.imagewidth - left]
        height = max(1, BLOCK_PX // page.imagewidth)
        yield from (strip[start : start + height] for start in range(0, len(strip), height))


def _corners(blocks: Iterator[np.ndarray], path: Path) -> dict[int, _Corners] | None:
    """Corners by value; None where there are too many."""
    found: dict[int, list[np.ndarray]] = {}
    above, top, count = None, 0, 0
    for block in _with_a_row_below(blocks):
        if above is None:
            above = np.zeros((1, block.shape[1]), block.dtype)
        rows = np.pad(np.concatenate([above, block]), ((0, 0), (1, 1)))
        low, high = rows.min(), rows.max()
        # Most of a mask is background.
        for value in () if low == high == 0 else _values(rows, path):
            points = _corners_of(rows == value)
            points[0] += top
            found.setdefault(value, []).append(points)
            count += points.shape[1]
        if len(found) > MOST_VALUES:
            raise AnnotationError(
                f"{path}: more than {MOST_VALUES} values: a picture and not a label mask"
            )
        if count > MOST_CORNERS:
            return None
        above, top = block[-1:], top + len(block)
    return {
        value: _Corners(
            row=points[0], column=points[1], is_double=points[2] > 0, is_inside=points[3] > 0
        )
        for value, parts in found.items()
        for points in [np.concatenate(parts, axis=1)]
    }


def _with_a_row_below(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    block = None
    for block in blocks:
        yield block
    if block is not None:
        yield np.zeros((1, block.shape[1]), block.dtype)


def _values(rows: np.ndarray, path: Path) -> list[int]:
    values = np.unique(rows)
    if len(values) > MOST_VALUES + 1:
        raise AnnotationError(
            f"{path}: more than {MOST_VALUES} values: a picture and not a label mask"
        )
    return [int(value) for value in values if value != 0]


def _corners_of(inside: np.ndarray) -> np.ndarray:
    """(4, N): row and column of lattice points between px, whether double, whether the px below
    right is inside."""
    a, b, c, d = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    double = (a == d) & (b == c) & (a != b)
    row, column = np.nonzero((a ^ b ^ c ^ d) | double)
    return np.stack([row, column, double[row, column], d[row, column]]).astype(np.int64)


def _polygons(corners: _Corners, scale: tuple[float, float]) -> list[shapely.Polygon]:
    """Pieces of a value with their holes; edges join corners two by two, along rows and along
    columns."""
    times = 1 + corners.is_double
    row, column = np.repeat(corners.row, times), np.repeat(corners.column, times)
    points = np.stack([column, row], axis=1).astype(np.float64)
    edges = [points[np.lexsort(keys)].reshape(-1, 2, 2) for keys in ((column, row), (row, column))]
    lines = np.asarray(shapely.linestrings(np.concatenate(edges)), object)
    faces = shapely.get_parts(shapely.polygonize(lines))
    # A face is a piece or a hole in one; the px below right of its topmost, leftmost corner tells.
    place, face = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    order = np.lexsort((place[:, 0], place[:, 1], face))
    x, y = place[order[np.unique(face[order], return_index=True)[1]]].astype(np.int64).T
    wide = int(column.max()) + 1
    key = corners.row * wide + corners.column
    sorting = np.argsort(key)
    is_piece = corners.is_inside[sorting[np.searchsorted(key, y * wide + x, sorter=sorting)]]
    return list(shapely.transform(faces[is_piece], lambda xy: xy * scale))
