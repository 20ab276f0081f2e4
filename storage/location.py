"""Locations of slides and outputs: a path, or a URL (s3://, gs://, https://)."""

import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import SlideError

__all__ = [
    "ZARR_METADATA",
    "Location",
    "expand_home",
    "file_system",
    "format_location",
    "is_url",
    "join_location",
    "location_exists",
    "name_of",
    "parse_location",
    "remote_identity",
]

Location = Path | str
"""A str is a URL: a Path would take one of its slashes."""
ZARR_METADATA = ("zarr.json", ".zattrs")
"""Files that stand for a whole Zarr folder."""
CHANGE_MARKS = ("ETag", "etag", "md5Hash", "LastModified", "updated", "last_modified", "mtime")
"""Names that file systems give to an object's mark of change, the surest first."""


def is_url(location: Location) -> bool:
    return isinstance(location, str) and "://" in location


def join_location(location: Location, *names: str) -> Location:
    """Append names to a location."""
    if isinstance(location, Path):
        return location.joinpath(*names)
    return "/".join([location.rstrip("/"), *names])


def parse_location(text: str, folder: Path) -> Location:
    """Return the URL, or the path: relative to folder if it is not absolute or in a home."""
    if text.startswith("file://"):
        # After the host; # and ? are letters, for nothing but a path is meant.
        return Path(unquote("/" + text.removeprefix("file://").partition("/")[2]))
    return text.strip().rstrip("/") if is_url(text) else folder / expand_home(text)


def expand_home(text: str) -> str:
    """Replace ~ or ~user at the start by the home folder, as a shell does; a file called ~ can be
    given as ./~."""
    return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser fails for unknown users


def format_location(location: Location) -> str:
    """Format a location for people: without a URL's password and query, which may be secret."""
    if not is_url(location):
        return str(location)
    parts = urlsplit(str(location))
    if parts.scheme not in ("http", "https"):
        return str(location)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def name_of(location: Location) -> str:
    """Return the last part of the path: slide.svs."""
    if isinstance(location, Path):
        return location.name
    parts = urlsplit(location)
    # Only the web has queries; in a bucket # and ? are letters.
    path = parts.path if parts.scheme in ("http", "https") else location.split("://", 1)[1]
    return PurePosixPath(unquote(path)).name


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises:
        SlideError: no installed package reads such URLs.
    """
    import fsspec  # here: it takes 0.1 s, and most commands do without

    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        raise SlideError(
            f"{format_location(url)}: reading it in place needs another package ({error}); pip "
            "install 'gigaslide[remote]'"
        ) from error
    except ValueError as error:
        raise SlideError(
            f"{format_location(url)}: {error}; use s3://, gs:// or https://, or copy the slide "
            "first"
        ) from error


def location_exists(location: Location) -> bool:
    """True if something is there to read; False also if the service does not answer."""
    if isinstance(location, Path):
        return location.exists()
    try:
        return bool(_info(location))
    except Exception:  # every service has errors of its own
        return False


def remote_identity(url: str) -> dict[str, Any]:
    """Return name, size, and the service's own mark of change."""
    info = _info(url)
    mark = next((str(info[name]) for name in CHANGE_MARKS if info.get(name)), "")
    return {"name": name_of(url), "bytes": info.get("size"), "modified": mark.strip('"')}


def _info(url: str) -> dict[str, Any]:
    files, path = file_system(url)
    if not url.endswith(".zarr"):
        return files.info(path)
    for name in ZARR_METADATA:  # a folder of objects has neither a size nor a date
        try:
            return files.info(f"{path}/{name}")
        except FileNotFoundError:
            continue
    raise FileNotFoundError(url)
