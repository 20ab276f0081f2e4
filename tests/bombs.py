"""TIFF masks that lie about their size: a tile that unpacks to a gigabyte, a size in the tags that
nothing holds."""

import struct
import zlib
from pathlib import Path

import tifffile

__all__ = ["claim", "swell"]


def swell(path: Path, *, page: int = 0) -> None:
    """Let the page's first tile unpack to a gigabyte."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(64)) + packer.flush()
    content = bytearray(path.read_bytes())
    _change(
        content,
        _places(path, page),
        {"TileOffsets": len(content), "TileByteCounts": len(packed)},
        "<I",
    )
    path.write_bytes(content + packed)


def claim(path: Path, *, page: int = 0, **sizes: int) -> None:
    """Write these numbers of px into the page's tags (TileWidth=65520), whatever it holds."""
    content = bytearray(path.read_bytes())
    _change(content, _places(path, page), sizes, "<H")
    path.write_bytes(content)


def _places(path: Path, page: int) -> dict[str, int]:
    """Where the file keeps the value of each tag of the page (bytes from its start)."""
    with tifffile.TiffFile(path) as tiff:
        return {tag.name: tag.valueoffset for tag in tiff.pages[page].tags}


def _change(content: bytearray, places: dict[str, int], values: dict[str, int], form: str) -> None:
    for name, value in values.items():
        struct.pack_into(form, content, places[name], value)
