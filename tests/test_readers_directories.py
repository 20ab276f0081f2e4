"""TIFF directories that are cut off, or that turn the image."""

import logging
from contextlib import closing

import numpy as np
import pytest
import tifffile
from conftest import WIDTH, position_coded, write_tiff
from gigaslide.wsi import open_slide
from gigaslide.wsi.readers import open_reader


def test_of_a_truncated_file_only_gigaslide_speaks_and_names_it(tmp_path, caplog):
    whole = write_tiff(tmp_path / "whole.tif", position_coded(), level_sizes=((766, 564),))
    with tifffile.TiffFile(whole) as tiff:
        lost = tiff.pages[1].offset - 3000
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole.read_bytes()[:lost])
    caplog.set_level(logging.INFO)
    with open_slide(cut) as slide:
        assert slide.info.level_sizes == ((WIDTH, 1127),)
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
