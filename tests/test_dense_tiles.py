"""Tiles of a dense pass: they cover all cells, and stay small."""

from dataclasses import replace

import numpy as np
import pytest
from gigaslide.inference import dense_tiles, predict_slide
from gigaslide.inference.tile_plan import Tile, allowed_sides, plan_tiles
from gigaslide.models import (
    load_dense_predictor,
    load_predictor,
)
from gigaslide.wsi import (
    open_slide,
)
from plain_networks import CENTRE, write_network
from predicting import QUICK

pytestmark = pytest.mark.usefixtures("plain_network")
FASTEST = QUICK.model_copy(update={"mode": "fastest"})


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.2, 1.0])
def test_tiles_cover_every_cell_with_few_pixels(share, squares):
    mask = np.random.default_rng(5).random((45, 31)) < share
    mask[7, 11] = True
    cells = np.argwhere(mask) + 100

    def tile_px(side: int) -> int:
        return 75 + 32 * (side - 1) + 40

    tiles = plan_tiles(cells, tile_px, most=18, squares=squares)
    covered = np.zeros((200, 200), bool)
    for tile in tiles:
        rows, columns = tile.cells
        assert set(tile.cells) <= set(allowed_sides(18, squares=squares))
        assert rows == columns or not squares
        covered[tile.row : tile.row + rows, tile.column : tile.column + columns] = True
    assert covered[tuple(cells.T)].all()
    pixels = sum(tile_px(tile.cells[0]) * tile_px(tile.cells[1]) for tile in tiles)
    assert pixels <= len(cells) * tile_px(1) ** 2


def test_tiles_follow_the_shape_of_the_tissue():
    def tile_px(side: int) -> int:
        return 100 + 32 * side

    bar, far = np.argwhere(np.ones((2, 9), bool)), np.array([[30, 3]])
    assert plan_tiles(bar + 5, tile_px, most=18) == [Tile((2, 9), 5, 5)]
    both = plan_tiles(np.concatenate([bar, far]), tile_px, most=18)
    assert sorted(both) == [Tile((1, 1), 30, 3), Tile((2, 9), 0, 0)]
    bend = np.concatenate([bar, np.argwhere(np.ones((12, 2), bool))])
    assert sorted(plan_tiles(bend, tile_px, most=18)) == [Tile((2, 9), 0, 0), Tile((10, 2), 2, 0)]
    squares = plan_tiles(bend, tile_px, most=18, squares=True)
    assert {tile.cells[0] for tile in squares} <= {1, 2, 3, 4, 6, 9, 12, 18}
    assert plan_tiles(np.array([[3, 9]]), tile_px, most=18) == [Tile((1, 1), 3, 9)]
    assert plan_tiles(np.zeros((0, 2), int), tile_px, most=18) == []


def test_a_tile_is_never_larger_than_memory_allows(plain_slide, tmp_path, monkeypatch):
    folder = write_network(tmp_path / "m")
    predictor = load_predictor(folder, runtime="keras")
    dense = load_dense_predictor(folder, stride_px=CENTRE, runtime="keras")
    maps = []
    for largest in (4096, 150):
        monkeypatch.setattr(dense_tiles, "LARGEST_TILE_PX", largest)
        sides = []

        def forward(tiles, sides=sides):
            sides.append(tiles[0].shape[1])
            return dense.members[0].started.forward(tiles)

        started = dense.members[0].started._replace(forward=forward)
        watched = replace(dense, members=(replace(dense.members[0], started=started),))
        with open_slide(plain_slide) as slide:
            maps.append(predict_slide(slide, predictor, FASTEST, slide_id="s", dense=watched))
        assert max(sides) <= largest
    np.testing.assert_allclose(maps[0].probability, maps[1].probability, atol=1e-5)
