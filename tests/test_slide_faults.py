"""Damaged, incomplete and odd slide files: what is lost is said, and no more than that is lost."""

import logging
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    HEIGHT,
    WIDTH,
    block_means,
    halved,
    offset_level0,
    position_coded,
    stained_slide,
    tile_place,
    wave_slide,
    windows_of,
    write_tiff,
)
from gigaslide.storage import SlideError, SpacingError, UnreadableRegionError
from gigaslide.wsi import Region, open_slide
from gigaslide.wsi.readers import choose_reader, openslide_reader, tiff_reader


def corrupted(path: Path, index: int) -> Path:
    """Overwrite one JPEG tile of level 0 with bytes that no decoder takes."""
    offset, length = tile_place(path, index)
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(bytes(length))
    return path


@pytest.fixture(scope="module")
def damaged(tmp_path_factory) -> tuple[Path, Path]:
    """A JPEG slide of 6 × 5 tiles, and a copy whose tile in row 2, column 1 cannot be decoded."""
    folder = tmp_path_factory.mktemp("damaged")
    pixels = wave_slide(WIDTH, HEIGHT)
    good = write_tiff(folder / "good.tif", pixels, jpeg=True)
    return good, corrupted(write_tiff(folder / "bad.tif", pixels, jpeg=True), 2 * 6 + 1)


@pytest.fixture(params=["native TIFF tiles", "OpenSlide"])
def reader(request, monkeypatch) -> str:
    """Each way that a tiled TIFF may be read."""
    if request.param == "OpenSlide":
        monkeypatch.setattr(choose_reader, "NATIVE_VENDORS", frozenset())
    return request.param


def test_fault_03_corrupt_tile(damaged, caplog, reader):
    good, bad = damaged
    rng = np.random.default_rng(8)
    xy = np.stack([rng.integers(-50, WIDTH, 120), rng.integers(-50, HEIGHT, 120)], axis=1)
    # Just beside the damaged tile, x 256–511 and y 512–767, and just over its edge.
    xy = np.concatenate(
        [
            xy,
            [(256 - 99, 600), (256 - 98, 600), (512, 600), (511, 600), (300, 512 - 99), (300, 768)],
        ]
    )
    touches = ((xy + 99 > (256, 512)) & (xy < (512, 768))).all(axis=1)
    assert touches[-6:].tolist() == [False, True, False, True, False, False]
    assert 3 < touches.sum() < 30
    expected = windows_of(good, xy, size=99)
    with caplog.at_level(logging.WARNING):
        for index, window in enumerate(windows_of(bad, xy, size=99)):
            assert (window is None) == touches[index], xy[index]
            if window is not None:
                assert np.array_equal(window, expected[index])
    (message,) = caplog.messages  # said once, however many windows touch it
    assert (
        "bad.tif: cannot decode level 0, tile row 2, column 1 (x 256, y 512, 256 × 256 px of level "
        "0)" in message
    )
    with open_slide(bad) as slide:
        assert slide.info.reader == reader


