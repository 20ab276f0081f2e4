"""µm/px of a slide: what a file states wrongly gives way to an option, what it states oddly does
not."""

from pathlib import Path

import pytest
from conftest import position_coded, write_tiff
from gigaslide.storage import SpacingError
from gigaslide.wsi import is_same_mpp, open_slide
from gigaslide.wsi.readers import Pyramid
from gigaslide.wsi.spacing import choose_mpp, read_file_mpp


def test_a_resolution_for_printing_gives_way_to_the_option(tmp_path):
    path = write_tiff(tmp_path / "print.tif", position_coded(150, 90), mpp=25_400 / 72)
    with open_slide(path, fallback_mpp=0.3) as slide:
        assert (slide.info.mpp, slide.info.mpp_source, slide.info.file_mpp) == (0.3, "given", None)
    with pytest.raises(SpacingError, match=r"print\.tif.* 352\.8.*mpp column.*--slide-mpp"):
        open_slide(path)
    with pytest.raises(SpacingError, match="77 µm/px is not between"):
        open_slide(path, fallback_mpp=77.0)


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (0.5, 700.0), (float("nan"), 0.5), (-0.5, -0.5)])
def test_numbers_that_are_no_scale_count_as_none(wrong):
    path, pyramid = Path("s.tif"), Pyramid(levels=(), mpp_xy=wrong, vendor="any")
    assert read_file_mpp(pyramid) is None
    assert choose_mpp(path, pyramid, given=None, fallback=0.3) == 0.3
    with pytest.raises(SpacingError, match=rf"s\.tif.* {wrong[1]:g} (µm/px|in y)"):
        choose_mpp(path, pyramid, given=None, fallback=None)


def test_an_option_does_not_make_oblong_pixels_square(tmp_path):
    path = write_tiff(tmp_path / "oblong.tif", position_coded(150, 90), mpp=(0.5, 0.6))
    with pytest.raises(SpacingError, match=r" 0\.5 .* 0\.6 .* 5 %"):
        open_slide(path, fallback_mpp=0.5)


def test_two_levels_that_snap_to_one_requested_scale_are_the_same():
    assert is_same_mpp(0.2425, 0.2575)
    assert is_same_mpp(0.2575, 0.2425)
    assert not is_same_mpp(0.25, 0.266)
    assert not is_same_mpp(0.25, 0.5)
