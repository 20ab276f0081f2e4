"""Files with several images: the largest is the slide, and its µm/px is its own."""

import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import block_means
from gigaslide.storage import SlideError
from gigaslide.wsi.readers import open_reader
from test_readers_tiff import SIZES, stained, whole_level

WIDTH, HEIGHT = SIZES[0]
PIXELS = stained(WIDTH, HEIGHT)
LEVELS = tuple(block_means(PIXELS, columns=columns, rows=rows) for columns, rows in SIZES)
TILED = {"tile": (240, 256), "compression": "deflate", "photometric": "rgb", "metadata": None}
STRIPED = {"photometric": "rgb", "metadata": None}
GLASS = np.full((300, 700, 3), 90, np.uint8)


def resolution(mpp: float) -> dict:
    return {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


def thumbnail_first(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GLASS, subfiletype=1, **STRIPED, **resolution(9.0))
        tiff.write(LEVELS[0], **TILED, **resolution(0.5))
        for level in LEVELS[1:]:
            tiff.write(level, subfiletype=1, **TILED)
    return path


def coarsest_first(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for number in (2, 1, 0):
            mpp = 0.5 * 2**number
            tiff.write(LEVELS[number], subfiletype=int(number > 0), **TILED, **resolution(mpp))
    return path


def tiled_macro_among_levels(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(LEVELS[0], **TILED, **resolution(0.5))
        tiff.write(LEVELS[1], subfiletype=1, **TILED)
        tiff.write(GLASS, subfiletype=1, **TILED, **resolution(9.0))
        tiff.write(LEVELS[2], subfiletype=1, **TILED)
    return path


def label_first(path: Path) -> Path:
    options = {"tile": (240, 256), "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for pixels, subifds, mpp in ((GLASS, 0, 9.0), (LEVELS[0], 2, 0.5)):
            size = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            tiff.write(pixels, subifds=subifds, metadata=size, **options)
        for level in LEVELS[1:]:
            tiff.write(level, subfiletype=1, **options)
    return path


FILES = {
    "thumbnail.tif": thumbnail_first,
    "coarsest.tif": coarsest_first,
    "macro.tif": tiled_macro_among_levels,
    "label.ome.tif": label_first,
}


@pytest.mark.parametrize("place", ["on disk", "in a bucket"])
@pytest.mark.parametrize("name", FILES)
def test_the_largest_image_is_the_slide_with_its_levels_and_its_scale(
    tmp_path, bucket, name, place
):
    path = FILES[name](tmp_path / name)
    reader, _ = open_reader(path if place == "on disk" else bucket.upload(path, name))
    with closing(reader):
        found = [(level.width, level.height) for level in reader.pyramid.levels]
        assert found == list(SIZES)
        assert reader.pyramid.mpp_xy == pytest.approx((0.5, 0.5), rel=1e-3)
        for number, expected in enumerate(LEVELS):
            assert np.array_equal(whole_level(reader, number), expected)


@pytest.mark.parametrize("name", ["thumbnail.tif", "macro.tif", "label.ome.tif"])
def test_what_is_left_out_is_logged_once(tmp_path, caplog, name):
    path = FILES[name](tmp_path / name)
    with caplog.at_level(logging.INFO, "gigaslide"):
        open_reader(path)[0].close()
    (line,) = (text for text in caplog.messages if "700 × 300 px" in text and name in text)
    assert "image 3" in line if name == "macro.tif" else "image 1" in line


def test_slide_that_is_not_first_and_has_no_readable_tiles_is_refused(tmp_path):
    path = tmp_path / "slide.tif"
    planar = np.moveaxis(PIXELS, 2, 0).copy()
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GLASS, **TILED)
        tiff.write(planar.astype(np.uint16), **TILED, planarconfig="separate")
    with pytest.raises(SlideError, match=r"slide\.tif.*16 bits"):
        open_reader(path)


def test_directory_of_made_up_size_is_not_the_slide(tmp_path):
    """One changed byte makes the label a thousand times as wide."""
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PIXELS, **TILED, **resolution(0.5))
        tiff.write(GLASS, **TILED)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[1].aspage().tags["ImageWidth"].overwrite(700_000)
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(whole_level(reader, 0), PIXELS)
