"""Anybody's detections from CSV: a file for each slide as in CAMELYON (p, x, y), or a table (slide,
x, y, probability).

Coordinates are level-0 px. Every error names the file and the line.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...storage import ScoreError
from ...wsi import Detections

__all__ = ["DetectionFiles", "SlideDetections", "csv_names", "is_outside"]

NAMES = {
    "slide": ("slide", "image", "name", "filename"),
    "probability": ("probability", "p", "prob", "score", "confidence"),
    "x": ("x", "x_level0", "x coordinate"),
    "y": ("y", "y_level0", "y coordinate"),
}
CAMELYON = ("probability", "x", "y")
TABLE = ("slide", "x", "y", "probability")
SLIDE_SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".mrxs", ".csv")


def is_outside(detections: Detections, slide_size: tuple[int, int]) -> np.ndarray:
    """Which detections (N,) lie outside a slide of (width, height) level-0 px: (N,) bool."""
    x, y, (width, height) = detections.x, detections.y, slide_size
    return (x < 0) | (y < 0) | (x >= width) | (y >= height)


@dataclass(frozen=True, kw_only=True)
class SlideDetections:
    """Detections of one slide, and the line each stands on."""

    detections: Detections
    path: Path
    line: np.ndarray
    """(N,) int64, from 1."""

    @property
    def repeated(self) -> int:
        """How many say what another one says: place and probability."""
        found = self.detections
        return len(found) - len(
            np.unique(np.stack([found.x, found.y, found.probability]), axis=1).T
        )

    def outside(self, slide_size: tuple[int, int]) -> tuple[str, ...]:
        """Where each detection stands that lies outside a slide of (width, height) level-0 px."""
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
    """A table has no place for a slide without detections: none there is none, where a missing file
    is missing."""

    @classmethod
    def load(cls, path: Path, ids: Sequence[str]) -> "DetectionFiles":
        """Read detections of slides with these ids (matched without regard to case where need be).

        Raises:
            ScoreError: no such files, a table without a line, a line that cannot be used, or
            predictions for a slide
                that is not in ids.
        """
        if not path.is_dir():
            return cls(path=path, by_slide=_table(path, ids), is_table=True)
        files = [path / name for name in csv_names(path)]
        if len(files) == 1 and _has_slides(files[0]):
            return cls(path=files[0], by_slide=_table(files[0], ids), is_table=True)
        known = _Ids(ids)
        found: dict[str, SlideDetections] = {}
        for file in files:
            slide = known.of(file.stem, str(file))
            if slide in found:
                raise ScoreError(
                    f"{file}: {found[slide].path.name} speaks of slide {slide} too; keep one of "
                    "them"
                )
            rows = [row for row in _rows(file, CAMELYON) if _is_of(row, slide, known)]
            found[slide] = _slide_detections(slide, file, rows)
        return cls(path=path, by_slide=found, is_table=False)

    def refuse_if_of_others(self, slides: Sequence[str]) -> None:
        """Pass if a table has rows of one of these slides, or no rows at all.

        Raises:
            ScoreError: all its rows are of other slides; that none was found on these would be no
            finding.
        """
        if self.is_table and self.by_slide and not self.by_slide.keys() & set(slides):
            raise ScoreError(
                f"{self.path}: has no row of the {len(slides)} slides that are evaluated, but of "
                f"{len(self.by_slide)} others, the first {next(iter(self.by_slide))}; give their "
                "--split, or another table"
            )

    @classmethod
    def of_table(cls, detections: Detections, ids: Sequence[str]) -> "DetectionFiles":
        """Of a table in memory, whose rows count as its lines, from 1.

        Raises:
            ScoreError: detections of a slide that is not in ids.
        """
        path, known = Path("detections"), _Ids(ids)
        names, first, which = np.unique(
            detections.slide.astype(str), return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        slides = {
            i: known.of(str(names[i]), f"{path}, line {first[i] + 1}") for i in order.tolist()
        }
        named = replace(detections, slide=np.array([slides[i] for i in which.tolist()], object))
        by_slide: dict[str, SlideDetections] = {}
        for slide in dict.fromkeys(slides.values()):
            line = np.flatnonzero(named.slide == slide) + 1
            by_slide[slide] = SlideDetections(detections=named.on(slide), path=path, line=line)
        return cls(path=path, by_slide=by_slide, is_table=True)


def csv_names(folder: Path) -> list[str]:
    """Files of a folder that may hold detections; `gigaslide predict` leaves a summary.csv that
    does not."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".csv")
    return [name for name in names if not name.startswith(".") and name != "summary.csv"]


