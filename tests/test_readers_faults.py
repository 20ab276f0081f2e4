"""Damaged files through the readers: every tile is right, is background, or is said to be
unreadable."""

import struct
import time
from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from conftest import block_means, tile_place
from gigaslide.storage import SlideError, UnreadableRegionError
from gigaslide.wsi.readers import TileReader, open_reader
from test_readers_tiff import (
    COMPRESSIONS,
    HEIGHT,
    WIDTH,
    stained,
    whole_level,
    write_levels,
    write_ome,
)

PIXELS = stained(WIDTH, HEIGHT)
JPEG = {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)}
DEFLATE = {"compression": "deflate", "photometric": "rgb"}


def tiles_of(reader: TileReader, level: int) -> dict[tuple[int, int], np.ndarray | str | None]:
    """Every tile of a level; in its place the reason where one is unreadable."""
    shape = reader.pyramid.levels[level]
    found = {}
    for place in np.ndindex(shape.rows, shape.columns):
        try:
            found[place] = reader.tile(level, *place)
        except UnreadableRegionError as error:
            found[place] = str(error)
    return found


def overwritten(path: Path, place: tuple[int, int], content: bytes) -> Path:
    with path.open("rb+") as file:
        file.seek(place[0])
        file.write(content)
    return path


def patched_tag(path: Path, name: str, values: dict[int, int], *, page: int = 0) -> Path:
    """Entries of one tag of a directory set to other numbers."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[name]
        letter = {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
    for index, value in values.items():
        place = tag.valueoffset + struct.calcsize(letter) * index
        overwritten(path, (place, 0), struct.pack(f"<{letter}", value))
    return path


@pytest.mark.parametrize("options", [JPEG, DEFLATE], ids=["JPEG", "deflate"])
def test_fault_02_truncated_slide_gives_what_is_left(tmp_path, options):
    path = write_levels(tmp_path / "whole.tif", PIXELS, **options)
    cut = tmp_path / "cut.tif"
    kept = path.stat().st_size * 7 // 10
    cut.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(cut)
    reader, why = open_reader(cut)
    with closing(reader), closing(open_reader(path)[0]) as sound:
        assert "OpenSlide refuses the file" in why
        assert reader.pyramid.levels == sound.pyramid.levels[:1]
        assert reader.pyramid.mpp_xy == sound.pyramid.mpp_xy
        expected = tiles_of(sound, 0)
        lost = 0
        for index, (place, tile) in enumerate(tiles_of(reader, 0).items()):
            offset, length = tile_place(path, index)
            if offset + length > kept:
                lost += 1
                assert isinstance(tile, str)
                assert "the file ends" in tile
            else:
                assert np.array_equal(tile, expected[place])
        assert 2 <= lost <= 20


def test_fault_02_whole_levels_before_the_cut_stay(tmp_path):
    path = write_levels(tmp_path / "whole.tif", PIXELS, **DEFLATE)
    with tifffile.TiffFile(path) as tiff:
        last_directory = tiff.pages[2].offset
    cut = tmp_path / "cut.tif"
    cut.write_bytes(path.read_bytes()[:last_directory])
    reader, why = open_reader(cut)
    assert "2 level" in why
    assert np.array_equal(whole_level(reader, 0), PIXELS)
    assert np.array_equal(
        whole_level(reader, 1), block_means(PIXELS, columns=WIDTH // 2, rows=HEIGHT // 2)
    )
    reader.close()


@pytest.mark.parametrize("length", [0, 3, 8, 200])
def test_fault_02_nothing_of_use_is_left(tmp_path, length):
    path = write_levels(tmp_path / "whole.tif", PIXELS, **JPEG)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SlideError, match=r"cut\.tif") as caught:
        open_reader(cut)
    assert "IndexError" not in str(caught.value)


# What is not compressed cannot be damaged so that it is seen. LZW and JPEG-2000 have no checksum
# either: zeros in LZW are seen because they stand for too few pixels, and a JPEG-2000 stream is
# only seen to be too short.
@pytest.mark.parametrize("kind", [name for name in COMPRESSIONS if name != "uncompressed"])
def test_fault_03_corrupt_tile_is_unreadable_and_the_others_are_not(tmp_path, kind):
    path = write_levels(tmp_path / "slide.tif", PIXELS, **COMPRESSIONS[kind])
    with closing(open_reader(path)[0]) as sound:
        expected = tiles_of(sound, 0)
    offset, length = tile_place(path, 2 * 6 + 1)
    if "2000" in kind:
        patched_tag(path, "TileByteCounts", {2 * 6 + 1: length * 3 // 4})
    else:
        overwritten(path, (offset + length // 4, 0), bytes(length // 2))
    reader, _ = open_reader(path)
    assert reader.name == "native TIFF tiles"
    with closing(reader):
        for place, tile in tiles_of(reader, 0).items():
            if place == (2, 1):
                assert isinstance(tile, str)
                assert tile
            else:
                assert np.array_equal(tile, expected[place])


@pytest.mark.parametrize(
    "options", [JPEG, DEFLATE, {"photometric": "rgb"}], ids=["JPEG", "deflate", "uncompressed"]
)
def test_fault_05_sparse_tile_is_background(tmp_path, options):
    path = write_levels(tmp_path / "slide.tif", PIXELS, **options)
    for name in ("TileByteCounts", "TileOffsets"):
        patched_tag(path, name, {1 * 6 + 3: 0})
    reader, _ = open_reader(path)
    assert reader.name == "native TIFF tiles"
    with closing(reader):
        missing = [place for place, tile in tiles_of(reader, 0).items() if tile is None]
    assert missing == [(1, 3)]


def test_fault_03_absurd_length_of_a_tile_is_not_read(tmp_path):
    path = patched_tag(
        write_levels(tmp_path / "slide.tif", PIXELS, **JPEG), "TileByteCounts", {7: 2**31}
    )
    with closing(open_reader(path)[0]) as reader:
        found = tiles_of(reader, 0)
    assert [place for place, tile in found.items() if isinstance(tile, str)] == [(1, 1)]
    assert "2147483648" in found[1, 1]


def sloppy_jpeg(pixels: np.ndarray) -> bytes:
    """A number in its head is wrong: nothing depends on it, but libjpeg warns as it does of
    damage."""
    coded = imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=90)
    scan = coded.index(b"\xff\xda")
    last = scan + 2 + int.from_bytes(coded[scan + 2 : scan + 4], "big") - 2
    assert coded[last] == 63
    return coded[:last] + b"\0" + coded[last + 1 :]


def test_sloppy_writer_does_not_lose_the_whole_slide(tmp_path):
    blocks = [
        PIXELS[row * 256 :, column * 256 :][:256, :256] for row in range(4) for column in range(5)
    ]
    path, options = (
        tmp_path / "sloppy.tif",
        {"photometric": "ycbcr", "subsampling": (2, 2), "compression": "jpeg"},
    )
    tiles = (sloppy_jpeg(block) for block in blocks)
    tifffile.imwrite(path, tiles, shape=(1024, 1280, 3), dtype="uint8", tile=(256, 256), **options)
    with openslide.OpenSlide(path) as slide, pytest.raises(openslide.OpenSlideError):
        slide.read_region((0, 0), 0, (20, 20))
    reader, why = open_reader(path)
    with closing(reader):
        assert why.startswith("libjpeg warns of every tile (Invalid SOS parameters")
        for tile, block in zip(tiles_of(reader, 0).values(), blocks, strict=True):
            sound = imagecodecs.jpeg8_encode(np.ascontiguousarray(block), level=90)
            assert np.array_equal(tile, imagecodecs.jpeg8_decode(sound))


def looped(path: Path, *, to: int) -> Path:
    """The last directory is followed by an earlier one."""
    with tifffile.TiffFile(path) as tiff:
        pages = list(tiff.pages)
        (entries,) = struct.unpack("<H", path.read_bytes()[pages[-1].offset :][:2])
        return overwritten(
            path, (pages[-1].offset + 2 + 12 * entries, 0), struct.pack("<I", pages[to].offset)
        )


@pytest.mark.parametrize("to", [0, 1, 2])
@pytest.mark.parametrize("cut", [False, True])
def test_fault_06_directory_loop_ends(tmp_path, to, cut):
    path = looped(write_levels(tmp_path / "loop.tif", PIXELS, **DEFLATE), to=to)
    if cut:  # OpenSlide refuses it, and the directories are all there is
        patched_tag(path, "Compression", {0: 33003}, page=1)
    start = time.process_time()
    try:
        with closing(open_reader(path)[0]) as reader:
            assert len(reader.pyramid.levels) <= 3
            assert np.array_equal(whole_level(reader, 0), PIXELS)
    except SlideError:
        pass
    assert time.process_time() - start < 5


@pytest.mark.parametrize("page", [0, 1, 2])
@pytest.mark.parametrize("side", ["ImageWidth", "ImageLength", "TileWidth", "TileLength"])
@pytest.mark.parametrize("px", [0, 65535])
def test_fault_06_level_of_no_size_or_an_absurd_one(tmp_path, page, side, px):
    small = PIXELS[:520, :600]
    path = write_levels(
        tmp_path / "level.tif", small, ((600, 520), (300, 260), (150, 130)), **DEFLATE
    )
    patched_tag(path, side, {0: px}, page=page)
    start = time.process_time()
    try:
        with closing(open_reader(path)[0]) as reader:
            assert all(level.width > 0 and level.height > 0 for level in reader.pyramid.levels)
            reader.tile(0, 0, 0)
    except SlideError:
        pass
    assert time.process_time() - start < 5


@pytest.mark.parametrize("sizes", [((2295, 1721), (40, 30)), ((2295, 1721),), ((900, 7), (300, 2))])
def test_fault_10_odd_pyramids(tmp_path, sizes):
    pixels = stained(*sizes[0])
    path = write_ome(tmp_path / "odd.ome.tif", pixels, sizes)
    with closing(open_reader(path)[0]) as reader:
        assert reader.name == "native TIFF tiles"
        for level, (columns, rows) in enumerate(sizes):
            shape = reader.pyramid.levels[level]
            assert shape.downsample_xy == pytest.approx((sizes[0][0] / columns, sizes[0][1] / rows))
            assert np.array_equal(
                whole_level(reader, level), block_means(pixels, columns=columns, rows=rows)
            )


@pytest.mark.parametrize(
    "name", ["a b.tif", 'it\'s "q".tif', "скан 切片.tif", "-dash.tif", "new\nline.tif", "100%.tif"]
)
def test_fault_13_and_15_names_links_and_folders_that_cannot_be_written(tmp_path, name):
    folder = tmp_path / "nur lesen"
    folder.mkdir()
    path = write_levels(folder / name, PIXELS[:300, :400], ((400, 300),), **DEFLATE)
    link = tmp_path / "link.tif"
    link.symlink_to(path)
    folder.chmod(0o555)
    try:
        for place in (path, link):
            with closing(open_reader(place)[0]) as reader:
                assert reader.name == "native TIFF tiles"
                assert np.array_equal(whole_level(reader, 0), PIXELS[:300, :400])
    finally:
        folder.chmod(0o755)
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    with pytest.raises(SlideError, match=r"loop\.tif"):
        open_reader(tmp_path / "loop.tif")


@pytest.mark.parametrize("name", ["ImageWidth", "ImageLength"])
def test_fault_06_size_that_the_tiles_cannot_fill_is_refused(tmp_path, name):
    """OpenSlide opens such a file, and an overview of it would be laid out for minutes (found by
    fuzzing)."""
    path = write_levels(tmp_path / "slide.tif", PIXELS, **JPEG)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags[name]
        letter = {3: "H", 4: "I"}[int(tag.dtype)]
    overwritten(path, (tag.valueoffset, 0), struct.pack(f"<{letter}", 60_000))
    with pytest.raises(
        SlideError,
        match=r"slide\.tif.* 30",
    ):
        open_reader(path)


@pytest.mark.parametrize("name", ["TileWidth", "TileLength"])
def test_fault_06_tiles_of_an_absurd_size_are_refused(tmp_path, name):
    """OpenSlide opens such a file, and ends the process when a px is asked for (found by
    fuzzing)."""
    for page in range(2):
        path = write_levels(tmp_path / f"{page}.tif", PIXELS, **DEFLATE)
        with tifffile.TiffFile(path) as tiff:
            entry = tiff.pages[page].tags[name].offset
        overwritten(
            path, (entry + 2, 0), struct.pack("<HII", 4, 1, 2**24 + 256)
        )  # a LONG in the entry itself
    with pytest.raises(SlideError, match=r"0\.tif"):
        open_reader(tmp_path / "0.tif")
    reader, why = open_reader(tmp_path / "1.tif")
    with closing(reader):
        assert why.startswith("OpenSlide refuses the file")
        assert [level.width for level in reader.pyramid.levels] == [WIDTH, WIDTH // 4]
        assert np.array_equal(whole_level(reader, 0), PIXELS)
