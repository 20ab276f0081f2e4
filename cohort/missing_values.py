"""Words that R, NumPy and spreadsheets write into a cell that has no value."""

from collections.abc import Collection
from dataclasses import replace

from ..storage import CsvRow, SettingsError

__all__ = ["empty_missing"]

MISSING = ("na", "n/a", "#n/a", "nan", "<na>")


def empty_missing(row: CsvRow, *, names: Collection[str]) -> CsvRow:
    """Empty the known cells that say that a value is missing, but not those of columns that hold
    names, where NA may be a name.

    Raises:
        SettingsError: such a word in a column of names.
    """
    for column in names:
        if row.text(column).casefold() in MISSING:
            raise SettingsError(
                f"{row.where}: {column} is {row.text(column)!r}, which may be a name or no value; "
                "leave it empty, or write another name"
            )
    known = {index for name, index in row.table.columns.items() if name not in names}
    cells = (
        "" if index in known and cell.strip().casefold() in MISSING else cell
        for index, cell in enumerate(row.cells)
    )
    return replace(row, cells=tuple(cells))