class _Ids:
    """Names of slides as people write them: with a suffix, or in other case."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = {slide: slide for slide in ids}
        folded: dict[str, list[str]] = {}
        for slide in ids:
            folded.setdefault(slide.casefold(), []).append(slide)
        self._folded = {name: one[0] for name, one in folded.items() if len(one) == 1}

    def of(self, name: str, where: str) -> str:
        stem = name[: name.rindex(".")] if name.lower().endswith(SLIDE_SUFFIXES) else name
        for wanted in (name, stem):
            found = self._ids.get(wanted) or self._folded.get(wanted.casefold())
            if found:
                return found
        raise ScoreError(
            f"{where}: predictions for {name!r}, which the cohort does not list; remove them, or "
            "add the slide"
        )


class _Row(NamedTuple):
    path: Path
    line: int
    slide: str
    x: float
    y: float
    probability: float


def _is_of(row: _Row, slide: str, known: _Ids) -> bool:
    if row.slide and known.of(row.slide, f"{row.path}, line {row.line}") != slide:
        raise ScoreError(
            f"{row.path}, line {row.line}: slide {row.slide!r} in the file of {slide}; move the row"
        )
    return True


def _table(path: Path, ids: Sequence[str]) -> dict[str, SlideDetections]:
    known = _Ids(ids)
    with _opened(path) as lines:
        if not any(line.strip() for line in lines):
            raise ScoreError(
                f"{path}: is empty; of a model that found nothing, give the header "
                f"{','.join(TABLE)}"
            )
    by_slide: dict[str, list[_Row]] = {}
    for row in _rows(path, TABLE):
        by_slide.setdefault(known.of(row.slide, f"{path}, line {row.line}"), []).append(row)
    return {slide: _slide_detections(slide, path, rows) for slide, rows in by_slide.items()}


def _slide_detections(slide: str, path: Path, rows: list[_Row]) -> SlideDetections:
    detections = Detections.of_slide(
        slide,
        np.array([(row.x, row.y) for row in rows], np.float64),
        np.array([row.probability for row in rows]),
    )
    return SlideDetections(
        detections=detections, path=path, line=np.array([row.line for row in rows], np.int64)
    )


def _has_slides(path: Path) -> bool:
    with _opened(path) as lines:
        first = next(csv.reader(lines), [])
    return "slide" in _columns(first) or len(first) == len(TABLE)


def _opened(path: Path):
    try:
        return path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise ScoreError(
            f"{path}: no detections can be read: {error.strerror}; give a folder or a CSV"
        ) from error


def _columns(cells: list[str]) -> dict[str, int]:
    """Where each column stands, if the cells are a header; empty if they are not."""
    words = [cell.strip().casefold() for cell in cells]
    return {
        name: words.index(word) for name, known in NAMES.items() for word in known if word in words
    }


def _rows(path: Path, order: tuple[str, ...]) -> Iterator[_Row]:
    """The rows of a file; without a header the columns stand in this order."""
    columns: dict[str, int] = {}
    with _opened(path) as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if not columns:
                    columns = _columns(cells)
                    missing = [name for name in order if name not in columns]
                    if columns and missing:
                        raise ScoreError(
                            f"{path}, line {reader.line_num}: the header {','.join(cells)!r} has "
                            f"no column for {', '.join(missing)}; expected {','.join(order)}"
                        )
                    if columns:
                        continue
                    columns = {name: index for index, name in enumerate(order)}
                yield _row(path, reader.line_num, cells, columns)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ScoreError(
                f"{path}, line {reader.line_num}: cannot be read as CSV: {error}"
            ) from error


def _row(path: Path, line: int, cells: list[str], columns: dict[str, int]) -> _Row:
    if len(cells) <= max(columns.values()):
        expected = ",".join(sorted(columns, key=lambda name: columns[name]))
        raise ScoreError(
            f"{path}, line {line}: {len(cells)} value{'s' * (len(cells) != 1)}, expected "
            f"{expected}; separate by commas"
        )
    numbers = {}
    for name in ("probability", "x", "y"):
        text = cells[columns[name]].strip()
        try:
            numbers[name] = float(text)
        except ValueError as error:
            raise ScoreError(f"{path}, line {line}: {name} is {text!r}; give a number") from error
        if not math.isfinite(numbers[name]):
            raise ScoreError(
                f"{path}, line {line}: {name} is {text}; remove the row, or give a number"
            )
    if not 0 <= numbers["probability"] <= 1:
        raise ScoreError(
            f"{path}, line {line}: probability {numbers['probability']:g} is not in [0, 1]; scale "
            "the scores to it"
        )
    slide = cells[columns["slide"]].strip() if "slide" in columns else ""
    return _Row(path, line, slide, **numbers)
