"""Columns of a table by their names in its header: found, missing, or perhaps misspelled."""

import difflib
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import GigaslideError

__all__ = [
    "CsvColumn",
    "find_columns",
    "fold_name",
    "refuse_missing",
    "warn_of_lookalikes",
]

logger = logging.getLogger(__name__)

ALIKE = 0.8  # similarity from which one name may be a misspelling of another


@dataclass(frozen=True, kw_only=True)
class CsvColumn:
    """A column that a table may have; names are compared without case."""

    name: str
    also: tuple[str, ...] = ()
    """Further documented names; the first that is found wins."""
    aliases: tuple[str, ...] = ()
    """Names that count where no documented one is found; two of them are refused."""


def fold_name(name: str) -> str:
    """Return a name as names are compared: without case, Unicode form, blanks and underscores."""
    return re.sub(r"[\s_\ufeff]+", " ", unicodedata.normalize("NFC", name)).strip().casefold()


def find_columns(
    where: str, header: Sequence[str], columns: Sequence[CsvColumn], error: type[GigaslideError]
) -> dict[str, int]:
    """Return the index of each known column that a header has. where: file and line, for messages;
    error: class of the errors.

    Raises:
        GigaslideError: two columns of one name, or two that may both be one known column.
    """
    places: dict[str, list[int]] = {}
    for index, name in enumerate(header):
        if name:
            places.setdefault(fold_name(name), []).append(index)
    for same in places.values():
        if len(same) > 1:
            names = " and ".join(repr(header[index]) for index in same)
            raise error(f"{where}: {len(same)} columns of one name, {names}; rename or remove one")
    found = {}
    for column in columns:
        documented = [one for one in map(fold_name, (column.name, *column.also)) if one in places]
        others = [one for one in map(fold_name, column.aliases) if one in places]
        if len(others) > 1 and not documented:
            names = " and ".join(repr(header[places[one][0]]) for one in others)
            raise error(
                f"{where}: the columns {names} may both be {column.name}; rename the right one to "
                f"{column.name}"
            )
        if documented or others:
            found[column.name] = places[(documented or others)[0]][0]
        unused = (documented[1:] + others) if documented else []
        if unused:
            names = ", ".join(header[places[one][0]] for one in unused)
            logger.info("%s: %s is used; not used: %s", where, header[found[column.name]], names)
    return found


def refuse_missing(
    where: str,
    header: Sequence[str],
    columns: Sequence[CsvColumn],
    missing: Sequence[str],
    error: type[GigaslideError],
) -> None:
    """Pass if no column is missing; else name what the header has that may be meant."""
    if not missing:
        return
    known = ", ".join(column.name for column in columns)
    if not header:
        raise error(f"{where}: the file is empty; begin it with the line {known}")
    alike = _find_lookalikes(header, missing)
    hints = [f"{name!r} may be meant as {column}; " for name, column in alike.items()]
    raise error(
        f"{where}: no column {', '.join(missing)} among {', '.join(map(repr, header))}; "
        f"{''.join(hints)}rename the right column, or add it (known columns: {known}; separated "
        "by commas, semicolons or tabs)"
    )


def warn_of_lookalikes(
    where: str, header: Sequence[str], columns: Sequence[CsvColumn], found: Mapping[str, int]
) -> None:
    """Log each unknown column that is spelled like a missing one."""
    unknown = [name for index, name in enumerate(header) if index not in found.values()]
    missing = [column.name for column in columns if column.name not in found]
    for name, column in _find_lookalikes(unknown, missing).items():
        logger.warning(
            "%s: the column %r is not used; if it is meant as %s, rename it", where, name, column
        )


def _find_lookalikes(header: Sequence[str], missing: Sequence[str]) -> dict[str, str]:
    """Names of a header that hold a missing name as a word, or are spelled almost like it."""
    alike = {}
    for name in header:
        folded = fold_name(name)
        words = re.findall(r"[^\W\d_]+", folded)
        near = difflib.get_close_matches(folded, missing, n=1, cutoff=ALIKE)
        word = [column for column in missing if column in words]
        if near or word:
            alike[name] = (near or word)[0]
    return alike
