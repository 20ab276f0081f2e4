"""Paths as people and other programs write them in tables."""

from collections.abc import Iterator
from pathlib import Path

from ..storage import Location, parse_location

__all__ = ["find_written"]


def find_written(text: str, folder: Path) -> Location:
    """Find the file that a table's cell names: a URL, or a path relative to folder.

    Of a path, the first reading whose file exists: as written, without blanks around it, without
    the quotes of "Copy as path", with the backslashes of Windows as slashes. Without such a file,
    the path as written, without blanks behind it.
    """
    stated = parse_location(text.rstrip(), folder)
    if isinstance(stated, str):
        return stated
    for reading in _readings(text):
        path = parse_location(reading, folder)
        if isinstance(path, Path) and path.exists():
            return path
    return stated


def _readings(text: str) -> Iterator[str]:
    yield text
    yield text.strip()
    bare = text.strip().strip('"').strip()
    if bare:
        yield bare
        yield bare.replace("\\", "/")
