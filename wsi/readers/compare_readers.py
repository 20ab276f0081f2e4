"""Does a fast reader give OpenSlide's pixels, bit for bit? A few tiles of every level are decoded
both ways."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...storage import UnreadableRegionError
from .openslide_reader import OpenSlideReader
from .pyramid import PyramidLevel
from .tiff_reader import TiffReader

__all__ = ["Comparison", "compare"]

TILES = 10  # compared when a slide is opened: 10 to 40 ms
UNSEEN_PX = 1 / 512  # level px: OpenSlide blends by less than one grey level there


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of some tiles decoded both ways."""

    equal: int
    difference: str | None = None
    """Which tile differs and by how much; the comparison ends there."""
    missed: tuple[str, ...] = ()
    """Why the fast reader could not decode tiles that OpenSlide decodes."""
    lost: tuple[str, ...] = ()
    """Why it could not decode tiles that OpenSlide cannot decode either: damage, and no difference.
    """


def compare(reader: TiffReader, authority: OpenSlideReader) -> Comparison:
    """Decode the fullest, the last and some other tiles of each level both ways."""
    equal = 0
    missed, lost = [], []
    known = authority.pyramid.levels  # of an OME-TIFF OpenSlide sees the first level only
    for level, (mine, its) in enumerate(zip(reader.pyramid.levels, known, strict=False)):
        if (mine.width, mine.height) != (its.width, its.height):
            return Comparison(
                equal=equal, difference=f"level {level} has another size than OpenSlide's"
            )
    for part in _parts(reader, len(known)):
        expected = _by_openslide(authority, part)
        try:
            found = part.of_tile(reader)
        except UnreadableRegionError as error:
            (lost if expected is None else missed).append(str(error))
            continue
        if expected is None:
            continue
        if not np.array_equal(found, expected):
            off = (
                "another size"
                if found.shape != expected.shape
                else f"{_largest(found, expected)} grey levels"
            )
            return Comparison(equal=equal, difference=f"{part} differs from OpenSlide's by {off}")
        equal += 1
    return Comparison(equal=equal, missed=tuple(missed), lost=tuple(lost))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of a tile that begins on whole level-0 px: its place in the tile, all in level px."""

    level: int
    row: int
    column: int
    shape: PyramidLevel
    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"level {self.level}, tile row {self.row}, column {self.column}"

    def of_tile(self, reader: TiffReader) -> np.ndarray:
        tile = reader.tile(self.level, self.row, self.column)
        if tile is None:
            return np.full((self.height, self.width, 3), reader.pyramid.background, np.uint8)
        return tile[self.top : self.top + self.height, self.left : self.left + self.width]


def _by_openslide(authority: OpenSlideReader, part: _Part) -> np.ndarray | None:
    x = round((part.column * part.shape.tile_width + part.left) * part.shape.downsample)
    y = round((part.row * part.shape.tile_height + part.top) * part.shape.downsample)
    try:
        return authority.region_at_level0(x, y, level=part.level, size=(part.width, part.height))
    except UnreadableRegionError:
        return None


def _largest(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def _parts(reader: TiffReader, levels: int) -> Iterator[_Part]:
    for level, shape in enumerate(reader.pyramid.levels[:levels]):
        for row, column in _chosen(reader, level, max(2, TILES // levels)):
            across = _whole_px(
                column * shape.tile_width, shape.tile_width, shape.width, shape.downsample
            )
            down = _whole_px(
                row * shape.tile_height, shape.tile_height, shape.height, shape.downsample
            )
            if across and down:
                (left, width), (top, height) = across, down
                yield _Part(
                    level=level,
                    row=row,
                    column=column,
                    shape=shape,
                    left=left,
                    top=top,
                    width=width,
                    height=height,
                )


def _chosen(reader: TiffReader, level: int, count: int) -> list[tuple[int, int]]:
    """The fullest tile (white ones are all alike), the last one, one that was never written, and
    some between."""
    place, shape = reader.levels[level], reader.pyramid.levels[level]
    total = shape.rows * place.columns
    indices = [
        int(place.counts[:total].argmax()),
        total - 1,
        *np.linspace(0, total - 1, count + 1).astype(int)[1:-1],
    ]
    # What OpenSlide shows where no tile was written is its maker's affair: background, or a coarser
    # level.
    sparse = np.flatnonzero(place.counts[:total] == 0)[:1].tolist()
    places = dict.fromkeys(
        divmod(int(index), place.columns) for index in [*indices[:count], *sparse]
    )
    return [(row, column) for row, column in places if column < shape.columns]


def _whole_px(start: int, step: int, end: int, downsample: float) -> tuple[int, int] | None:
    """How far behind start (level px) the first px lies that begins on a whole level-0 px, and how
    many follow."""
    stop = min(start + step, end)
    candidates = np.arange(start, stop)
    off = np.abs(np.rint(candidates * downsample) / downsample - candidates)
    fit = candidates[off < UNSEEN_PX]
    return (int(fit[0]) - start, stop - int(fit[0])) if len(fit) else None
