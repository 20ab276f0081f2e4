"""Comparison of a fast reader with OpenSlide: some tiles of every level must be equal, bit for
bit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...storage import UnreadableRegionError
from .openslide_reader import OpenSlideReader
from .tiff_reader import TiffReader

__all__ = ["ReaderComparison", "compare_readers"]

TILES = 10  # compared when a slide is opened: 10 to 40 ms
UNSEEN_PX = 1 / 512  # level px: with a smaller offset OpenSlide blends less than one grey level


@dataclass(frozen=True, kw_only=True)
class ReaderComparison:
    """Result of decoding some tiles with both readers."""

    equal: int
    difference: str | None = None
    """The first tile that differs and by how much; nothing after it is compared."""
    missed: tuple[str, ...] = ()
    """Errors of the fast reader on tiles that OpenSlide decodes."""
    damaged: tuple[str, ...] = ()
    """Errors of the fast reader on tiles that OpenSlide cannot decode either."""


def compare_readers(reader: TiffReader, reference: OpenSlideReader) -> ReaderComparison:
    """Decode the fullest, the last and some other tiles of each level with both readers."""
    equal = 0
    missed, damaged = [], []
    known = reference.pyramid.levels  # OpenSlide sees only the first level of an OME-TIFF
    for level, (ours, theirs) in enumerate(zip(reader.pyramid.levels, known, strict=False)):
        if (ours.width, ours.height) != (theirs.width, theirs.height):
            return ReaderComparison(
                equal=equal, difference=f"level {level} has another size than OpenSlide's"
            )
    for part in _parts(reader, len(known)):
        expected = part.read_by_openslide(reference, reader.pyramid.levels[part.level].downsample)
        try:
            found = part.read(reader)
        except UnreadableRegionError as error:
            (damaged if expected is None else missed).append(str(error))
            continue
        if expected is None:
            continue
        if found.shape != expected.shape:
            return ReaderComparison(equal=equal, difference=f"{part} has another size")
        off = np.abs(found.astype(np.int16) - expected).max()
        if off:
            return ReaderComparison(
                equal=equal, difference=f"{part} differs from OpenSlide's by {off} grey levels"
            )
        equal += 1
    return ReaderComparison(equal=equal, missed=tuple(missed), damaged=tuple(damaged))


@dataclass(frozen=True, kw_only=True)
class _TilePart:
    """The part of a tile that starts at whole level-0 px."""

    level: int
    row: int
    column: int
    x: range
    y: range
    """Columns and rows of the part, level px."""

    def __str__(self) -> str:
        return f"level {self.level}, tile row {self.row}, column {self.column}"

    def read(self, reader: TiffReader) -> np.ndarray:
        tile = reader.tile(self.level, self.row, self.column)
        if tile is None:
            return np.full((len(self.y), len(self.x), 3), reader.pyramid.background, np.uint8)
        shape = reader.pyramid.levels[self.level]
        top, left = self.row * shape.tile_height, self.column * shape.tile_width
        return tile[
            self.y.start - top : self.y.stop - top, self.x.start - left : self.x.stop - left
        ]

    def read_by_openslide(self, reference: OpenSlideReader, downsample: float) -> np.ndarray | None:
        x, y = round(self.x.start * downsample), round(self.y.start * downsample)
        size = len(self.x), len(self.y)
        try:
            return reference.region_at_level0(x, y, level=self.level, size=size)
        except UnreadableRegionError:
            return None


def _parts(reader: TiffReader, levels: int) -> Iterator[_TilePart]:
    for level, shape in enumerate(reader.pyramid.levels[:levels]):
        for row, column in _choose_tiles(reader, level, max(2, TILES // levels)):
            left, top = column * shape.tile_width, row * shape.tile_height
            x = range(left, min(left + shape.tile_width, shape.width))
            y = range(top, min(top + shape.tile_height, shape.height))
            x, y = (_skip_to_whole_px(span, shape.downsample) for span in (x, y))
            if x and y:
                yield _TilePart(level=level, row=row, column=column, x=x, y=y)


def _choose_tiles(reader: TiffReader, level: int, count: int) -> list[tuple[int, int]]:
    """The fullest tile (white ones are all alike), the last, one that was never written, and some
    between."""
    stored, shape = reader.levels[level], reader.pyramid.levels[level]
    total = shape.rows * stored.columns
    indices = [
        int(stored.counts[:total].argmax()),
        total - 1,
        *np.linspace(0, total - 1, count + 1).astype(int)[1:-1],
    ]
    # Compare an unwritten tile too: depending on the vendor, OpenSlide shows the background there
    # or a coarser level.
    unwritten = np.flatnonzero(stored.counts[:total] == 0)[:1].tolist()
    tiles = dict.fromkeys(
        divmod(int(index), stored.columns) for index in [*indices[:count], *unwritten]
    )
    return [(row, column) for row, column in tiles if column < shape.columns]


def _skip_to_whole_px(span: range, downsample: float) -> range:
    """The rest of a span of level px, from the first px at a whole level-0 px on."""
    candidates = np.array(span)
    off = np.abs(np.rint(candidates * downsample) / downsample - candidates)
    fit = np.flatnonzero(off < UNSEEN_PX)
    return span[int(fit[0]) :] if len(fit) else range(0)
