"""Paths as people and other programs write them in tables, and as we write them."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ..storage import Location, parse_location

__all__ = ["find_written", "make_absolute", "make_relative"]


def find_written(text: str, folder: Path, *, suffixes: Collection[str] = ()) -> Location:
    """Find the file that a table's cell names: a URL, or a path relative to folder.

    Of a path, the first reading whose file exists: as written, without blanks around it, without
    the quotes of "Copy as path", with the backslashes of Windows as slashes, with one of the
    suffixes if a single file has it. Without such a file, the path as written, without blanks
    behind it.
    """
    stated = parse_location(text.rstrip(), folder)
    if isinstance(stated, str):
        return stated
    for reading in _readings(text):
        path = parse_location(reading, folder)
        if isinstance(path, Path) and path.exists():
            return path
    named = _with_suffix(stated, suffixes)
    return named[0] if len(named) == 1 else stated


def _with_suffix(path: Path, suffixes: Collection[str]) -> list[Path]:
    """Files beside a path that have its name and one of the suffixes, in any case."""
    if path.suffix.lower() in suffixes or not path.parent.is_dir():
        return []
    return [
        path.parent / name
        for name in (file.name for file in path.parent.iterdir())
        if name.startswith(path.name) and name[len(path.name) :].lower() in suffixes
    ]


def _readings(text: str) -> Iterator[str]:
    yield text
    yield text.strip()
    bare = text.strip().strip('"').strip()
    if bare:
        yield bare
        yield bare.replace("\\", "/")


def make_relative(path: Location, folder: Path) -> str:
    """Return a URL as it is, a path inside folder relative to it, any other path absolute."""
    if isinstance(path, str):
        return path
    path, folder = make_absolute(path), make_absolute(folder)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def make_absolute(path: Path) -> Path:
    """Return a path without "..", with the links in it as they are."""
    # Links stay, because a link carries the slide's name while its target may be a number.
    plain = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
    if ".." not in path.parts or os.path.realpath(plain) == os.path.realpath(path):
        return Path(plain)
    # Behind a linked folder, ".." is the parent of the link's target.
    parts = path.parts
    last = len(parts) - 1 - parts[::-1].index("..")
    return Path(os.path.realpath(Path(*parts[: last + 1])), *parts[last + 1 :])
