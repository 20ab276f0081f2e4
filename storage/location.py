"""Where a slide lives: a path, or the URL of an object that fsspec reads in place (s3://, gs://,
https://)."""

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from .errors import SlideError

__all__ = [
    "ZARR_METADATA",
    "Location",
    "file_system",
    "format_location",
    "is_url",
    "location_exists",
    "name_of",
    "parse_location",
    "remote_identity",
]

Location = Path | str
"""A str is a URL: a Path would take one of its slashes."""
ZARR_METADATA = ("zarr.json", ".zattrs")  # what tells of a whole folder of chunks
CHANGES = ("ETag", "etag", "md5Hash", "LastModified", "updated", "last_modified", "mtime")
"""What file systems call the sign that an object was replaced, the surest first."""


def is_url(location: Location) -> bool:
    return isinstance(location, str) and "://" in location


def parse_location(text: str, folder: Path) -> Location:
    """A URL, or a path: relative to folder where it is not absolute."""
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    return text.strip().rstrip("/") if is_url(text) else folder / text


def format_location(location: Location) -> str:
    """A location for people: of a URL neither the password nor the query, which may be a
    signature."""
    if not is_url(location):
        return str(location)
    parts = urlsplit(str(location))
    if parts.scheme not in ("http", "https"):
        return str(location)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def name_of(location: Location) -> str:
    """The last part of the path: slide.svs."""
    if isinstance(location, Path):
        return location.name
    parts = urlsplit(location)
    # Only the web has queries; in a bucket # and ? are letters.
    path = parts.path if parts.scheme in ("http", "https") else location.split("://", 1)[1]
    return PurePosixPath(unquote(path)).name


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it.

    Raises:
        SlideError: nothing is installed that reads such URLs.
    """
    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        raise SlideError(
            f"{format_location(url)}: reading it in place needs a package more ({error}); pip "
            "install 'gigaslide[remote]'"
        ) from error
    except ValueError as error:
        raise SlideError(
            f"{format_location(url)}: {error}; use s3://, gs:// or https://, or copy the slide "
            "first"
        ) from error


def location_exists(location: Location) -> bool:
    """Whether there is something to read; False where the answer cannot be had."""
    if isinstance(location, Path):
        return location.exists()
    try:
        return bool(_info(location))
    except Exception:  # every service has errors of its own
        return False


def remote_identity(url: str) -> dict[str, Any]:
    """Name, size, and the service's own sign of change."""
    info = _info(url)
    sign = next((str(info[name]) for name in CHANGES if info.get(name)), "")
    return {"name": name_of(url), "bytes": info.get("size"), "modified": sign.strip('"')}


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
