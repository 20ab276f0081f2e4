"""Fault 54: bytes of tiny slides changed at random. A reader answers, or says why not: it never
hangs or crashes."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from gigaslide.storage import SlideError
from gigaslide.wsi.readers import open_reader
from test_readers_faults import DEFLATE, JPEG, tiles_of
from test_readers_tiff import stained, write_levels, write_ome

PIXELS = stained(300, 220)
SIZES = ((300, 220), (150, 110))
CHANGES, LIMIT_S = 25, 5.0


def striped(path: Path) -> None:
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="lzw", rowsperstrip=40)


KINDS: dict[str, Callable[[Path], object]] = {
    "jpeg.tif": lambda path: write_levels(path, PIXELS, SIZES, **JPEG),
    "deflate.tif": lambda path: write_levels(path, PIXELS, SIZES, **DEFLATE),
    "lzw.ome.tif": lambda path: write_ome(path, PIXELS, SIZES, compression="lzw"),
    "striped.tif": striped,
    "region.png": lambda path: path.write_bytes(imagecodecs.png_encode(PIXELS)),
    "region.jpg": lambda path: path.write_bytes(imagecodecs.jpeg8_encode(PIXELS)),
}


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four bytes set to another value, half of them in the head and the tail, where
    directories lie."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        near = int(rng.integers(min(len(content), 600)))
        place = (near, len(content) - 1 - near, int(rng.integers(len(content))))[
            int(rng.integers(3))
        ]
        content[place] = int(rng.choice([0, 1, 255, content[place] ^ 1 << int(rng.integers(8))]))
    return (
        bytes(content) if rng.random() < 0.8 else bytes(content[: int(rng.integers(len(content)))])
    )


def read_all(path: Path) -> None:
    with closing(open_reader(path)[0]) as reader:
        for level, shape in enumerate(reader.pyramid.levels):
            assert shape.width > 0
            assert shape.height > 0
            if shape.rows * shape.columns > 100:  # a size out of the air: its corners are enough
                continue
            for tile in tiles_of(reader, level).values():
                assert (
                    tile is None
                    or isinstance(tile, str)
                    or (tile.dtype == np.uint8 and tile.shape[2] == 3)
                )


@pytest.mark.parametrize("kind", KINDS)
def test_fault_54_changed_bytes_never_crash_or_hang(tmp_path, kind):
    rng = np.random.default_rng(54)
    KINDS[kind](tmp_path / kind)
    read_all(tmp_path / kind)
    content = (tmp_path / kind).read_bytes()
    refusals = []
    for number in range(CHANGES):
        path = tmp_path / f"{number} {kind}"
        path.write_bytes(changed(content, rng))
        start = time.process_time()
        try:
            read_all(path)
        except SlideError as error:
            refusals.append((path, error))
        assert time.process_time() - start < LIMIT_S, path.name
        path.unlink()
    assert all(str(path) in str(error) for path, error in refusals)
