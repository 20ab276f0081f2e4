"""Small images that are no slides (PNG, JPEG, TIFF without tiles), decoded whole and cut into
tiles."""

from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile

from ...storage import SlideError
from .openslide_reader import onto_background
from .pyramid import Pyramid, PyramidLevel, describe_not_brightfield

__all__ = ["MOST_PX", "PICTURE_SUFFIXES", "PictureReader", "read_picture", "read_tiff_picture"]

TILE_PX = 512
MOST_PX = 2**27  # 400 MB as RGB; a larger image is a slide without tiles, or an image bomb
PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg"))
JPEG = (6, 7)  # TIFF's codec numbers of its old and new JPEG
PNG = b"\x89PNG\r\n\x1a\n"


class PictureReader:
    """An image in memory, (rows, columns, 3) uint8 RGB, as a slide of one level."""

    name = "picture in memory"

    def __init__(
        self, pixels: np.ndarray, *, mpp_xy: tuple[float, float] | None, vendor: str
    ) -> None:
        self._pixels = pixels
        height, width = pixels.shape[:2]
        level = PyramidLevel(
            width=width,
            height=height,
            tile_width=TILE_PX,
            tile_height=TILE_PX,
            downsample=1.0,
            downsample_xy=(1.0, 1.0),
        )
        self.pyramid = Pyramid(levels=(level,), mpp_xy=mpp_xy, vendor=vendor)

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        if level:
            raise IndexError(f"a picture has level 0 only, not {level}")
        y, x = row * TILE_PX, column * TILE_PX
        return np.ascontiguousarray(self._pixels[y : y + TILE_PX, x : x + TILE_PX])

    def reopen(self) -> None: ...

    def close(self) -> None:
        self._pixels = self._pixels[:0]


def read_picture(path: Path) -> PictureReader:
    """Read a PNG or JPEG file. Its print resolution is not used, because it is no µm/px.

    Raises:
        SlideError: not RGB, too large, or damaged. The message is the reason alone.
    """
    content = path.read_bytes()
    try:
        pixels = _png(content) if content.startswith(PNG) else _jpeg(content)
    except SlideError:
        raise
    except Exception as error:  # libpng, libjpeg and their wrappers have errors of their own
        raise SlideError(f"a damaged picture: {error}; copy it again") from error
    return PictureReader(pixels, mpp_xy=None, vendor="picture")


def read_tiff_picture(
    page: tifffile.TiffPage, *, mpp_xy: tuple[float, float] | None, vendor: str
) -> PictureReader:
    """Read an 8-bit RGB image of a TIFF whose pixels are stored in strips or by channel.

    Raises:
        SlideError: too large, or damaged. The message is the reason alone.
    """
    _check_size(page.imagewidth, page.imagelength)
    # tifffile converts YCbCr within JPEG only; of another codec it would pass for RGB.
    if page.photometric == 6 and (page.compression not in JPEG or page.planarconfig == 2):
        raise SlideError(
            "its colours are YCbCr, which without tiles is read in JPEG only; convert it to a "
            "tiled RGB TIFF"
        )
    # tifffile reads zeros past the end of a file without an error.
    ends = np.add(page.dataoffsets, page.databytecounts)
    if not len(ends) or max(ends) > page.parent.filehandle.size:
        raise SlideError("a damaged picture: the file ends before its last pixels; copy it again")
    try:
        pixels = np.asarray(page.asarray())
    except Exception as error:  # each of a dozen decoders has errors of its own
        raise SlideError(f"a damaged picture: {error}; copy it again") from error
    if page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.shape != (page.imagelength, page.imagewidth, 3) or pixels.dtype != np.uint8:
        raise SlideError(f"its pixels decode to {pixels.dtype} {pixels.shape}, expected uint8 RGB")
    return PictureReader(np.ascontiguousarray(pixels), mpp_xy=mpp_xy, vendor=vendor)


def _png(content: bytes) -> np.ndarray:
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    _check_size(width, height)
    pixels = imagecodecs.png_decode(content)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        fact = f"a picture of {pixels.dtype} {pixels.shape}, expected RGB"
        raise SlideError(describe_not_brightfield(fact))
    return pixels if pixels.shape[2] == 3 else onto_background(pixels, (255, 255, 255))


def _jpeg(content: bytes) -> np.ndarray:
    height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    _check_size(int(width), int(height))
    if colours not in ("RGB", "YCbCr"):
        fact = f"a picture whose colours are {colours}, expected RGB"
        raise SlideError(describe_not_brightfield(fact))
    return simplejpeg.decode_jpeg(content)


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PX:
        raise SlideError(
            f"a picture of {width} × {height} px, over the limit of {MOST_PX} px; convert it to a "
            "tiled TIFF"
        )
