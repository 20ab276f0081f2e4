"""Detections from CSV files: one file a slide as in CAMELYON (p, x, y), or one table of all slides
(slide, x, y, probability).

Coordinates are level-0 px. Every error names the file and the line.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...storage import ScoreError, format_count
from ...wsi import Detections

__all__ = ["DetectionFiles", "SlideDetections", "is_outside", "list_csv"]

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
    def load(cls, path: Path, ids: Sequence[str]) -> "DetectionFiles":
        """Read detections of slides with these ids; case and suffix may differ.

        Raises:
            ScoreError: no such files, an empty table, a line that cannot be used, or detections of
                a slide that is not in ids.
        """
        if not path.is_dir():
            return cls(path=path, by_slide=_read_table(path, ids), is_table=True)
        files = [path / name for name in list_csv(path)]
        if len(files) == 1 and _has_slide_column(files[0]):
            return cls(path=files[0], by_slide=_read_table(files[0], ids), is_table=True)
        names = _SlideNames(ids)
        found: dict[str, SlideDetections] = {}
        for file in files:
            slide = names.match(file.stem, str(file))
            if slide in found:
                raise ScoreError(
                    f"{file}: {found[slide].path.name} holds slide {slide} too; keep one of them"
                )
            rows = list(_read_rows(file, CAMELYON))
            for row in rows:
                where = f"{file}, line {row.line}"
                if row.slide and names.match(row.slide, where) != slide:
                    raise ScoreError(
                        f"{where}: slide {row.slide!r} in the file of {slide}; move the row"
                    )
            found[slide] = _join(slide, file, rows)
        return cls(path=path, by_slide=found, is_table=False)

    @classmethod
    def of_table(cls, detections: Detections, ids: Sequence[str]) -> "DetectionFiles":
        """Group a table in memory by slide; its rows count as lines, from 1.

        Raises:
            ScoreError: detections of a slide that is not in ids.
        """
        path, names = Path("detections"), _SlideNames(ids)
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


class _SlideNames:
    """Slide ids as people write them: with a suffix, or in other case."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = {slide: slide for slide in ids}
        folded: dict[str, list[str]] = {}
        for slide in ids:
            folded.setdefault(slide.casefold(), []).append(slide)
        self._folded = {name: one[0] for name, one in folded.items() if len(one) == 1}

    def match(self, name: str, where: str) -> str:
        stem = name[: name.rindex(".")] if name.lower().endswith(SLIDE_SUFFIXES) else name
        for wanted in (name, stem):
            found = self._ids.get(wanted) or self._folded.get(wanted.casefold())
            if found:
                return found
        raise ScoreError(
            f"{where}: predictions for {name!r}, which the cohort does not list; remove them, or "
            "add the slide"
        )


class _DetectionRow(NamedTuple):
    line: int
    slide: str
    x: float
    y: float
    probability: float


def _read_table(path: Path, ids: Sequence[str]) -> dict[str, SlideDetections]:
    names = _SlideNames(ids)
    with _open(path) as lines:
        if not any(line.strip() for line in lines):
            raise ScoreError(
                f"{path}: is empty; for a model that found nothing, give the header "
                f"{','.join(TABLE)}"
            )
    by_slide: dict[str, list[_DetectionRow]] = {}
    for row in _read_rows(path, TABLE):
        slide = names.match(row.slide, f"{path}, line {row.line}")
        by_slide.setdefault(slide, []).append(row)
    return {slide: _join(slide, path, rows) for slide, rows in by_slide.items()}


def _join(slide: str, path: Path, rows: list[_DetectionRow]) -> SlideDetections:
    xyp = np.array([(row.x, row.y, row.probability) for row in rows], np.float64).reshape(-1, 3)
    return SlideDetections(
        detections=Detections.of_slide(slide, xyp[:, :2], xyp[:, 2]),
        path=path,
        line=np.array([row.line for row in rows], np.int64),
    )


def _has_slide_column(path: Path) -> bool:
    with _open(path) as lines:
        first = next(csv.reader(lines), [])
    return "slide" in _find_columns(first) or len(first) == len(TABLE)


def _open(path: Path):
    try:
        return path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise ScoreError(
            f"{path}: no detections can be read: {error.strerror}; give a folder or a CSV"
        ) from error


def _find_columns(cells: list[str]) -> dict[str, int]:
    """Index of each column if the cells are a header; empty if they are not."""
    words = [cell.strip().casefold() for cell in cells]
    return {
        name: words.index(word) for name, known in NAMES.items() for word in known if word in words
    }


def _read_rows(path: Path, order: tuple[str, ...]) -> Iterator[_DetectionRow]:
    """The rows of a file; without a header the columns have this order."""
    columns: dict[str, int] = {}
    with _open(path) as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                if not columns:
                    columns = _find_columns(cells)
                    missing = [name for name in order if name not in columns]
                    if columns and missing:
                        raise ScoreError(
                            f"{where}: the header {','.join(cells)!r} has no column for "
                            f"{', '.join(missing)}; expected {','.join(order)}"
                        )
                    if columns:
                        continue
                    columns = {name: index for index, name in enumerate(order)}
                yield _read_row(where, reader.line_num, cells, columns)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ScoreError(
                f"{path}, line {reader.line_num}: not CSV: {error}; save it as UTF-8 CSV"
            ) from error


def _read_row(where: str, line: int, cells: list[str], columns: dict[str, int]) -> _DetectionRow:
    if len(cells) <= max(columns.values()):
        expected = ",".join(sorted(columns, key=lambda name: columns[name]))
        raise ScoreError(
            f"{where}: {format_count(len(cells), 'value')}, expected {expected}; separate by commas"
        )
    numbers = {}
    for name in ("probability", "x", "y"):
        text = cells[columns[name]].strip()
        try:
            numbers[name] = float(text)
        except ValueError as error:
            raise ScoreError(f"{where}: {name} is {text!r}; give a number") from error
        if not math.isfinite(numbers[name]):
            raise ScoreError(f"{where}: {name} is {text}; remove the row, or give a number")
    if not 0 <= numbers["probability"] <= 1:
        raise ScoreError(
            f"{where}: probability {numbers['probability']:g} is not in [0, 1]; scale the scores"
        )
    slide = cells[columns["slide"]].strip() if "slide" in columns else ""
    return _DetectionRow(line, slide, **numbers)
