"""Files of the page, from a dictionary of the package's own resources."""

from functools import cached_property
from pathlib import Path

__all__ = ["Assets"]

STATIC = Path(__file__).parent / "static"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


class Assets:
    """Files below a folder, by names such as vendor/ol.js. Their list is made once; their content
    is read at each request, so that a reload shows an edited file."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder

    @cached_property
    def names(self) -> dict[str, Path]:
        return {
            path.relative_to(self._folder).as_posix(): path
            for path in sorted(self._folder.rglob("*"))
            if path.is_file() and not path.is_symlink() and path.suffix in KINDS
        }

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return the content and the media type of a file; None if there is none of that name."""
        path = self.names.get(name)
        return None if path is None else (path.read_bytes(), KINDS[path.suffix])
