"""A large slide for benchmarks of reading and viewing."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

MPP = 0.25
TILE_PX = 256


def draw(path: Path, size_px: int) -> Path:
    """Write a pyramid of JPEG tiles; its tiles repeat a few pictures, so that it is quick to make
    and costs as much to decode as another."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (8, 64, 64, 3))
    pictures = [
        np.clip(cv2.resize(one, (TILE_PX, TILE_PX)) * 35 + (190, 120, 170), 0, 255).astype(np.uint8)
        for one in noise
    ]

    def tiles(count: int) -> Iterator[np.ndarray]:
        for number in range(count):
            yield pictures[number % len(pictures)]

    options = {
        "photometric": "rgb",
        "tile": (TILE_PX, TILE_PX),
        "compression": "jpeg",
        "compressionargs": {"level": 85},
        "metadata": None,
        "dtype": np.uint8,
        "resolutionunit": "CENTIMETER",
    }
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        side, level = size_px, 0
        while True:
            across = -(-side // TILE_PX)
            tiff.write(
                tiles(across * across),
                shape=(side, side, 3),
                subfiletype=1 if level else 0,
                resolution=(1e4 / MPP / 4**level, 1e4 / MPP / 4**level),
                **options,
            )
            if side <= 1024:
                return path
            side, level = side // 4, level + 1
