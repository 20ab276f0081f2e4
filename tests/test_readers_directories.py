"""TIFF directories that are cut off, or that turn the image."""

import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import HEIGHT, WIDTH, position_coded, stained_slide, write_tiff
from gigaslide.wsi import open_slide
from gigaslide.wsi.readers import open_reader


def test_of_a_truncated_file_only_gigaslide_speaks_and_names_it(tmp_path, caplog):
    whole = write_tiff(tmp_path / "whole.tif", position_coded(), level_sizes=((766, 564),))
    with tifffile.TiffFile(whole) as tiff:
        lost = tiff.pages[1].offset - 3000
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole.read_bytes()[:lost])
    caplog.set_level(logging.INFO, logger="gigaslide")
    with open_slide(cut) as slide:
        assert slide.info.level_sizes == ((WIDTH, HEIGHT),)
        slide.overview(8.0)
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name.partition(".")[0] for record in told] == ["gigaslide"]
    assert "cut.tif" in told[0].getMessage()
    assert any("offset" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("orientation", [3, 4, 6])
def test_an_orientation_tag_does_not_turn_tiles_in_their_places(tmp_path, caplog, orientation):
    pixels, path = position_coded(700, 500), tmp_path / "turned.tif"
    options = {"tile": (240, 256), "compression": "deflate", "metadata": None}
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=[tag], **options)
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(reader.tile(0, 0, 0), pixels[:240, :256])
        assert np.array_equal(reader.tile(0, 1, 1), pixels[240:480, 256:512])
    assert [f"Orientation tag is {orientation}" in text for text in caplog.messages] == [True]


def empty_level(path: Path, page: int) -> Path:
    """Make the tiles of a page tiles that were never written."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages[page].aspage().tags
        for name in ("TileOffsets", "TileByteCounts"):
            tags[name].overwrite([0] * tags[name].count)
    return path


@pytest.mark.parametrize("empty", [1, 2])
def test_a_level_that_was_never_written_is_no_level(tmp_path, caplog, empty):
    sizes = ((766, 564), (383, 282))
    path = write_tiff(tmp_path / "s.tif", stained_slide(1), level_sizes=sizes)
    with open_slide(path) as slide:
        whole = slide.overview(8.0).image
    with open_slide(empty_level(path, empty)) as slide:
        assert slide.info.level_sizes == ((WIDTH, HEIGHT), sizes[2 - empty])
        assert slide.info.reader == "native TIFF tiles"
        found = slide.overview(8.0).image
    columns, rows = (min(one) for one in zip(found.shape[1::-1], whole.shape[1::-1], strict=True))
    off = np.abs(found[:rows, :columns].astype(int) - whole[:rows, :columns]).mean()
    assert off < 12  # of another level, whose px are not placed quite alike
    width, height = sizes[empty - 1]
    assert [f"{width} × {height} px" in text for text in caplog.messages] == [True]
