"""Native TIFF tiles against OpenSlide, bit for bit; a TIFF's own directories against what OpenSlide
makes of them."""

from contextlib import closing
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from conftest import REAL_DATA, block_means, position_coded, wave_slide
from gigaslide.storage import SlideError
from gigaslide.wsi.readers import TileReader, open_reader
from gigaslide.wsi.readers.tiff_directories import read_tiff_slide

WIDTH, HEIGHT, MPP = (
    1532,
    1128,
    0.5,
)  # halved twice they stay whole, so that OpenSlide blends no neighbours
SIZES = ((WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2), (WIDTH // 4, HEIGHT // 4))
APERIO = "Aperio Image Library v11.2.1\r\n1532x1128 (256x240) |AppMag = 20|MPP = 0.4990|Left = 2"
COMPRESSIONS = {
    "JPEG, RGB": {"compression": "jpeg", "photometric": "rgb"},
    "JPEG, YCbCr 4:4:4": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (1, 1)},
    "JPEG, YCbCr 4:2:2": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 1)},
    "JPEG, YCbCr 4:2:0": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
    "JPEG-2000 of Aperio": {
        "compression": "aperio_jp2000_rgb",
        "photometric": "rgb",
        "description": APERIO,
    },
    "LZW": {"compression": "lzw", "photometric": "rgb"},
    "LZW, differences": {"compression": "lzw", "photometric": "rgb", "predictor": True},
    "deflate": {"compression": "deflate", "photometric": "rgb"},
    "deflate, differences": {"compression": "deflate", "photometric": "rgb", "predictor": True},
    "uncompressed": {"photometric": "rgb"},
}


def stained(width: int, height: int) -> np.ndarray:
    """Smooth colours with noise on them: neither flat, which hides errors, nor all noise, which no
    slide is."""
    noise = np.random.default_rng(5).normal(0, 12, (height, width, 3))
    return np.clip(wave_slide(width, height) + noise, 0, 255).astype(np.uint8)


def write_levels(
    path: Path, pixels: np.ndarray, sizes=SIZES, *, description: str = "", **options
) -> Path:
    """Tiles of 256 × 240 px: a swap of width and height is seen."""
    options = {"tile": (240, 256), "metadata": None, "resolutionunit": "CENTIMETER"} | options
    options |= {"resolution": (1e4 / MPP, 1e4 / MPP)}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, description=description, **options)
        for columns, rows in sizes[1:]:
            tiff.write(block_means(pixels, columns=columns, rows=rows), subfiletype=1, **options)
    return path


def write_ome(
    path: Path, pixels: np.ndarray, sizes=SIZES, *, unit: str = "µm", size: float = MPP, **options
) -> Path:
    """An OME-TIFF whose reduced levels are SubIFDs, as Bio-Formats and QuPath write them."""
    options = {"tile": (240, 256), "photometric": "rgb", "compression": "deflate"} | options
    pixel = {
        "PhysicalSizeX": size,
        "PhysicalSizeY": size,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeYUnit": unit,
    }
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(pixels, subifds=len(sizes) - 1, metadata={"axes": "YXS", **pixel}, **options)
        for columns, rows in sizes[1:]:
            tiff.write(block_means(pixels, columns=columns, rows=rows), subfiletype=1, **options)
    return path


def whole_level(reader: TileReader, level: int) -> np.ndarray:
    """All tiles of a level put together; magenta where one has not the size it should have."""
    shape = reader.pyramid.levels[level]
    sheet = np.full((shape.height, shape.width, 3), (255, 0, 255), np.uint8)
    for row in range(shape.rows):
        for column in range(shape.columns):
            place = sheet[row * shape.tile_height :, column * shape.tile_width :][
                : shape.tile_height
            ]
            place = place[:, : shape.tile_width]
            tile = reader.tile(level, row, column)
            place[:] = (
                reader.pyramid.background
                if tile is None
                else tile[: place.shape[0], : place.shape[1]]
            )
    return sheet


def level_by_openslide(path: Path, level: int) -> np.ndarray:
    with openslide.OpenSlide(path) as slide:
        rgba = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level])).astype(
            float
        )
    return np.rint(rgba[..., :3] + (255 - rgba[..., 3:])).astype(
        np.uint8
    )  # transparent black on white


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_native_tiles_equal_openslide_bit_for_bit(tmp_path, compression):
    path = write_levels(tmp_path / "slide.tif", stained(WIDTH, HEIGHT), **COMPRESSIONS[compression])
    reader, why = open_reader(path)
    assert (reader.name, why) == ("native TIFF tiles", "compared tiles are equal to OpenSlide's")
    assert [(level.width, level.height) for level in reader.pyramid.levels] == list(SIZES)
    assert {(level.tile_width, level.tile_height) for level in reader.pyramid.levels} == {
        (256, 240)
    }
    for level in range(3):
        assert np.array_equal(whole_level(reader, level), level_by_openslide(path, level))
    reader.close()


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_lossless_tiles_are_the_pixels_that_were_written(tmp_path, bigtiff, byteorder):
    path = tmp_path / "slide.tif"
    options = {"tile": (240, 256), "photometric": "rgb", "compression": "lzw"}
    tifffile.imwrite(path, position_coded(), bigtiff=bigtiff, byteorder=byteorder, **options)
    reader, _ = open_reader(path)
    assert reader.name == "native TIFF tiles"
    assert np.array_equal(whole_level(reader, 0), position_coded())
    reader.close()


