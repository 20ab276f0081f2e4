"""Pixels stored in other ways than interleaved 8-bit RGB: read right, or refused by name."""

from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile
from gigaslide.storage import SlideError
from gigaslide.wsi.readers import open_reader
from test_readers_tiff import WIDTH, level_by_openslide, stained, whole_level

PIXELS = stained(WIDTH, 901)
PLANES = np.moveaxis(PIXELS, 2, 0).copy()
PLANAR = {"photometric": "rgb", "planarconfig": "separate", "tile": (240, 256)}
CODECS = (None, "lzw", "deflate")
SIZE = {"axes": "SYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("ome", [False, True])
def test_planar_tiles_are_read_through_openslide(tmp_path, compression, ome):
    path = tmp_path / ("slide.ome.tif" if ome else "slide.tif")
    options = {"metadata": SIZE if ome else None, "compression": compression}
    tifffile.imwrite(path, PLANES, ome=ome, **PLANAR, **options)
    with closing(open_reader(path)[0]) as reader:
        assert reader.name == "OpenSlide"
        assert np.array_equal(whole_level(reader, 0), PIXELS)
        if ome:  # OpenSlide does not know OME's µm/px
            assert reader.pyramid.mpp_xy == pytest.approx((0.25, 0.25))


def test_planar_tiles_at_a_url_are_refused_by_name(tmp_path, bucket):
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(path, PLANES, ome=True, metadata=SIZE, **PLANAR)
    with pytest.raises(SlideError, match=r"slide\.ome\.tif.*planar.*copy"):
        open_reader(bucket.upload(path, path.name))


@pytest.mark.parametrize("ome", [False, True])
@pytest.mark.parametrize("compression", CODECS)
def test_striped_ycbcr_never_passes_for_rgb(tmp_path, compression, ome):
    path = tmp_path / ("slide.ome.tif" if ome else "slide.tif")
    options = {"metadata": {"axes": "YXS"} if ome else None, "compression": compression}
    tifffile.imwrite(path, PIXELS, ome=ome, photometric="ycbcr", rowsperstrip=64, **options)
    with pytest.raises(SlideError, match=r"slide.*YCbCr"):
        open_reader(path)


def test_striped_ycbcr_in_jpeg_is_rgb(tmp_path):
    """Against the same content in tiles, which OpenSlide converts."""
    striped, tiled = tmp_path / "striped.tif", tmp_path / "tiled.tif"
    options = {"photometric": "ycbcr", "compression": "jpeg", "metadata": None}
    smooth = np.zeros((512, 768, 3), np.uint8) + np.array([120, 90, 180], np.uint8)
    smooth[:256, :384] = (60, 140, 100)
    tifffile.imwrite(striped, smooth, rowsperstrip=256, **options)
    tifffile.imwrite(tiled, smooth, tile=(256, 256), **options)
    with closing(open_reader(striped)[0]) as reader:
        off = whole_level(reader, 0).astype(int) - level_by_openslide(tiled, 0)
    assert np.abs(off).max() <= 2


@pytest.mark.parametrize(
    ("photometric", "channels", "name"),
    [("cielab", 3, "CIELAB"), ("separated", 4, "SEPARATED"), ("miniswhite", 1, "MINISWHITE")],
)
def test_other_colours_without_tiles_are_refused_by_name(tmp_path, photometric, channels, name):
    path = tmp_path / "slide.tif"
    pixels = (
        np.zeros((70, 50, channels), np.uint8) if channels > 1 else np.zeros((70, 50), np.uint8)
    )
    tifffile.imwrite(path, pixels, photometric=photometric, metadata=None)
    with pytest.raises(SlideError, match=rf"slide\.tif.*{channels} channel.*{name}"):
        open_reader(path)


def test_sixteen_bits_in_tiles_become_eight_as_docs_say(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, PIXELS.astype(np.uint16) * 257, tile=(240, 256), photometric="rgb")
    reader, why = open_reader(path)
    with closing(reader):
        assert np.array_equal(whole_level(reader, 0), PIXELS)
        assert "16 bits" in why


def test_grey_jpeg_is_refused(tmp_path):
    path = tmp_path / "grey.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(PIXELS[..., 0].copy()))
    with pytest.raises(SlideError, match=r"grey\.jpg.*RGB"):
        open_reader(path)
