"""Does a fast reader give OpenSlide's pixels, bit for bit? A few tiles of every level are decoded both ways."""

import numpy as np

from ..errors import UnreadableRegionError
from .openslide_reader import OpenSlideReader
from .pyramid import PyramidLevel
from .tiff_reader import TiffReader

__all__ = ["difference_from_openslide"]

TILES = 10  # compared when a slide is opened: 10 to 40 ms
UNSEEN_PX = 1 / 512  # level px: OpenSlide blends by less than one grey level there


def difference_from_openslide(reader: TiffReader, authority: OpenSlideReader) -> str | None:
    """None where all compared tiles are equal, else which one is not, or why none could be compared.

    Tiles that neither can decode are damage, not difference, and are passed over. Where most are taken by OpenSlide
    alone, the writer was a sloppy one: libjpeg warns of each of its tiles.
    """
    compared, refused, reason = 0, 0, ""
    known = authority.pyramid.levels  # of an OME-TIFF OpenSlide sees the first level only
    for level, shape in enumerate(reader.pyramid.levels[: len(known)]):
        if (shape.width, shape.height) != (known[level].width, known[level].height):
            return f"level {level} has another size than OpenSlide's"
        for row, column in _chosen(reader, level, max(1, TILES // len(known))):
            cut = _whole_px_part(shape, row, column)
            if cut is None:
                continue
            (x, y), (width, height) = cut
            left, top = x - column * shape.tile_width, y - row * shape.tile_height
            place = round(x * shape.downsample), round(y * shape.downsample)
            try:
                expected = authority.region_at_level0(*place, level=level, size=(width, height))
            except UnreadableRegionError:
                continue
            try:
                tile = reader.tile(level, row, column)
            except UnreadableRegionError as error:
                refused, reason = refused + 1, str(error)
                continue
            if tile is None:
                tile = np.full((top + height, left + width, 3), reader.pyramid.background, np.uint8)
            found = tile[top : top + height, left : left + width]
            if not np.array_equal(found, expected):
                off = "another size" if found.shape != expected.shape else f"{_largest(found, expected)} grey levels"
                return f"level {level}, tile row {row}, column {column} differs from OpenSlide's by {off}"
            compared += 1
    if refused > compared:
        return f"{refused} of {refused + compared} compared tiles are decoded by OpenSlide alone: {reason}"
    return None if compared else "no tile could be decoded both ways"


def _largest(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def _chosen(reader: TiffReader, level: int, count: int) -> list[tuple[int, int]]:
    """The fullest tile (white ones are all alike), the last one, and some between."""
    place, shape = reader.levels[level], reader.pyramid.levels[level]
    total = shape.rows * place.columns
    indices = [int(place.counts[:total].argmax()), total - 1, *np.linspace(0, total - 1, count + 1).astype(int)[1:-1]]
    places = dict.fromkeys(divmod(int(index), place.columns) for index in indices[:count])
    return [(row, column) for row, column in places if column < shape.columns]


def _whole_px_part(shape: PyramidLevel, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The (x, y) and (width, height), level px, of a part of a tile that begins on whole level-0 px."""
    starts, sizes = [], []
    for start, step, end in (
        (column * shape.tile_width, shape.tile_width, shape.width),
        (row * shape.tile_height, shape.tile_height, shape.height),
    ):
        stop = min(start + step, end)
        candidates = np.arange(start, stop)
        off = np.abs(np.rint(candidates * shape.downsample) / shape.downsample - candidates)
        fit = candidates[off < UNSEEN_PX]
        if not len(fit):
            return None
        starts.append(int(fit[0]))
        sizes.append(stop - int(fit[0]))
    return (starts[0], starts[1]), (sizes[0], sizes[1])
