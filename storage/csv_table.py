"""Tables that people hand over: CSV of any separator and encoding, with columns in any case.

Nothing is guessed in silence: what can mean two things is refused, and every error names the file.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .csv_columns import CsvColumn, find_columns, fold_name, refuse_missing, warn_of_lookalikes
from .errors import GigaslideError
from .formatting import format_count
from .text_file import read_text

__all__ = ["CsvRow", "CsvTable"]

DELIMITERS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[^\S\n]*', re.IGNORECASE)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


@dataclass(frozen=True, kw_only=True)
class CsvRow:
    """A row of a table that is not empty."""

    table: "CsvTable" = field(repr=False)
    line: int
    """From 1; the last line of a row with line breaks in its cells."""
    cells: tuple[str, ...]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.table.path}, line {self.line}"

    def text(self, column: str, *, strip: bool = True) -> str:
        """Return the text of a known column; empty where the table or the row lacks it."""
        index = self.table.columns.get(column, len(self.cells))
        text = self.cells[index] if index < len(self.cells) else ""
        return text.strip() if strip else text

    def number(self, column: str) -> float:
        """Return the number of a known column, written with a decimal point or comma.

        Raises:
            GigaslideError: no number, or one that may be two, such as 1,234; of the table's class.
        """
        text = self.text(column)
        if self.table.delimiter != ";" and THOUSANDS.fullmatch(text):
            raise self.table.error(
                f"{self.where}: {column} is {text!r}, which may be {text.replace(',', '')} or "
                f"{text.replace(',', '.')}; write it without commas"
            )
        try:
            return _parse_number(text)
        except ValueError as error:
            raise self.table.error(f"{self.where}: {column} is {text!r}; give a number") from error

    @property
    def further(self) -> dict[str, str]:
        """Text of each named column that is not known."""
        known = set(self.table.columns.values())
        return {
            name: self.cells[index].strip() if index < len(self.cells) else ""
            for index, name in enumerate(self.table.header)
            if name and index not in known
        }


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """A CSV file whose columns are known by name, or by order where it has no header."""

    path: Path
    error: type[GigaslideError]
    """Class of the errors that the table raises."""
    delimiter: str
    header: tuple[str, ...]
    """Names as they are written, trimmed; empty where the file has no header."""
    columns: Mapping[str, int]
    """Index of each known column that the table has."""
    content: str = field(repr=False)

    @classmethod
    def load(
        cls,
        path: Path,
        columns: Sequence[CsvColumn],
        *,
        required: Sequence[str],
        orders: Sequence[Sequence[str]] = (),
        error: type[GigaslideError],
    ) -> "CsvTable":
        """Read a CSV file; its separator and encoding are detected.

        orders name the columns of a file without header: the first with as many names as its first
        row has values, or else the first. Without orders the file needs a header.
        Unknown columns that are spelled like a missing one are told in a warning.

        Raises:
            GigaslideError: of the given class: no such file, no CSV, a required column is missing,
                or two columns mean the same.
        """
        delimiter, content = _split_off_separator(read_text(path, error))
        delimiter = delimiter or _detect_delimiter(content, columns)
        first = next(_read_cells(path, content, delimiter, error), (1, ()))
        if orders and (not first[1] or any(map(_is_number, first[1]))):
            order = next((one for one in orders if len(one) == len(first[1])), orders[0])
            header, found = (), {name: index for index, name in enumerate(order)}
        else:
            where = f"{path}, line {first[0]}"
            header = tuple(name.strip() for name in first[1])
            found = find_columns(where, header, columns, error)
            refuse_missing(where, header, columns, [n for n in required if n not in found], error)
            warn_of_lookalikes(where, header, columns, found)
        return cls(
            path=path,
            error=error,
            delimiter=delimiter,
            header=header,
            columns=found,
            content=content,
        )

    def __iter__(self) -> Iterator[CsvRow]:
        """Iterate over the rows that are not empty.

        Raises:
            GigaslideError: of the table's class: no CSV, or a row with more values than columns.
        """
        lines = _read_cells(self.path, self.content, self.delimiter, self.error)
        if self.header:
            next(lines)
        width = len(self.header or self.columns)
        for line, cells in lines:
            row = CsvRow(table=self, line=line, cells=cells)
            if any(cell.strip() for cell in cells[width:]):
                raise self.error(
                    f"{row.where}: {format_count(len(cells), 'value')}, expected {width} "
                    f"({self.expected}); quote a value that holds {self.delimiter!r}"
                )
            yield row

    @property
    def is_empty(self) -> bool:
        """True if the file has neither a header nor a row."""
        return not self.content.strip()

    @property
    def expected(self) -> str:
        """Names of the columns in their order, as in the file or, without header, as known."""
        return ",".join(self.header or sorted(self.columns, key=lambda name: self.columns[name]))


def _split_off_separator(content: str) -> tuple[str, str]:
    """Separator that Excel's first line `sep=;` gives, and the content with that line emptied."""
    match = SEPARATOR_LINE.match(content)
    if match is None or content[match.end() : match.end() + 1] not in ("", "\n", "\r"):
        return "", content
    return match[1], content[match.end() :]


def _detect_delimiter(content: str, columns: Sequence[CsvColumn]) -> str:
    """Separator with which the first row has the most known names and numbers."""
    known = {fold_name(name) for one in columns for name in (one.name, *one.also, *one.aliases)}

    def rank(delimiter: str) -> tuple[int, int]:
        try:
            _, cells = next(_read_csv(content, delimiter), (0, ()))
        except csv.Error:
            return -1, 0
        fits = sum(fold_name(cell) in known or _is_number(cell) for cell in cells)
        return fits, len(cells)

    return max(DELIMITERS, key=rank)


def _read_csv(content: str, delimiter: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    reader = csv.reader(
        io.StringIO(content, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, tuple(cells)


def _read_cells(
    path: Path, content: str, delimiter: str, error: type[GigaslideError]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    line = 0
    try:
        for line, cells in _read_csv(content, delimiter):
            yield line, cells
    except csv.Error as problem:
        raise error(
            f"{path}, after line {line}: cannot be read as CSV: {problem}; check the quotes, and "
            "save it as CSV"
        ) from problem


def _is_number(text: str) -> bool:
    try:
        _parse_number(text)
    except ValueError:
        return False
    return True


def _parse_number(text: str) -> float:
    # Where commas separate values, one inside a value was quoted: it is a decimal comma too.
    return float(text.strip().replace(",", ".", 1) if "." not in text else text)
