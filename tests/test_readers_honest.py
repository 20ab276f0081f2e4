"""Pixels that could pass for others: luma for RGB, broken-off codestreams, tiles that were never
written."""

from contextlib import closing

import numpy as np
import pytest
import tifffile
from conftest import WIDTH as SLIDE_WIDTH
from conftest import position_coded, tile_place, write_tiff
from gigaslide.storage import SlideError, UnreadableRegionError
from gigaslide.wsi import open_slide
from gigaslide.wsi.readers import open_reader
from gigaslide.wsi.readers.tiff_directories import read_tiff_slide
from test_readers_faults import DEFLATE, JPEG, PIXELS, overwritten, patched_tag, tiles_of
from test_readers_omezarr import write_ome_zarr
from test_readers_tiff import (
    APERIO,
    COMPRESSIONS,
    level_by_openslide,
    stained,
    whole_level,
    write_levels,
)

OF_APERIO = {"compression": "aperio_jp2000_ycbc", "photometric": "rgb", "description": APERIO}
LUMA = [
    OF_APERIO,
    DEFLATE | {"photometric": "ycbcr"},
    {"compression": "lzw", "photometric": "ycbcr"},
]


@pytest.mark.parametrize("options", LUMA, ids=["Aperio's YCbCr", "deflate", "LZW"])
def test_luma_and_chroma_never_pass_for_rgb(tmp_path, options):
    path = write_levels(tmp_path / "slide.svs", PIXELS, **options)
    with (
        tifffile.TiffFile(path) as tiff,
        pytest.raises(SlideError, match="tiles"),
    ):
        read_tiff_slide(tiff)  # as it would be read by a URL, or cut short
    reader, _ = open_reader(path)
    with closing(reader):
        assert reader.name == "OpenSlide"


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_fault_03_codestream_that_breaks_off_is_damage(tmp_path, share):
    path = write_levels(tmp_path / "slide.svs", PIXELS, **COMPRESSIONS["JPEG-2000 of Aperio"])
    offset, length = tile_place(path, 13)
    kept = round(length * share)
    overwritten(path, (offset + kept, 0), bytes(length - kept))
    reader, _ = open_reader(path)
    with closing(reader):
        assert reader.name == "native TIFF tiles"
        with pytest.raises(UnreadableRegionError, match="no end"):
            reader.tile(0, 2, 1)


def test_fault_05_sparse_tiles_are_compared_too(tmp_path):
    """OpenSlide fills what Aperio did not write from the level before; elsewhere it is
    background."""
    path = write_levels(tmp_path / "slide.svs", PIXELS, **COMPRESSIONS["JPEG-2000 of Aperio"])
    for name in ("TileByteCounts", "TileOffsets"):
        patched_tag(path, name, {1 * 3 + 1: 0}, page=1)
    reader, _ = open_reader(path)
    with closing(reader):
        assert np.array_equal(whole_level(reader, 1), level_by_openslide(path, 1))


def test_damaged_tiles_that_were_compared_are_told(tmp_path):
    path = write_levels(tmp_path / "slide.tif", PIXELS, **JPEG)
    offset, length = tile_place(path, 29)  # the last one, which is always compared
    overwritten(path, (offset + length // 2, 0), bytes(length - length // 2))
    reader, why = open_reader(path)
    with closing(reader):
        assert reader.name == "native TIFF tiles"
        assert why.startswith("compared tiles are equal to OpenSlide's; 1 of them are damaged: ")
        assert [place for place, tile in tiles_of(reader, 0).items() if isinstance(tile, str)] == [
            (4, 5)
        ]


def test_the_last_tile_is_compared_on_every_level_of_many(tmp_path):
    sizes = tuple((1536 >> k, 1024 >> k) for k in range(6))
    path = write_levels(tmp_path / "slide.tif", stained(1536, 1024), sizes, **JPEG)
    with tifffile.TiffFile(path) as tiff:
        counts = [len(page.dataoffsets) for page in tiff.pages]
    for page in (1, 3):
        offset, length = tile_place(path, counts[page] - 1, page=page)
        overwritten(path, (offset + length // 2, 0), bytes(length - length // 2))
    reader, why = open_reader(path)
    reader.close()
    assert "2 of them are damaged" in why


@pytest.mark.parametrize("chunk", [(128, 128), (64, 100)])
def test_fault_05_small_chunk_that_was_never_written_is_background(tmp_path, chunk):
    path = write_ome_zarr(tmp_path / "slide.zarr", PIXELS, version=3, chunk=chunk)
    with closing(open_reader(path)[0]) as reader:
        expected = whole_level(reader, 0)
    (path / "0/c/3/2/0").unlink()
    rows, columns = chunk
    expected[3 * rows : 4 * rows, 2 * columns : 3 * columns] = 255
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(whole_level(reader, 0), expected)


def test_fault_03_enlarged_windows_beside_a_corrupt_tile(tmp_path):
    path = write_tiff(tmp_path / "slide.tif", position_coded(), jpeg=True)
    offset, length = tile_place(path, 1)  # x from 256 to 512
    overwritten(path, (offset, 0), bytes(length))
    with open_slide(path) as slide:
        xy = np.array([(0, 0), (246, 0), (512, 0), (513, 0)])
        found = dict(slide.read_windows(xy, size=20, mpp=0.25, allow_upsampling=True))
    # Enlarging takes in half a px more on each side: 256 is touched by what ends there, 511 by what
    # begins at 512.
    assert [found[index] is None for index in range(4)] == [False, True, True, False]
    assert slide.info.width == SLIDE_WIDTH


def test_many_unreadable_tiles_are_found_by_place(tmp_path):
    path = write_tiff(tmp_path / "slide.tif", position_coded(), jpeg=True, tile_px=64)
    for index in range(0, 24 * 18, 3):
        offset, length = tile_place(path, index)
        overwritten(path, (offset, 0), bytes(length))
    with open_slide(path) as slide:
        slide.overview(4.0)
        bad = {(tile.row, tile.column) for tile in slide.unreadable}
        assert bad == {divmod(index, 24) for index in range(0, 24 * 18, 3)}
        every = np.argwhere(np.ones((18, 24), bool)) * 64
        for x, y, side in [
            (64, 64, 64),
            (65, 0, 62),
            (0, 0, 1531),
            (700, 300, 130),
            (-50, -50, 51),
            (1530, 1126, 9),
        ]:
            under = (
                every[((every < (y + side, x + side)) & (every + 64 > (y, x))).all(axis=1)] // 64
            )
            found = {
                (tile.row, tile.column)
                for tile in slide._tiles.find_unreadable(0, x, y, side, side)
            }
            assert found == set(map(tuple, under.tolist())) & bad
