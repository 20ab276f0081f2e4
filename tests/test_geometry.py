"""Places: cells, windows, and the crossing from (x, y) to (row, column), against golden values and
loops."""

import math
from fractions import Fraction

import numpy as np
import pytest
from gigaslide.wsi import CellGrid, Region, Scale, WindowSpec, ceil_div, floor_div, row_column

LIU = WindowSpec(side_px=299, centre_px=128, stride_px=128, mpp=0.25)


def scale_of(level0: float) -> Scale:
    return Scale(requested_mpp=0.25, mpp=0.25, level=0, level_downsample=1.0, level0=level0)


def test_rounding_by_name_on_both_sides_of_zero():
    for value in range(-20, 21):
        for by in (1, 3, 7):
            exact = Fraction(value, by)
            assert floor_div(value, by) == math.floor(exact)
            assert ceil_div(value, by) == math.ceil(exact)
    assert ceil_div(0.1 + 0.2, 0.1) == 3  # 3.0000000000000004 is 3
    assert ceil_div(3.001, 1) == 4


def test_row_column_crosses_x_and_y():
    xy = [(0, 0), (255.9, 0), (256, 0), (0, 256), (1000, 300), (-0.5, 5), (5, -300)]
    cells = row_column(np.array(xy), origin_level0=(0, 0), stride_level0=256)
    assert cells.tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [1, 3], [0, -1], [-2, 0]]
    assert cells.dtype == np.int64
    shifted = row_column(np.array([(110.0, 20.0)]), origin_level0=(100, 0), stride_level0=10)
    assert shifted.tolist() == [[2, 1]]


def test_grid_of_the_paper_golden():
    grid = LIU.grid(width_level0=1000, height_level0=300, scale=scale_of(1.0))
    assert (grid.rows, grid.columns) == (3, 8)
    cells = np.array([[0, 0], [0, 1], [2, 7]])
    assert grid.windows_xy(cells).tolist() == [[-85, -85], [43, -85], [811, 171]]
    assert grid.windows_xy(cells, margin_px=8).tolist() == [[-93, -93], [35, -93], [803, 163]]
    assert grid.centres_xy(cells).tolist() == [[0, 0], [128, 0], [896, 256]]
    assert (grid.stride_level0, grid.side_level0, grid.centre_level0) == (128, 299, 128)


@pytest.mark.parametrize("level0", [1.0, 1.106194, 2.0, 4.0833, 57.375])
@pytest.mark.parametrize("stride_px", [32, 64, 128, 200])
def test_cells_centres_and_windows_are_concentric_and_cover_the_slide(level0, stride_px):
    width, height = 9001, 5003
    spec = WindowSpec(side_px=299, centre_px=128, stride_px=stride_px, mpp=0.25)
    grid = spec.grid(width_level0=width, height_level0=height, scale=scale_of(level0))
    cells = grid.cells()
    assert cells.tolist() == [
        [row, column] for row in range(grid.rows) for column in range(grid.columns)
    ]
    # The last cell holds the last pixel, and no cell lies outside.
    last = row_column(
        np.array([(width - 1, height - 1)]), origin_level0=(0, 0), stride_level0=grid.stride_level0
    )
    assert last.tolist() == [[grid.rows - 1, grid.columns - 1]]
    middle = (cells[:, ::-1] + 0.5) * stride_px * level0
    centre_middle = grid.centres_xy(cells) + grid.centre_level0 / 2
    window_middle = grid.windows_xy(cells) + grid.side_level0 / 2
    grown_middle = grid.windows_xy(cells, margin_px=8) + grid.side_level0 / 2 + 8 * level0
    assert np.abs(centre_middle - middle).max() <= 0.5 * level0 + 1e-6
    assert (
        np.abs(window_middle - centre_middle).max() <= 0.5 * level0 + 0.5 + 1e-6
    )  # and half a level-0 px of rounding
    assert np.abs(grown_middle - window_middle).max() <= 1
    # Neighbours never drift apart: the stride is not rounded before it is multiplied.
    steps = np.diff(grid.windows_xy(cells[: grid.columns])[:, 0])
    assert np.abs(steps - stride_px * level0).max(initial=0) <= 1


def test_a_slide_smaller_than_a_cell_is_one_cell():
    grid = LIU.grid(width_level0=50, height_level0=20, scale=scale_of(1.0))
    assert (grid.rows, grid.columns, grid.cells().tolist()) == (1, 1, [[0, 0]])


def test_value_objects_are_frozen_and_take_names_only():
    region = Region(x=1, y=2, width=3, height=4)
    with pytest.raises(AttributeError):
        region.x = 5
    with pytest.raises(TypeError):
        Region(1, 2, 3, 4)
    with pytest.raises(TypeError):
        CellGrid(LIU, scale_of(1.0), 1, 1)
