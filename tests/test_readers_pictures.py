"""Images without tiles: PNG, JPEG and striped TIFF, decoded whole."""

from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import REAL_DATA, position_coded
from gigaslide.storage import SlideError
from gigaslide.wsi.readers import open_reader, picture_reader
from test_readers_tiff import stained, whole_level

PIXELS = position_coded(1100, 700)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    return path


def test_png_is_one_level_of_its_pixels_without_a_scale(tmp_path):
    with closing(open_reader(write_png(tmp_path / "region.PNG", PIXELS))[0]) as reader:
        (level,) = reader.pyramid.levels
        assert (level.width, level.height, level.columns, level.rows) == (1100, 700, 3, 2)
        assert reader.pyramid.mpp_xy is None
        assert np.array_equal(whole_level(reader, 0), PIXELS)


def test_transparent_png_lies_on_white(tmp_path):
    alpha = np.zeros((700, 1100, 1), np.uint8)
    alpha[:300] = 255
    alpha[300:400] = 51  # a fifth
    with closing(
        open_reader(write_png(tmp_path / "cut out.png", np.concatenate([PIXELS, alpha], axis=2)))[0]
    ) as reader:
        found = whole_level(reader, 0)
    assert np.array_equal(found[:300], PIXELS[:300])
    assert np.abs(found[300:400] - (PIXELS[300:400] * 0.2 + 255 * 0.8)).max() <= 0.5 + 1e-4
    assert (found[400:] == 255).all()


def test_jpeg_equals_another_decoder(tmp_path):
    path = tmp_path / "field.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(stained(901, 603), level=85, subsampling="420"))
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(whole_level(reader, 0), imagecodecs.imread(path))


@pytest.mark.parametrize(
    "options",
    [
        {"rowsperstrip": 7},
        {"rowsperstrip": 64, "compression": "lzw"},
        {"planarconfig": "separate", "compression": "deflate"},
    ],
)
def test_tiff_without_tiles_keeps_its_scale(tmp_path, options):
    path = tmp_path / "field.tif"
    pixels = np.moveaxis(PIXELS, -1, 0) if "planarconfig" in options else PIXELS
    resolution = {"resolution": (25_400, 50_800), "resolutionunit": "INCH"}
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **resolution, **options)
    reader, why = open_reader(path)
    assert (reader.name, why) == ("picture in memory", "a TIFF without tiles, decoded whole")
    assert reader.pyramid.mpp_xy == pytest.approx((1.0, 0.5))
    assert np.array_equal(whole_level(reader, 0), PIXELS)


@pytest.mark.parametrize(
    "pixels",
    [PIXELS[..., 0], PIXELS.astype(np.uint16), np.zeros((50, 60, 2), np.uint8)],
    ids=["grey", "16 bit", "2"],
)
def test_picture_without_colours_is_refused(tmp_path, pixels):
    with pytest.raises(SlideError, match=r"grey\.png.*RGB"):
        open_reader(write_png(tmp_path / "grey.png", pixels))


def bomb(path: Path) -> Path:
    """A PNG of a few kB that says of itself that it has 60 000 × 50 000 px."""
    content = bytearray(imagecodecs.png_encode(np.zeros((30, 40, 3), np.uint8)))
    content[16:24] = (60_000).to_bytes(4, "big") + (50_000).to_bytes(4, "big")
    path.write_bytes(content)
    return path


def test_fault_52_image_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    with pytest.raises(
        SlideError,
        match=r"bomb\.png.* 60000 × 50000 px.* 134217728 px",
    ):
        open_reader(bomb(tmp_path / "bomb.png"))
    monkeypatch.setattr(picture_reader, "MOST_PX", 999)
    (tmp_path / "bomb.jpeg").write_bytes(imagecodecs.jpeg8_encode(np.zeros((40, 25, 3), np.uint8)))
    tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((40, 25, 3), np.uint8), photometric="rgb")
    for name in ("bomb.jpeg", "bomb.tif"):
        with pytest.raises(SlideError, match=rf"{name}.* 25 × 40 px"):
            open_reader(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_fault_02_truncated_picture_is_refused(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    pixels = stained(500, 400)
    if suffix == ".tif":
        tifffile.imwrite(whole, pixels, photometric="rgb", compression="lzw", rowsperstrip=20)
    else:
        whole.write_bytes(
            (imagecodecs.png_encode if suffix == ".png" else imagecodecs.jpeg8_encode)(pixels)
        )
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 7 // 10])
    open_reader(whole)[0].close()
    with pytest.raises(SlideError, match=rf"cut\{suffix}.*copy"):
        open_reader(cut)


def test_jpeg_by_another_name_is_no_slide(tmp_path):
    # What a MIRAX slide calls .mrxs is a small JPEG; without the folder beside it there is no
    # slide.
    path = tmp_path / "slide.mrxs"
    path.write_bytes(imagecodecs.jpeg8_encode(stained(60, 40)))
    with pytest.raises(SlideError, match=r"slide\.mrxs"):
        open_reader(path)


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_real_pictures():
    with closing(open_reader(REAL_DATA / "formats" / "cells.ome.tif")[0]) as reader:
        expected = np.moveaxis(tifffile.imread(REAL_DATA / "formats" / "cells.ome.tif"), 0, -1)
        assert reader.pyramid.mpp_xy == pytest.approx((0.25, 0.25), rel=1e-3)
        assert np.array_equal(whole_level(reader, 0), expected)
    with closing(open_reader(REAL_DATA / "tissue" / "microarray.jpeg")[0]) as reader:
        assert np.array_equal(
            whole_level(reader, 0), imagecodecs.imread(REAL_DATA / "tissue" / "microarray.jpeg")
        )
