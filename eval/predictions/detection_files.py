"""Detections from CSV files: one file a slide as in CAMELYON (p, x, y), or one table of all slides
(slide, x, y, probability).

Coordinates are level-0 px. Every error names the file and the line.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...storage import CsvColumn, CsvRow, CsvTable, ScoreError, format_count
from ...wsi import Detections
from .slide_names import SlideNames

__all__ = ["DetectionFiles", "SlideDetections", "is_outside", "list_csv"]

COLUMNS = (
    CsvColumn(name="slide", aliases=("image", "name", "filename")),
    CsvColumn(name="x", aliases=("x_level0", "x coordinate")),
    CsvColumn(name="y", aliases=("y_level0", "y coordinate")),
    CsvColumn(name="probability", also=("p",), aliases=("prob", "score", "confidence")),
)
CAMELYON = ("probability", "x", "y")
TABLE = ("slide", "x", "y", "probability")


def is_outside(detections: Detections, slide_size: tuple[int, int]) -> np.ndarray:
    """Detections (N,) outside a slide of (width, height) level-0 px: (N,) bool."""
    x, y, (width, height) = detections.x, detections.y, slide_size
    return (x < 0) | (y < 0) | (x >= width) | (y >= height)


@dataclass(frozen=True, kw_only=True)
class SlideDetections:
    """Detections of one slide and the line of each in its file."""

    detections: Detections
    path: Path
    line: np.ndarray
    """(N,) int64, from 1."""

    @property
    def repeated(self) -> int:
        """Number of detections with the place and the probability of another one."""
        found = self.detections
        rows = np.stack([found.x, found.y, found.probability], axis=1)
        return len(found) - len(np.unique(rows, axis=0))

    def list_outside(self, slide_size: tuple[int, int]) -> tuple[str, ...]:
        """File, line and place of each detection outside a slide of (width, height) level-0 px."""
        found, rows = self.detections, np.flatnonzero(is_outside(self.detections, slide_size))
        return tuple(
            f"{self.path}, line {self.line[i]}: ({found.x[i]:g}, {found.y[i]:g})"
            for i in rows.tolist()
        )


@dataclass(frozen=True, kw_only=True)
class DetectionFiles:
    """Detections by slide id, from a folder of files or from one table."""

    path: Path
    by_slide: dict[str, SlideDetections]
    is_table: bool
    """A slide without a row in a table has no detections; a slide without a file has no
    prediction."""

    @classmethod
    def load(
        cls, path: Path, ids: Sequence[str], *, paths: Mapping[str, str] | None = None
    ) -> "DetectionFiles":
        """Read detections of slides with these ids, or with the path of an id.

        Raises:
            ScoreError: no such files, an empty table, a line that cannot be used, or detections of
                a slide that is not in ids or cannot be told from another.
        """
        names = SlideNames(ids, paths)
        if not path.is_dir():
            return cls._of_csv(_load_csv(path, TABLE, CAMELYON), names)
        files = [path / name for name in list_csv(path)]
        if len(files) == 1:
            table = _load_csv(files[0], CAMELYON, TABLE)
            if "slide" in table.columns:
                return cls._of_csv(table, names)
        found: dict[str, SlideDetections] = {}
        for file in files:
            slide = names.match(file.stem, str(file))
            if slide in found:
                raise ScoreError(
                    f"{file}: {found[slide].path.name} holds slide {slide} too; keep one of them"
                )
            rows = []
            for row in map(_read_row, _load_csv(file, CAMELYON)):
                if row.slide and names.match(row.slide, row.where) != slide:
                    raise ScoreError(
                        f"{row.where}: slide {row.slide!r} in the file of {slide}; move the row"
                    )
                rows.append(row)
            found[slide] = _join(slide, file, rows)
        return cls(path=path, by_slide=found, is_table=False)

    @classmethod
    def _of_csv(cls, table: CsvTable, names: SlideNames) -> "DetectionFiles":
        if "slide" not in table.columns:
            raise ScoreError(
                f"{table.path}: {table.expected} of one slide; give the folder of such files, each "
                "named after its slide, or add a column slide"
            )
        if table.is_empty:
            raise ScoreError(
                f"{table.path}: is empty; for a model that found nothing, give the header "
                f"{','.join(TABLE)}"
            )
        by_slide: dict[str, list[_DetectionRow]] = {}
        for row in map(_read_row, table):
            by_slide.setdefault(names.match(row.slide, row.where), []).append(row)
        joined = {slide: _join(slide, table.path, rows) for slide, rows in by_slide.items()}
        return cls(path=table.path, by_slide=joined, is_table=True)

    @classmethod
    def of_table(
        cls,
        detections: Detections,
        ids: Sequence[str],
        *,
        paths: Mapping[str, str] | None = None,
    ) -> "DetectionFiles":
        """Group a table in memory by slide; its rows count as lines, from 1.

        Raises:
            ScoreError: detections of a slide that is not in ids or cannot be told from another.
        """
        path, names = Path("detections"), SlideNames(ids, paths)
        given = detections.slide.astype(str).tolist()
        known = {name: line for line, name in reversed(list(enumerate(given, 1)))}  # first lines
        slides = {n: names.match(n, f"{path}, line {line}") for n, line in known.items()}
        matched = replace(detections, slide=np.array([slides[name] for name in given], object))
        by_slide: dict[str, SlideDetections] = {}
        for slide in dict.fromkeys(matched.slide.tolist()):
            line = np.flatnonzero(matched.slide == slide) + 1
            by_slide[slide] = SlideDetections(detections=matched.on(slide), path=path, line=line)
        return cls(path=path, by_slide=by_slide, is_table=True)


def list_csv(folder: Path) -> list[str]:
    """Names of files that may hold detections; `gigaslide predict` writes a summary.csv that does
    not."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".csv")
    return [name for name in names if not name.startswith(".") and name != "summary.csv"]


class _DetectionRow(NamedTuple):
    where: str
    line: int
    slide: str
    x: float
    y: float
    probability: float


def _load_csv(path: Path, *orders: tuple[str, ...]) -> CsvTable:
    """Load a CSV; without a header its columns have one of these orders."""
    return CsvTable.load(path, COLUMNS, required=CAMELYON, orders=orders, error=ScoreError)


def _join(slide: str, path: Path, rows: list[_DetectionRow]) -> SlideDetections:
    xyp = np.array([(row.x, row.y, row.probability) for row in rows], np.float64).reshape(-1, 3)
    return SlideDetections(
        detections=Detections.of_slide(slide, xyp[:, :2], xyp[:, 2]),
        path=path,
        line=np.array([row.line for row in rows], np.int64),
    )


def _read_row(row: CsvRow) -> _DetectionRow:
    if len(row.cells) <= max(row.table.columns.values()):
        raise ScoreError(
            f"{row.where}: {format_count(len(row.cells), 'value')}, expected "
            f"{row.table.expected}; separate by commas"
        )
    numbers = {name: row.number(name) for name in CAMELYON}
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ScoreError(f"{row.where}: {name} is {number}; remove the row, or give a number")
    if not 0 <= numbers["probability"] <= 1:
        raise ScoreError(
            f"{row.where}: probability {numbers['probability']:g} is not in [0, 1]; scale the "
            "scores"
        )
    return _DetectionRow(row.where, row.line, row.text("slide"), **numbers)
