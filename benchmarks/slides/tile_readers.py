"""Functions that make the JPEG of a tile, (resolution, column, row), by several libraries."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

ReadTile = Callable[[tuple[int, int, int]], bytes]


def our_reader(path: Path) -> ReadTile:
    from gigaslide.serve.tiles import TileGrid, read_jpeg_tile
    from gigaslide.wsi import TileCache, open_slide

    slide = open_slide(path, cache=TileCache(32 * 2**20))
    grid = TileGrid.of_slide(slide)

    def read(place: tuple[int, int, int]) -> bytes:
        resolution, x, y = place
        region = grid.region(grid.resolutions.index(resolution), x, y)
        assert region is not None
        return read_jpeg_tile(slide, region, resolution)[0]

    return read


def their_reader(opened, tile_px: int) -> ReadTile:
    """Read a tile as servers on OpenSlide's interface do: from the next finer level, resized."""
    from gigaslide.serve.tiles import encode_jpeg
    from PIL import Image

    def read(place: tuple[int, int, int]) -> bytes:
        resolution, x, y = place
        level = opened.get_best_level_for_downsample(resolution * 1.001)
        side = round(tile_px * resolution / opened.level_downsamples[level])
        corner = (x * tile_px * resolution, y * tile_px * resolution)
        image = opened.read_region(corner, level, (side, side)).convert("RGB")
        if side != tile_px:
            image = image.resize((tile_px, tile_px), Image.Resampling.BOX)
        return encode_jpeg(np.asarray(image), full_colour=resolution == 1)

    return read


def large_image_reader(path: Path) -> ReadTile:
    """Read a tile as large_image's own server does; it passes on stored JPEGs too."""
    import large_image

    source = large_image.open(str(path), encoding="JPEG", jpegQuality=85)

    def read(place: tuple[int, int, int]) -> bytes:
        resolution, x, y = place
        return bytes(source.getTile(x, y, source.levels - resolution.bit_length()))

    return read


def rivals(path: Path, tile_px: int) -> dict[str, ReadTile]:
    import openslide

    found = {"OpenSlide": their_reader(openslide.OpenSlide(str(path)), tile_px)}
    with suppress(ImportError):
        import tiffslide

        found["tiffslide"] = their_reader(tiffslide.TiffSlide(str(path)), tile_px)
    with suppress(ImportError):
        found["large_image"] = large_image_reader(path)
    return found
