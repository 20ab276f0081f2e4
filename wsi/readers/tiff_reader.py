"""Reader of a TIFF's own compressed tiles: decoded as stored, nothing blended, nothing read
twice."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import simplejpeg
import tifffile

from ...storage import UnreadableRegionError
from ..geometry import ceil_div
from .pyramid import Pyramid

__all__ = [
    "TIFF_SIGNATURES",
    "LocalBytes",
    "TiffLevel",
    "TiffReader",
    "describe_colours",
    "describe_unfit_tiles",
    "read_tiff_level",
]

# The Adobe marker for RGB components. TIFF states RGB in its own tag, and the JPEG inside often
# lacks the marker.
RGB_MARKER = bytes.fromhex("ffee000e") + b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 0])
# Classic TIFF and BigTIFF, in both byte orders.
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG, APERIO_YCBCR = 7, 33003  # TIFF's codec numbers
JPEG2000 = (APERIO_YCBCR, 33005, 34712)
JPEG2000_END = bytes.fromhex("ffd9")
LARGEST_TILE_BYTES = 2**28  # compressed; a larger number is damage
LARGEST_TILE_PX = 2**24
MOST_TILES = 2**26  # 1 GB of positions

Decode = Callable[[bytes, int], np.ndarray | None]


class ByteSource(Protocol):
    """Random access to the bytes of a file; `read` may be called from several threads at once."""

    def read(self, offset: int, length: int) -> bytes:
        """Read up to length bytes, fewer at the end of the file. Raises OSError."""
        ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class LocalBytes:
    """A file on a mounted file system."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def reopen(self) -> None:
        # The fresh file takes over the descriptor, so reads in other threads stay valid.
        with self._path.open("rb", buffering=0) as fresh:
            os.dup2(fresh.fileno(), self._file.fileno(), inheritable=False)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, kw_only=True)
class TiffLevel:
    """Positions of one level's tiles in the file, and their decoder."""

    offsets: np.ndarray
    counts: np.ndarray
    """(tiles,) int64 each, row by row; a count of 0 marks a tile that was never written."""
    columns: int
    decode: Decode
    jpeg_head: bytes | None = None
    """Bytes that make a stored tile a JPEG of its own, in place of its first two; empty where it is
    one. None: the tiles are in another codec."""


class TiffReader:
    """Tiles of a TIFF: `levels` holds their positions, `pyramid` their geometry."""

    name = "native TIFF tiles"

    def __init__(self, source: ByteSource, levels: Sequence[TiffLevel], pyramid: Pyramid) -> None:
        self._source = source
        self.levels = tuple(levels)
        self.pyramid = pyramid
        self.read_seconds = 0.0
        """Time in which bytes of tiles were read, of all threads together."""
        self._lock = threading.Lock()

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        stored = self.levels[level]
        index = row * stored.columns + column
        try:
            content = self._read_stored(stored, index)
            return stored.decode(content, index) if content else None
        except UnreadableRegionError:
            raise
        except Exception as error:  # a dozen decoders, each with its own errors
            raise UnreadableRegionError(str(error) or repr(error)) from error

    def tile_jpeg(self, level: int, row: int, column: int) -> bytes | None:
        """Return a tile as the file stores it, as a JPEG of its own; None if it is none.

        Raises:
            UnreadableRegionError, OSError: its bytes cannot be read.
        """
        stored = self.levels[level]
        if stored.jpeg_head is None:
            return None
        content = self._read_stored(stored, row * stored.columns + column)
        return stored.jpeg_head + content[2:] if content and stored.jpeg_head else content

    def _read_stored(self, stored: TiffLevel, index: int) -> bytes | None:
        """Read the bytes of a tile; None if it was never written."""
        length = int(stored.counts[index])
        if not length:
            return None
        if length > LARGEST_TILE_BYTES:
            raise UnreadableRegionError(f"its TIFF directory states {length} bytes")
        content = self._read(int(stored.offsets[index]), length)
        if len(content) < length:
            raise UnreadableRegionError(
                f"the file ends {length - len(content)} bytes before the tile does"
            )
        return content

    def _read(self, offset: int, length: int) -> bytes:
        start = time.perf_counter()
        content = self._source.read(offset, length)
        with self._lock:
            self.read_seconds += time.perf_counter() - start
        return content

    def reopen(self) -> None:
        self._source.reopen()

    def close(self) -> None:
        self._source.close()


