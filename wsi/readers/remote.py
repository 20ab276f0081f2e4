"""Reading slides in place from a URL by byte ranges: tiled TIFF and OME-Zarr."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fsspec.spec import AbstractBufferedFile
from zarr.storage import FsspecStore

from ...storage import SlideError, call_with_retries, file_system, format_location, name_of
from ..geometry import ceil_div, floor_div
from .omezarr_reader import open_ome_zarr_store
from .open_tiff import open_tiff
from .pyramid import TileReader
from .tiff_directories import read_tiff_slide
from .tiff_reader import TIFF_SIGNATURES, TiffReader

__all__ = ["RemoteBytes", "open_remote"]

logger = logging.getLogger(__name__)

ATTEMPTS = 3
BLOCK_BYTES = 2**16  # smallest part of the directories that is fetched
NOT_COMPARED = (
    "read in place by byte ranges; not compared with OpenSlide, which reads local files only"
)
COPY = "only tiled TIFF and OME-Zarr are read in place; copy the slide to a local disk first"

T = TypeVar("T")


def open_remote(url: str) -> tuple[TileReader, str]:
    """Choose a reader for the slide at a URL; return it with the reason for the choice.

    Raises:
        SlideError: the slide cannot be reached, is none, or must be copied to a local disk first.
            The message is the reason alone.
    """
    try:
        if name_of(url).endswith(".zarr"):
            store = FsspecStore.from_url(url, read_only=True)
            return open_ome_zarr_store(store, lambda call: _with_retries(call, url)), NOT_COMPARED
        source = RemoteBytes(url)
        if source.read(0, 4) not in TIFF_SIGNATURES:
            raise SlideError(COPY)
        return _open_tiff(source, name_of(url)), NOT_COMPARED
    except SlideError:
        raise
    except ImportError as error:
        raise SlideError(f"{error}; pip install 'gigaslide[remote]'") from error
    except FileNotFoundError as error:
        raise SlideError("no such object; correct the cohort's slide column") from error
    except Exception as error:  # every service has its own errors
        raise SlideError(
            f"cannot be read: {_describe(error, url)}; try again, or copy the slide to a local "
            "disk first"
        ) from error


def _open_tiff(source: "RemoteBytes", name: str) -> TiffReader:
    file: Any = _DirectoriesFile(source)
    try:
        with open_tiff(file, name=name) as tiff:
            slide = read_tiff_slide(tiff)
    except SlideError as error:
        raise SlideError(f"{error}; {COPY}") from error
    finally:
        # tifffile takes a failed read for the end of the file, and the slide would lose levels.
        if file.failure:
            raise file.failure
    return TiffReader(source, slide.levels, slide.pyramid)


class RemoteBytes:
    """An object at a URL; every read has three attempts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.files, self.path = file_system(url)
        self.size = _with_retries(self._request_size, url)

    def _request_size(self) -> int:
        size = self.files.info(self.path).get("size")
        try:
            if size is not None and self._url.startswith("http"):
                # Some servers answer a request for a range with the whole object. fsspec's file
                # checks for that before it reads the answer.
                with self.files.open(self.path, cache_type="none") as file:
                    file.seek(1)
                    file.read(1)
        except ValueError:
            size = None
        if size is None:
            raise SlideError(
                "its server does not support byte ranges; copy the slide to a local disk first"
            )
        return int(size)

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        return _with_retries(lambda: self._request(offset, end), self._url)

    def _request(self, offset: int, end: int) -> bytes:
        content = self.files.cat_file(self.path, start=offset, end=end)
        if len(content) != end - offset:
            raise OSError(f"received {len(content)} of {end - offset} bytes")
        return content

    def reopen(self) -> None:
        """Nothing to do: every read is its own request."""

    def close(self) -> None:
        """Nothing to do: nothing is held open."""


class _DirectoriesFile(AbstractBufferedFile):
    """A file object from which tifffile reads directories, in blocks that are fetched once."""

    failure: Exception | None = None

    def __init__(self, source: RemoteBytes) -> None:
        super().__init__(source.files, source.path, size=source.size, cache_type="none")
        self._source = source
        self._blocks: dict[int, bytes] = {}

    def _fetch_range(self, start: int, end: int) -> bytes:
        first, stop = floor_div(start, BLOCK_BYTES), ceil_div(end, BLOCK_BYTES)
        missing = [number for number in range(first, stop) if number not in self._blocks]
        if missing:
            self._fetch_blocks(range(missing[0], missing[-1] + 1))
        content = b"".join(self._blocks[number] for number in range(first, stop))
        return content[start - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def _fetch_blocks(self, numbers: range) -> None:
        try:
            content = self._source.read(numbers[0] * BLOCK_BYTES, len(numbers) * BLOCK_BYTES)
        except Exception as error:
            self.failure = error
            raise
        for place, number in enumerate(numbers):
            self._blocks[number] = content[place * BLOCK_BYTES : (place + 1) * BLOCK_BYTES]


def _with_retries(call: Callable[[], T], url: str) -> T:
    def log(error: Exception, pause_s: float) -> None:
        logger.info(
            "%s: %s; next attempt in %.1f s", format_location(url), _describe(error, url), pause_s
        )

    return call_with_retries(
        call,
        attempts=ATTEMPTS,
        is_temporary=lambda error: _is_temporary(error, url),
        on_retry=log,
    )


def _is_temporary(error: Exception, url: str) -> bool:
    """Tell errors that may pass from final ones; every service has its own classes of errors.

    For a web server fsspec raises FileNotFoundError whatever happened, with the reason as cause.
    """
    if isinstance(error, FileNotFoundError):
        cause, is_web = error.__cause__, url.startswith("http")
        is_final = getattr(cause, "status", None) in (401, 403, 404, 410)
        return is_web and cause is not None and not is_final
    return not isinstance(error, PermissionError | ImportError | SlideError)


def _describe(error: Exception, url: str) -> str:
    text, query = repr(error).replace(url, format_location(url)), urlsplit(url).query
    return text.replace(query, "…") if query else text
