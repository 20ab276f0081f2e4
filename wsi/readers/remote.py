"""Slides read in place, by byte ranges of a URL: tiled TIFF and OME-Zarr."""

import io
import logging
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import tifffile
from zarr.storage import FsspecStore

from ...storage import SlideError, file_system, format_location, name_of
from ..geometry import ceil_div, floor_div
from .omezarr_reader import ome_zarr_in_store
from .pyramid import TileReader
from .tiff_directories import tiff_slide
from .tiff_reader import TIFF_SIGNATURES, TiffReader

__all__ = ["RemoteBytes", "open_remote"]

logger = logging.getLogger(__name__)

PAUSES_S = (0.5, 2.0)  # before the second and the third try
BLOCK_BYTES = 2**16  # of directories: the smallest part that is fetched
NOT_COMPARED = (
    "read in place by byte ranges; not compared with OpenSlide, which reads local files only"
)
COPY = (
    "only TIFF-based slides in tiles and OME-Zarr are read in place: copy it to a local disk first"
)

T = TypeVar("T")


def open_remote(url: str) -> tuple[TileReader, str]:
    """The reader of a slide at a URL, and in words why it is this one.

    Raises:
        SlideError: it cannot be reached, is no slide, or is one that must be copied first.
    """
    try:
        if name_of(url).endswith(".zarr"):
            store = FsspecStore.from_url(url, read_only=True)
            return ome_zarr_in_store(store, lambda fetch: _retried(fetch, url)), NOT_COMPARED
        source = RemoteBytes(url)
        if source.read(0, 4) not in TIFF_SIGNATURES:
            raise SlideError(COPY)
        return _tiff(source, name_of(url)), NOT_COMPARED
    except SlideError as error:
        raise SlideError(f"{format_location(url)}: {error}") from error
    except ImportError as error:
        raise SlideError(
            f"{format_location(url)}: {error}; pip install 'gigaslide[remote]'"
        ) from error
    except FileNotFoundError as error:
        raise SlideError(
            f"{format_location(url)}: no such object; check the cohort's slide column"
        ) from error
    except Exception as error:  # every service has errors of its own
        raise SlideError(
            f"{format_location(url)}: cannot be read: {_told(error, url)}; try again, or copy it "
            "first"
        ) from error


def _tiff(source: "RemoteBytes", name: str) -> TiffReader:
    file = _DirectoriesFile(source)
    try:
        with tifffile.TiffFile(io.BufferedReader(file), name=name) as tiff:
            slide = tiff_slide(tiff)
    except SlideError as error:
        raise SlideError(f"{error}; {COPY}") from error
    finally:
        # tifffile takes what it cannot read for the end of the file, and the slide would come out
        # with fewer levels.
        if file.failure:
            raise file.failure
    return TiffReader(source, slide.levels, slide.pyramid)


class RemoteBytes:
    """An object at a URL; every read is tried three times."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files, self._path = file_system(url)
        self.size = _retried(self._size, url)

    def _size(self) -> int:
        size = self._files.info(self._path).get("size")
        try:
            if size is not None and self._url.startswith("http"):
                # Asked for a part, some servers send the whole: fsspec's own file looks before it
                # takes it in.
                with self._files.open(self._path, cache_type="none") as file:
                    file.seek(1)
                    file.read(1)
        except ValueError:
            size = None
        if size is None:
            raise SlideError("its server gives no byte ranges; copy it to a local disk first")
        return int(size)

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        return _retried(lambda: self._part(offset, end), self._url)

    def _part(self, offset: int, end: int) -> bytes:
        content = self._files.cat_file(self._path, start=offset, end=end)
        if len(content) != end - offset:
            raise OSError(f"{len(content)} bytes came where {end - offset} were asked for")
        return content

    def reopen(self) -> None:
        """Nothing: every read is a request of its own."""

    def close(self) -> None:
        """Nothing is held open."""


class _DirectoriesFile(io.RawIOBase):
    """A file for tifffile to read directories from: whole blocks, each fetched once."""

    def __init__(self, source: RemoteBytes) -> None:
        self._source = source
        self._place = 0
        self._blocks: dict[int, bytes] = {}
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._source.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer) -> int:
        end = min(self._place + len(buffer), self._source.size)
        if end <= self._place:
            return 0
        first, stop = floor_div(self._place, BLOCK_BYTES), ceil_div(end, BLOCK_BYTES)
        missing = [number for number in range(first, stop) if number not in self._blocks]
        if missing:
            self._fetch(missing[0], missing[-1] + 1)
        content = b"".join(self._blocks[number] for number in range(first, stop))
        start = self._place - first * BLOCK_BYTES
        buffer[: end - self._place] = content[start : start + end - self._place]
        count, self._place = end - self._place, end
        return count

    def _fetch(self, first: int, stop: int) -> None:
        try:
            content = self._source.read(first * BLOCK_BYTES, (stop - first) * BLOCK_BYTES)
        except Exception as error:
            self.failure = error
            raise
        for number in range(first, stop):
            start = (number - first) * BLOCK_BYTES
            self._blocks[number] = content[start : start + BLOCK_BYTES]


def _retried(call: Callable[[], T], url: str) -> T:
    for pause_s in PAUSES_S:
        try:
            return call()
        except (PermissionError, ImportError, SlideError):
            raise
        except FileNotFoundError as error:
            if not (url.startswith("http") and _may_pass(error)):
                raise
            logger.info(
                "%s: %s; tried again in %g s",
                format_location(url),
                _told(error.__cause__, url),
                pause_s,
            )
            time.sleep(pause_s)
        except Exception as error:  # every service has errors of its own
            logger.info(
                "%s: %s; tried again in %g s", format_location(url), _told(error, url), pause_s
            )
            time.sleep(pause_s)
    return call()


def _may_pass(error: FileNotFoundError) -> bool:
    """fsspec says of any answer of a web server that there is no such file; only these say so
    themselves."""
    cause = error.__cause__
    return cause is not None and getattr(cause, "status", None) not in (401, 403, 404, 410)


def _told(error: BaseException | None, url: str) -> str:
    text, query = repr(error).replace(url, format_location(url)), urlsplit(url).query
    return text.replace(query, "…") if query else text
