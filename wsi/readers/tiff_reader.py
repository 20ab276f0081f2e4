"""TIFF slides by their own compressed tiles: decoded as they lie in the file, nothing blended,
nothing read twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
import tifffile

from ...storage import UnreadableRegionError
from ..geometry import ceil_div
from .byte_source import ByteSource
from .pyramid import Pyramid

__all__ = ["TIFF_SIGNATURES", "TiffLevel", "TiffReader", "tiff_level"]

# The Adobe marker that says "these three components are RGB": where TIFF says so, the JPEG inside
# often does not.
RGB_MARKER = bytes.fromhex("ffee000e") + b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 0])
TIFF_SIGNATURES = (
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
)  # classic and BigTIFF, in both orders of bytes
JPEG, APERIO_YCBCR = 7, 33003  # TIFF's numbers of codecs
JPEG2000 = (APERIO_YCBCR, 33005, 34712)
JPEG2000_END = bytes.fromhex("ffd9")
LARGEST_TILE_BYTES = 2**28  # compressed; more is damage, not a tile
LARGEST_TILE_PX = 2**24
MOST_TILES = 2**26  # 1 GB of places

Decode = Callable[[bytes, int], np.ndarray | None]


@dataclass(frozen=True, kw_only=True)
class TiffLevel:
    """Where the tiles of one level lie in the file, and what makes pixels of them."""

    offsets: np.ndarray
    counts: np.ndarray
    """(tiles,) int64 each, row by row; a count of 0 is a tile that was never written."""
    columns: int
    decode: Decode


class TiffReader:
    """A TIFF's tiles; `levels` says where they lie, `pyramid` what they mean."""

    name = "native TIFF tiles"

    def __init__(self, source: ByteSource, levels: Sequence[TiffLevel], pyramid: Pyramid) -> None:
        self._source = source
        self.levels = tuple(levels)
        self.pyramid = pyramid

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        place = self.levels[level]
        index = row * place.columns + column
        length = int(place.counts[index])
        if not length:
            return None
        if length > LARGEST_TILE_BYTES:
            raise UnreadableRegionError(f"its directory gives it {length} bytes")
        try:
            content = self._source.read(int(place.offsets[index]), length)
            if len(content) < length:
                raise UnreadableRegionError(
                    f"the file ends {length - len(content)} bytes before it does"
                )
            return place.decode(content, index)
        except UnreadableRegionError:
            raise
        except Exception as error:  # each of a dozen decoders has errors of its own
            raise UnreadableRegionError(str(error) or repr(error)) from error

    def reopen(self) -> None:
        self._source.reopen()

    def close(self) -> None:
        self._source.close()


def tiff_level(page: tifffile.TiffPage, *, strict: bool = True) -> TiffLevel | None:
    """The tiles of a page; None where it is no tiled 8-bit RGB image. strict: what libjpeg warns of
    is damage."""
    rgb = page.samplesperpixel == 3 and page.bitspersample == 8 and page.planarconfig == 1
    if not (page.is_tiled and rgb and page.photometric in (2, 6) and page.imagedepth == 1):
        return None
    # Only JPEG says for itself which colours it holds; luma and chroma of other codecs would pass
    # for RGB.
    if page.compression != JPEG and (page.photometric == 6 or page.compression == APERIO_YCBCR):
        return None
    # A damaged directory may ask for tiles of any size, or for any number of them.
    if not (
        0 < page.tilewidth * page.tilelength <= LARGEST_TILE_PX
        and page.imagewidth
        and page.imagelength
    ):
        return None
    columns, rows = (
        ceil_div(page.imagewidth, page.tilewidth),
        ceil_div(page.imagelength, page.tilelength),
    )
    if columns * rows > MOST_TILES:
        return None
    # Both attributes are read from the file when first asked for.
    offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
    if not len(offsets) == len(counts) == rows * columns:
        return None
    return TiffLevel(
        offsets=offsets, counts=counts, columns=columns, decode=_decoder(page, strict=strict)
    )


def _decoder(page: tifffile.TiffPage, *, strict: bool) -> Decode:
    tables = page.jpegtables
    if page.compression == JPEG:
        marker = RGB_MARKER if page.photometric == 2 else b""
        head = b"\xff\xd8" + marker + (tables[2:-2] if tables else b"")
        return _jpeg_decoder(
            head if len(head) > 2 else b"", (page.tilelength, page.tilewidth, 3), strict=strict
        )
    decode: Any = page.decode
    is_jpeg2000 = page.compression in JPEG2000

    def by_tifffile(content: bytes, index: int) -> np.ndarray | None:
        # A codestream that breaks off decodes to a blurred tile, without a word.
        if is_jpeg2000 and JPEG2000_END not in content[-4:]:
            raise UnreadableRegionError("its JPEG-2000 codestream has no end")
        segment, _, shape = decode(content, index)
        if segment is None:
            return None
        tile = np.ascontiguousarray(segment[0][: shape[1], : shape[2]])
        if tile.dtype != np.uint8 or tile.ndim != 3:
            raise UnreadableRegionError(f"decoded to {tile.dtype} {tile.shape}, expected uint8 RGB")
        return tile

    return by_tifffile


def _jpeg_decoder(head: bytes, shape: tuple[int, int, int], *, strict: bool) -> Decode:
    """JPEG by libjpeg-turbo. What it warns of is damage where strict: else half a tile can pass for
    a whole one."""

    def by_libjpeg(content: bytes, index: int) -> np.ndarray | None:
        tile = simplejpeg.decode_jpeg(head + content[2:] if head else content, strict=strict)
        if tile.shape != shape:
            raise UnreadableRegionError(f"decoded to {tile.shape}, expected {shape}")
        return tile

    return by_libjpeg