def describe_unfit_tiles(page: tifffile.TiffPage) -> str | None:
    """Reason why `TiffReader` cannot decode a page; None if it can."""
    if not page.is_tiled or page.imagedepth != 1:
        return "it has no tiles"
    if page.bitspersample != 8:
        return f"its tiles have {page.bitspersample} bits per channel, expected 8"
    if page.samplesperpixel != 3 or page.photometric not in (2, 6):
        return f"its tiles have {describe_colours(page)}, expected RGB or YCbCr"
    if page.planarconfig != 1:
        return "its tiles are planar, with red, green and blue stored apart"
    # Of all codecs only JPEG states its colour space; YCbCr of another would pass for RGB.
    if page.compression != JPEG and (page.photometric == 6 or page.compression == APERIO_YCBCR):
        return "its tiles are YCbCr in another codec than JPEG"
    return None


def describe_colours(page: tifffile.TiffPage) -> str:
    """Number of channels and TIFF's name of their colours, such as "4 channel(s) (SEPARATED)"."""
    name = getattr(page.photometric, "name", page.photometric)
    return f"{page.samplesperpixel} channel(s) ({name})"


def read_tiff_level(page: tifffile.TiffPage, *, strict: bool = True) -> TiffLevel | None:
    """Read the tile positions of a page; None if it is no tiled 8-bit RGB image.

    With strict, whatever libjpeg warns of counts as damage.
    """
    if describe_unfit_tiles(page):
        return None
    # A damaged directory may state tiles of any size and any number.
    if not (
        0 < page.tilewidth * page.tilelength <= LARGEST_TILE_PX
        and page.imagewidth
        and page.imagelength
    ):
        return None
    columns = ceil_div(page.imagewidth, page.tilewidth)
    rows = ceil_div(page.imagelength, page.tilelength)
    if columns * rows > MOST_TILES:
        return None
    # tifffile reads both attributes from the file only now, so the file must still be open.
    offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
    if not len(offsets) == len(counts) == rows * columns:
        return None
    head = _jpeg_head(page)
    return TiffLevel(
        offsets=offsets,
        counts=counts,
        columns=columns,
        decode=_decoder(page, head, strict=strict),
        jpeg_head=head,
    )


def _jpeg_head(page: tifffile.TiffPage) -> bytes | None:
    """Return the `jpeg_head` of a page's tiles."""
    if page.compression != JPEG:
        return None
    tables = page.jpegtables
    marker = RGB_MARKER if page.photometric == 2 else b""
    head = b"\xff\xd8" + marker + (tables[2:-2] if tables else b"")
    return head if len(head) > 2 else b""


def _decoder(page: tifffile.TiffPage, jpeg_head: bytes | None, *, strict: bool) -> Decode:
    if jpeg_head is not None:
        return _jpeg_decoder(jpeg_head, (page.tilelength, page.tilewidth, 3), strict=strict)
    decode: Any = page.decode
    is_jpeg2000 = page.compression in JPEG2000

    def decode_by_tifffile(content: bytes, index: int) -> np.ndarray | None:
        # A truncated codestream decodes to a blurred tile without an error.
        if is_jpeg2000 and JPEG2000_END not in content[-4:]:
            raise UnreadableRegionError("its JPEG-2000 codestream has no end marker")
        segment, _, shape = decode(content, index)
        if segment is None:
            return None
        tile = np.ascontiguousarray(segment[0][: shape[1], : shape[2]])
        if tile.dtype != np.uint8 or tile.ndim != 3:
            raise UnreadableRegionError(f"decoded to {tile.dtype} {tile.shape}, expected uint8 RGB")
        return tile

    return decode_by_tifffile


def _jpeg_decoder(head: bytes, shape: tuple[int, int, int], *, strict: bool) -> Decode:
    """Decode by libjpeg-turbo.

    Without strict, a tile of which half is lost passes for a whole one.
    """

    def decode_by_libjpeg(content: bytes, index: int) -> np.ndarray | None:
        tile = simplejpeg.decode_jpeg(head + content[2:] if head else content, strict=strict)
        if tile.shape != shape:
            raise UnreadableRegionError(f"decoded to {tile.shape}, expected {shape}")
        return tile

    return decode_by_libjpeg
