"""Windows in bulk: each tile once, on any number of threads, in bounded memory; pixels against
plain crops."""

import threading
import tracemalloc
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import position_coded
from gigaslide.wsi import Slide
from gigaslide.wsi import windows as windows_module
from gigaslide.wsi.readers import Pyramid, PyramidLevel
from gigaslide.wsi.tiled_image import TiledImage
from gigaslide.wsi.tiles import SlideTiles
from gigaslide.wsi.windows import read_windows
from test_tiled_image import on_sheet, tiled_image_of

MEMORY_BYTES = 256e6  # what Slide.read_windows promises


def format_count(image: TiledImage) -> tuple[TiledImage, Counter]:
    """The image, and how often each of its tiles was fetched."""
    fetched: Counter = Counter()
    lock = threading.Lock()

    def fetch(row: int, column: int) -> np.ndarray | None:
        with lock:
            fetched[row, column] += 1
        return image.fetch(row, column)

    plain = {
        name: getattr(image, name)
        for name in ("width", "height", "tile_width", "tile_height", "background")
    }
    return TiledImage(**plain, fetch=fetch), fetched


def touched(corners: np.ndarray, side: int, image: TiledImage) -> set[tuple[int, int]]:
    """(row, column) of the tiles under windows, px by px of their edges and every tile between."""
    tiles = set()
    for x, y in corners.tolist():
        for py in {*range(max(y, 0), min(y + side, image.height))}:
            for px in range(max(x, 0), min(x + side, image.width), 7):
                tiles.add((py // image.tile_height, px // image.tile_width))
            if x < image.width and x + side > 0:
                tiles.add(
                    (py // image.tile_height, (min(x + side, image.width) - 1) // image.tile_width)
                )
    return tiles


@pytest.fixture(scope="module")
def pixels():
    return position_coded(3011, 2207)


@pytest.fixture(scope="module")
def corners():
    rng = np.random.default_rng(11)
    scattered = np.stack([rng.integers(-60, 3011, 90), rng.integers(-60, 2207, 90)], axis=1)
    dense = np.stack(
        np.meshgrid(np.arange(700, 1500, 37), np.arange(900, 1300, 41)), axis=2
    ).reshape(-1, 2)
    return rng.permutation(np.concatenate([scattered, dense]))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_tile_is_decoded_once_and_windows_are_the_pixels(pixels, corners, threads):
    image, fetched = format_count(tiled_image_of(pixels))
    sheet = on_sheet(pixels, 100)
    seen = set()
    for index, window in read_windows(image, corners, side=75, threads=threads):
        x, y = corners[index] + 100
        assert np.array_equal(window, sheet[y : y + 75, x : x + 75]), corners[index]
        assert not window.flags.writeable
        seen.add(index)
    assert seen == set(range(len(corners)))
    assert set(fetched) == touched(corners, 75, image)
    assert set(fetched.values()) == {1}


def test_windows_that_are_kept_keep_their_pixels(pixels, corners):
    image = tiled_image_of(pixels)
    kept = dict(read_windows(image, corners, side=75))
    sheet = on_sheet(pixels, 100)
    for index, window in kept.items():
        x, y = corners[index] + 100
        assert np.array_equal(window, sheet[y : y + 75, x : x + 75])


def test_stripes_fetch_again_only_what_lies_across_their_edges(pixels):
    image, fetched = format_count(tiled_image_of(pixels))
    corners = np.stack(np.meshgrid(np.arange(0, 2900, 64), np.arange(0, 2100, 64)), axis=2).reshape(
        -1, 2
    )
    found = dict(read_windows(image, corners, side=75, stripe_px=1024))
    assert len(found) == len(corners)
    twice = {column for (_, column), times in fetched.items() if times > 1}
    # Windows that start before x = 1024 or 2048 reach over it: tiles of 64 px, columns 16 and 32.
    assert twice == {16, 32}
    assert max(fetched.values()) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_bounded_on_a_wide_slide(threads):
    tile = np.full((512, 512, 3), 7, np.uint8)
    shape = {
        "width": 100_000,
        "height": 2_000,
        "tile_width": 512,
        "tile_height": 512,
        "background": (255, 255, 255),
    }
    image = TiledImage(**shape, fetch=lambda row, column: tile.copy())
    corners = np.stack(
        np.meshgrid(np.arange(0, 99_700, 256), np.arange(0, 1_700, 256)), axis=2
    ).reshape(-1, 2)
    tracemalloc.start()
    try:
        number = sum(1 for _ in read_windows(image, corners, side=299, threads=threads))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number == len(corners)
    assert 20e6 < peak < MEMORY_BYTES  # the whole of it is 600 MB


def test_windows_left_half_way_stop_the_threads(pixels, corners):
    before = threading.active_count()
    windows = read_windows(tiled_image_of(pixels), corners, side=75, threads=3)
    next(windows)
    windows.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_error_of_a_tile_reaches_the_caller(corners, threads):
    def fetch(row: int, column: int) -> np.ndarray:
        raise ZeroDivisionError(f"tile {row}, {column}")

    shape = {
        "width": 3011,
        "height": 2207,
        "tile_width": 64,
        "tile_height": 48,
        "background": (255, 255, 255),
    }
    with pytest.raises(ZeroDivisionError, match="tile"):
        list(read_windows(TiledImage(**shape, fetch=fetch), corners, side=75, threads=threads))


def test_blocks_far_apart_do_not_lay_out_what_lies_between(monkeypatch):
    monkeypatch.setattr(
        windows_module, "BLOCK_PX", 100_000
    )  # both windows in one block of 20 000 × 20 000 px
    shape = {
        "width": 90_000,
        "height": 90_000,
        "tile_width": 256,
        "tile_height": 256,
        "background": (9, 8, 7),
    }
    image, fetched = format_count(
        TiledImage(**shape, fetch=lambda row, column: np.full((256, 256, 3), row % 251, np.uint8))
    )
    tracemalloc.start()
    try:
        windows = dict(read_windows(image, np.array([(100, 100), (20_100, 20_200)]), side=64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (windows[0] == 0).all()
    assert (windows[1][: 79 * 256 - 20_200] == 78).all()
    assert len(fetched) <= 6
    assert peak < 20e6


@pytest.mark.parametrize(("tile_px", "most"), [(256, 1.2), (1024, 2.0)])
def test_resampled_windows_decode_tiles_about_once_in_bounded_memory(tile_px, most):
    shape = {"width": 26_000, "height": 2_600, "tile_width": tile_px, "tile_height": tile_px}
    tile = np.full((tile_px, tile_px, 3), 90, np.uint8)
    levels = (PyramidLevel(**shape, downsample=1.0, downsample_xy=(1.0, 1.0)),)
    reader = MadeReader(Pyramid(levels=levels, mpp_xy=(0.25, 0.25), vendor="made"), tile)
    slide = Slide.__new__(Slide)
    slide._reader, slide._tiles = reader, SlideTiles(reader, name="made")
    slide.info = SimpleNamespace(path="made", mpp=0.25, level_downsamples=(1.0,))
    corners = np.stack(
        np.meshgrid(np.arange(0, 25_500, 700), np.arange(0, 2_200, 700)), axis=2
    ).reshape(-1, 2)
    tracemalloc.start()
    try:
        windows = slide.read_windows(corners, size=299, mpp=0.4)
        assert all((window[:200, :200] == 90).all() for _, window in windows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BYTES
    assert sum(reader.asked.values()) / len(reader.asked) < most


class MadeReader:
    """Tiles of one colour, and how often each was asked for."""

    name = "made"

    def __init__(self, pyramid: Pyramid, tile: np.ndarray) -> None:
        self.pyramid, self._tile = pyramid, tile
        self.asked: Counter = Counter()

    def tile(self, level: int, row: int, column: int) -> np.ndarray:
        self.asked[level, row, column] += 1
        return self._tile.copy()