@pytest.mark.parametrize("description", ["", APERIO])
def test_own_directories_say_what_openslide_says(tmp_path, description):
    path = write_levels(
        tmp_path / "slide.tif",
        stained(1531, 1127),
        ((1531, 1127), (766, 564), (383, 282)),
        compression="jpeg",
        photometric="ycbcr",
        description=description,
    )
    with tifffile.TiffFile(path) as tiff, closing(open_reader(path)[0]) as reader:
        assert read_tiff_slide(tiff).pyramid == reader.pyramid


def test_ome_tiff_has_the_levels_that_openslide_misses(tmp_path):
    pixels = stained(WIDTH, HEIGHT)
    path = write_ome(tmp_path / "slide.ome.tif", pixels, size=500, unit="nm")
    assert openslide.OpenSlide(path).level_count == 1
    reader, why = open_reader(path)
    assert reader.name == "native TIFF tiles"
    assert why == "compared tiles are equal to OpenSlide's, which misses 2 level(s)"
    assert reader.pyramid.mpp_xy == pytest.approx((0.5, 0.5))
    assert [level.downsample for level in reader.pyramid.levels] == [1, 2, 4]
    for level, (columns, rows) in enumerate(SIZES):
        assert np.array_equal(
            whole_level(reader, level), block_means(pixels, columns=columns, rows=rows)
        )
    reader.close()


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (np.zeros((4, 300, 400), np.uint8), {"metadata": {"axes": "CYX"}}, "4 channels"),
        (np.zeros((3, 300, 400), np.uint8), {"metadata": {"axes": "CYX"}}, "1 channel"),
        (
            np.zeros((300, 400, 3), np.uint16),
            {"metadata": {"axes": "YXS"}, "photometric": "rgb"},
            "uint16",
        ),
        (
            np.zeros((5, 300, 400, 3), np.uint8),
            {"metadata": {"axes": "ZYXS"}, "photometric": "rgb"},
            "5 planes in Z",
        ),
    ],
)
@pytest.mark.parametrize("tile", [None, (128, 128)])
def test_ome_tiff_that_is_no_brightfield_slide_is_refused_by_name(
    tmp_path, pixels, options, words, tile
):
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels, ome=True, tile=tile, **({"photometric": "minisblack"} | options))
    with pytest.raises(SlideError, match=rf"cells\.ome\.tif.*{words}.*; .*8-bit RGB"):
        open_reader(path)


def test_striped_level_goes_to_openslide_or_is_no_level(tmp_path):
    pixels = stained(WIDTH, HEIGHT)
    path = tmp_path / "slide.tif"
    options = {"metadata": None, "photometric": "rgb"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(240, 256), **options)
        tiff.write(
            block_means(pixels, columns=766, rows=564), subfiletype=1, rowsperstrip=16, **options
        )
    reader, _ = open_reader(path)
    assert len(reader.pyramid.levels) == 1
    assert np.array_equal(whole_level(reader, 0), pixels)
    reader.close()


def test_tiles_that_differ_go_to_openslide(tmp_path, monkeypatch):
    path = write_levels(
        tmp_path / "slide.tif", stained(WIDTH, HEIGHT), compression="deflate", photometric="rgb"
    )
    decode = tifffile.TiffPage.decode.func  # type: ignore[attr-defined]

    def one_off(page):
        return lambda content, index: (
            decode(page)(content, index)[0] ^ 1,
            *decode(page)(content, index)[1:],
        )

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(one_off))
    reader, why = open_reader(path)
    assert reader.name == "OpenSlide"
    assert why.endswith("differs from OpenSlide's by 1 grey levels")
    assert np.array_equal(whole_level(reader, 1), level_by_openslide(path, 1))
    reader.close()


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
@pytest.mark.parametrize(
    "name",
    [
        "formats/CMU-1-Small-Region.svs",
        "formats/aperio-jpeg2000.svs",
        "colon/slides/patient_01_slide_2.tif",
        "colon/slides/patient_16_slide_1.tif",
        "whole/colon_resection.tif",
    ],
)
def test_native_tiles_of_real_slides_equal_openslide(name):
    path = REAL_DATA / name
    reader, why = open_reader(path)
    assert (reader.name, why) == ("native TIFF tiles", "compared tiles are equal to OpenSlide's")
    with tifffile.TiffFile(path) as tiff:
        assert read_tiff_slide(tiff).pyramid == reader.pyramid
    rng = np.random.default_rng(2)
    with openslide.OpenSlide(path) as slide:
        for level, shape in enumerate(reader.pyramid.levels):
            places = [
                (int(rng.integers(shape.rows)), int(rng.integers(shape.columns))) for _ in range(40)
            ]
            for row, column in places:
                x, y = column * shape.tile_width, row * shape.tile_height
                place = round(x * shape.downsample), round(y * shape.downsample)
                if (
                    max(abs(place[0] / shape.downsample - x), abs(place[1] / shape.downsample - y))
                    > 1 / 512
                ):
                    continue  # between px, where OpenSlide blends neighbours
                width, height = (
                    min(shape.tile_width, shape.width - x),
                    min(shape.tile_height, shape.height - y),
                )
                expected = np.asarray(slide.read_region(place, level, (width, height)))
                tile = reader.tile(level, row, column)
                assert tile is not None
                assert np.array_equal(tile[:height, :width], expected[..., :3])
    reader.close()