def test_one_warning_per_slide_however_many_tiles_are_lost(tmp_path, caplog):
    path = write_tiff(tmp_path / "torn.tif", stained_slide(1), jpeg=True)
    places = [(0, 2), (1, 2), (2, 4)]
    with path.open("rb+") as file:
        for row, column in places:
            offset, length = tile_place(path, row * 6 + column)
            file.seek(offset)
            file.write(bytes(length))
    with caplog.at_level(logging.INFO, logger="gigaslide"), open_slide(path) as slide:
        slide.overview(0.5)
        assert [(tile.row, tile.column) for tile in slide.unreadable] == places
    told = [record for record in caplog.records if "cannot decode" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING", "INFO", "INFO"]
    assert "torn.tif" in told[0].getMessage()
    assert "tile row 0, column 2" in told[0].getMessage()


def test_what_is_unreadable_is_listed_with_its_place_and_reason(damaged, reader):
    with open_slide(damaged[1]) as slide:
        assert slide.unreadable == ()
        windows = dict(
            slide.read_windows(np.array([(200, 500), (900, 900)]), size=80, mpp=0.5, threads=2)
        )
        (lost,) = slide.unreadable
    assert windows[0] is None
    assert windows[1] is not None
    assert (lost.level, lost.row, lost.column) == (0, 2, 1)
    assert lost.region == Region(x=256, y=512, width=256, height=256)
    assert lost.reason


@pytest.mark.parametrize("mpp", [0.8, 1.3])
def test_fault_03_resampled_windows_beside_a_corrupt_tile(damaged, mpp, reader):
    good, bad = damaged
    rng = np.random.default_rng(5)
    xy = np.stack([rng.integers(-50, WIDTH, 200), rng.integers(-50, HEIGHT, 200)], axis=1)
    step = mpp / 0.5
    low = np.rint(xy / step) * step
    touches = ((low + 33 * step > (256, 512)) & (low < (512, 768))).all(axis=1)
    assert 5 < touches.sum() < 60
    expected = windows_of(good, xy, size=33, mpp=mpp)
    for index, window in enumerate(windows_of(bad, xy, size=33, mpp=mpp)):
        assert (window is None) == touches[index], xy[index]
        assert window is None or np.array_equal(window, expected[index])


def test_fault_03_overview_of_a_slide_with_a_corrupt_tile(damaged, reader):
    good, bad = damaged
    with open_slide(good) as slide:
        whole = slide.overview(2.0)
    with open_slide(bad) as slide:
        torn = slide.overview(2.0)
    assert not whole.unreadable.any()
    # x 256–511, y 512–767 at 4 level-0 px a pixel
    assert torn.unreadable[128:192, 64:128].all()
    assert torn.unreadable.sum() == 64 * 64
    assert (torn.image[128:192, 64:128] == 255).all()
    assert np.array_equal(torn.image[~torn.unreadable], whole.image[~torn.unreadable])


def test_fault_04_handle_is_reopened_after_a_corrupt_tile(damaged, monkeypatch, reader):
    good, bad = damaged
    opened = []
    fresh_handle, fresh_file = openslide_reader._open_handle, tiff_reader.LocalBytes.reopen
    monkeypatch.setattr(
        openslide_reader, "_open_handle", lambda path: opened.append(path) or fresh_handle(path)
    )
    monkeypatch.setattr(
        tiff_reader.LocalBytes, "reopen", lambda self: opened.append(bad) or fresh_file(self)
    )
    with open_slide(good) as sound:
        opened.clear()
        with open_slide(bad) as slide:
            for _ in range(3):
                with pytest.raises(
                    UnreadableRegionError,
                    match=r"bad\.tif.* level 0, tile row 2, column 1",
                ):
                    slide.read_level(0, x=300, y=600, width=20, height=10)
            for k in range(1000):
                cut = slide.read_level(0, x=k, y=k // 3, width=5, height=3)
                if k % 50 == 0:
                    assert np.array_equal(
                        cut, sound.read_level(0, x=k, y=k // 3, width=5, height=3)
                    )
    # OpenSlide's after each of two tries; the native reader's before its second, and OpenSlide's
    # own for the probe.
    assert len(opened) <= 3


def test_fault_02_truncated_slide(tmp_path):
    path = write_tiff(
        tmp_path / "whole.tif",
        wave_slide(WIDTH, HEIGHT),
        jpeg=True,
        level_sizes=halved((WIDTH, HEIGHT), 1),
    )
    content = path.read_bytes()
    cut = tmp_path / "cut.tif"
    end = len(content) // 2
    cut.write_bytes(content[:end])
    whole = [sum(tile_place(path, index)) <= end for index in range(30)]
    assert 5 < sum(whole) < 28
    xy = np.array([(256 * (i % 6) + 20, 256 * (i // 6) + 10) for i in range(30)])
    expected = windows_of(path, xy, size=64)
    with open_slide(cut) as slide:
        assert slide.size == (WIDTH, HEIGHT)
        assert len(slide.info.level_sizes) == 1  # the directory of the reduced level is gone
        found = dict(slide.read_windows(xy, size=64, mpp=0.5))
        assert [(tile.level, 6 * tile.row + tile.column) for tile in slide.unreadable] == [
            (0, index) for index in range(30) if not whole[index]
        ]
    for index in range(30):
        assert (found[index] is not None) == whole[index]
        assert found[index] is None or np.array_equal(found[index], expected[index])


def test_fault_02_lost_end_of_a_level(tmp_path):
    sizes = halved((WIDTH, HEIGHT), 1)
    path = write_tiff(
        tmp_path / "whole.tif", wave_slide(WIDTH, HEIGHT), level_sizes=sizes, jpeg=True
    )
    places = [tile_place(path, index) for index in range(30)]
    content = bytearray(path.read_bytes())
    first_lost = places[21][0]
    content[first_lost : sum(places[29])] = bytes(sum(places[29]) - first_lost)
    torn = tmp_path / "torn.tif"
    torn.write_bytes(content)
    xy = np.array([(256 * (i % 6) + 20, 256 * (i // 6) + 10) for i in range(30)])
    expected = windows_of(path, xy, size=64)
    for index, window in enumerate(windows_of(torn, xy, size=64)):
        assert (window is None) == (index >= 21)
        assert window is None or np.array_equal(window, expected[index])


def _patch_counts(path: Path, index: int) -> None:
    """Set one entry of TileByteCounts and TileOffsets of the first page to zero: a sparse tile."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        for name in ("TileByteCounts", "TileOffsets"):
            tag = tiff.pages[0].tags[name]
            size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
            places = tag.valueoffset + size * index, size
            with path.open("rb+") as file:
                file.seek(places[0])
                file.write(bytes(places[1]))


def test_fault_05_sparse_tile_is_background(tmp_path):
    path = write_tiff(tmp_path / "sparse.tif", position_coded())
    _patch_counts(path, 1 * 6 + 3)  # x 768–1023, y 256–511
    expected = position_coded()
    expected[256:512, 768:1024] = 255
    xy = np.array([(700, 200), (768, 256), (900, 450), (0, 0)])
    for index, window in enumerate(windows_of(path, xy, size=150)):
        x, y = xy[index]
        assert np.array_equal(window, expected[y : y + 150, x : x + 150])


def test_fault_06_directory_loop_ends(tmp_path):
    path = write_tiff(
        tmp_path / "loop.tif", position_coded(), level_sizes=halved((WIDTH, HEIGHT), 2)
    )
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into(
        "<I", content, first + 2 + 12 * entries, first
    )  # the first directory is followed by itself
    path.write_bytes(content)
    start = time.process_time()
    try:
        with open_slide(path) as slide:  # what OpenSlide makes of it may be one level, never more
            assert len(slide.info.level_sizes) == 1
    except SlideError:
        pass
    assert time.process_time() - start < 5


def test_fault_01_empty_file_and_other_files_that_are_no_slides(make_file, tmp_path):
    with pytest.raises(SlideError, match=r"empty\.tif.* empty"):
        open_slide(make_file("empty.tif", b""))
    with pytest.raises(SlideError, match=r"text\.svs"):
        open_slide(make_file("text.svs", "hello"))
    with pytest.raises(SlideError, match=r"gone\.svs"):
        open_slide(tmp_path / "gone.svs")
    with pytest.raises(SlideError, match="not a slide"):
        open_slide(tmp_path)
    with pytest.raises(OSError, match=r"other\.tif.* without images"):  # a stranger catches this
        open_slide(make_file("other.tif", b"II*\0" + bytes(100)))


def test_fault_08_missing_mpp_is_asked_for_and_may_be_given(tmp_path):
    path = write_tiff(tmp_path / "no unit.tif", position_coded(), mpp=None)
    with pytest.raises(
        SpacingError,
        match=r"no unit\.tif.*mpp column.*--slide-mpp",
    ):
        open_slide(path)
    for options in ({"mpp": 0.3}, {"fallback_mpp": 0.3}, {"mpp": 0.3, "fallback_mpp": 9.0}):
        with open_slide(path, **options) as slide:
            assert (slide.info.mpp, slide.info.mpp_source) == (0.3, "given")


def test_given_mpp_wins_over_the_file_and_fallback_does_not(coded_slide):
    with open_slide(coded_slide, mpp=0.25) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (0.25, "given")
    with open_slide(coded_slide, fallback_mpp=0.25) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (pytest.approx(0.5), "file")


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf"), 50.0, 1e-4])
def test_fault_09_absurd_mpp_is_refused(coded_slide, mpp):
    with pytest.raises(SpacingError, match=r"coded\.tif.*cohort's mpp column"):
        open_slide(coded_slide, mpp=mpp)


def test_fault_09_mpp_that_differs_in_x_and_y(tmp_path):
    path = write_tiff(tmp_path / "oblong.tif", position_coded(), mpp=(0.5, 0.6))
    with pytest.raises(SpacingError, match=r"oblong\.tif.* 0\.5 .* 0\.6 "):
        open_slide(path)
    with open_slide(path, mpp=0.55) as slide:
        assert slide.info.mpp == 0.55
    near = write_tiff(tmp_path / "near.tif", position_coded(), mpp=(0.50, 0.51))
    with open_slide(near) as slide:
        assert slide.info.mpp == pytest.approx(0.505, rel=1e-4)
    far_off = write_tiff(tmp_path / "km.tif", position_coded(), mpp=50.0)
    with pytest.raises(SpacingError, match=r"km\.tif"):
        open_slide(far_off)


def test_fault_10_one_level_only(tmp_path):
    path = write_tiff(tmp_path / "flat.tif", wave_slide(1531, 1127), mpp=0.25)
    with open_slide(path) as slide:
        scale = slide.scale(2.0)
        assert (scale.level, scale.level0) == (0, pytest.approx(8.0))
        ((_, window),) = slide.read_windows(np.array([(701, 203)]), size=97, mpp=2.0)
    assert offset_level0(window, x=704, y=200, px_level0=8.0) == pytest.approx((0, 0), abs=0.3)


def test_fault_10_downsample_of_57_375(tmp_path):
    path = write_tiff(
        tmp_path / "odd.tif", wave_slide(2295, 1721), mpp=0.25, level_sizes=((40, 30),)
    )
    with open_slide(path) as slide:
        assert slide.info.level_downsamples[1] == pytest.approx(57.37, abs=0.02)
        scale = slide.scale(57.375 * 0.25)
        assert (scale.level, scale.resample) == (1, 1.0)
        ((_, window),) = slide.read_windows(
            np.array([(57.375 * 12, 57.375 * 9)]), size=20, mpp=57.375 * 0.25
        )
        direct = slide.read_level(1, x=12, y=9, width=20, height=20)
        between = slide.scale(20.0)
        assert (between.level, between.level0) == (1, pytest.approx(80.0))
    expected = block_means(wave_slide(2295, 1721), columns=40, rows=30)[9:29, 12:32]
    assert np.array_equal(window, direct)
    # OpenSlide's downsample is one mean of x and y, so it may blend neighbours by a few hundredths.
    assert np.abs(window.astype(int) - expected).max() <= 6


def test_fault_48_slides_in_a_loop_leave_no_open_files(coded_slide):
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing itself needs one

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell its open files")
    before = open_files()
    for _ in range(100):
        with open_slide(coded_slide) as slide:
            slide.read_level(0, x=10, y=10, width=5, height=5)
    assert open_files() <= before
