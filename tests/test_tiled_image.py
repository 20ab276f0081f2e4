"""Rasters in tiles and their resampling, against arrays and exact means written out as sums."""

from fractions import Fraction

import numpy as np
import pytest
from conftest import position_coded
from gigaslide.wsi.tiled_image import TiledImage, read_rectangle, resample

BACKGROUND = (201, 202, 203)


def tiled_image_of(
    pixels: np.ndarray, *, tile: tuple[int, int] = (64, 48), missing: frozenset = frozenset()
) -> TiledImage:
    """An array cut into (width, height) tiles; those of the missing (row, column) are not there."""
    width, height = tile

    def fetch(row: int, column: int) -> np.ndarray | None:
        if (row, column) in missing:
            return None
        return pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]

    rows, columns = pixels.shape[:2]
    return TiledImage(
        width=columns,
        height=rows,
        tile_width=width,
        tile_height=height,
        background=BACKGROUND,
        fetch=fetch,
    )


def on_sheet(pixels: np.ndarray, reach: int) -> np.ndarray:
    """The array on background that goes on for so many px on every side."""
    rows, columns = pixels.shape[:2]
    sheet = np.empty((rows + 2 * reach, columns + 2 * reach, 3), np.uint8)
    sheet[:] = BACKGROUND
    sheet[reach : reach + rows, reach : reach + columns] = pixels
    return sheet


@pytest.mark.parametrize(
    ("x", "y", "width", "height"),
    [(0, 0, 301, 207), (-20, -9, 70, 40), (250, 190, 90, 50), (63, 47, 2, 2)],
)
def test_rectangle_is_cut_from_tiles(x, y, width, height):
    pixels = position_coded(301, 207)
    expected = on_sheet(pixels, 100)[100 + y : 100 + y + height, 100 + x : 100 + x + width]
    assert np.array_equal(read_rectangle(tiled_image_of(pixels), x, y, width, height), expected)


def test_rectangle_far_outside_and_missing_tiles_show_the_background():
    pixels = position_coded(301, 207)
    image = tiled_image_of(pixels, missing=frozenset({(1, 2)}))
    expected = pixels.copy()
    expected[48:96, 128:192] = BACKGROUND
    assert np.array_equal(read_rectangle(image, 0, 0, 301, 207), expected)
    assert (read_rectangle(image, 9000, -9000, 5, 4) == BACKGROUND).all()


def area_mean(
    sheet: np.ndarray, left: Fraction, top: Fraction, side: tuple[Fraction, Fraction]
) -> np.ndarray:
    """Mean colour of a rectangle of a sheet in exact fractions, pixel by pixel."""
    total = np.zeros(3)
    for row in range(int(top), -int(-(top + side[1]) // 1)):
        height = min(top + side[1], row + 1) - max(top, row)
        for column in range(int(left), -int(-(left + side[0]) // 1)):
            width = min(left + side[0], column + 1) - max(left, column)
            total += float(width * height) * sheet[row, column].astype(float)
    return total / float(side[0] * side[1])


@pytest.mark.parametrize(
    "ratio", [("2.3", "3.7"), ("1.25", "1.25"), ("57.375", "56.5"), ("1", "2")]
)
def test_resampled_px_is_the_mean_of_the_area_it_covers(ratio, monkeypatch):
    monkeypatch.setattr(
        "gigaslide.wsi.tiled_image.RESAMPLED_TILE_PX", 16
    )  # so that the image has many tiles
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (413, 611, 3), dtype=np.uint8)
    across, down = map(Fraction, ratio)
    image = resample(tiled_image_of(pixels), (float(across), float(down)))
    assert (image.width, image.height) == (-int(-611 / across // 1), -int(-413 / down // 1))
    whole = read_rectangle(image, 0, 0, image.width, image.height)
    sheet = on_sheet(pixels, 60)[60:, 60:]  # the last px reach over the edge
    far = (image.width - 1, image.height - 1)
    places = {
        (0, 0),
        far,
        (far[0], 0),
        (0, far[1]),
        (min(16, far[0]), min(15, far[1])),
        (far[0] // 2, far[1] // 3),
    }
    for column, row in places:
        exact = area_mean(sheet, column * across, row * down, (across, down))
        assert np.abs(whole[row, column] - exact).max() <= 0.51, (column, row)


def test_enlarged_px_is_linear_between_centres():
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[:] = (np.arange(9) * 20)[None, :, None]
    image = resample(tiled_image_of(pixels), (0.5, 0.25))
    row = read_rectangle(image, 0, 8, 18, 1)[0, :, 0]
    # Centres of the result lie a quarter px beside the source's: 20 px steps become 5, 15, 25, …
    assert row[1:17].tolist() == [
        5,
        15,
        25,
        35,
        45,
        55,
        65,
        75,
        85,
        95,
        105,
        115,
        125,
        135,
        145,
        155,
    ]
