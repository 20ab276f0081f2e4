"""Cells that the fast mode scores exactly."""

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.inference import PredictSettings, order, predict_slide
from gigaslide.models import (
    load_dense_predictor,
    load_predictor,
)
from gigaslide.wsi import (
    CellStatus,
    open_slide,
)
from plain_networks import CENTRE, write_networks
from predicting import QUICK, brightness
from stand_in import dense_of, predictor_of

pytestmark = pytest.mark.usefixtures("plain_network")
FAST = QUICK.model_copy(update={"mode": "fast", "exact_above": 0.45})


def corner(patches: np.ndarray) -> np.ndarray:
    """Differs between orientations."""
    return np.asarray(patches)[..., 40:60, 10:30, 1].mean(axis=(1, 2)) / 255


def hot_cells(probability: np.ndarray, above: float) -> np.ndarray:
    """Cells above a probability and their neighbours, cell by cell."""
    hot = np.zeros(probability.shape, bool)
    for row, column in np.argwhere(np.nan_to_num(probability) > above):
        hot[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    return hot


def lower_cells(probability: np.ndarray, within: float) -> np.ndarray:
    """Cells whose odds are less than those of a neighbour by a factor, cell by cell."""
    odds = np.nan_to_num(probability / (1 - probability))
    lower = np.zeros(probability.shape, bool)
    for row, column in np.argwhere(odds > 0):
        around = odds[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        lower[row, column] = around.max() > odds[row, column] * np.exp(within)
    return lower


WITHIN = 0.08  # log-odds of the stand-in


@pytest.mark.parametrize("first_pass", ["dense", "one-orientation"])
@pytest.mark.parametrize("side", [16, 3])
def test_fast_scores_exactly_where_the_first_pass_is_high(tmp_path, monkeypatch, first_pass, side):
    """Dense: in the cell itself, unless a neighbour is much higher; else also in a neighbour.
    Whatever the squares in which cells are scored."""
    monkeypatch.setattr(order, "FAST_BLOCK", (side, side))
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))
    changes = {"orientations": 8, "first_pass": first_pass, "exact_within": WITHIN}
    settings = FAST.model_copy(update=changes)
    maps = {}
    with open_slide(path) as slide:
        for name, changes in {
            "fast": {},
            "fastest": {"mode": "fastest"},
            "exact": {"mode": "exact"},
        }.items():
            maps[name] = predict_slide(
                slide,
                predictor_of(corner),
                settings.model_copy(update=changes),
                slide_id="s",
                dense=dense_of(corner),
            )
    fast, first, exact = maps["fast"], maps["fastest"], maps["exact"]
    close = np.nan_to_num(first.probability) > settings.exact_above
    if first_pass == "dense":
        likely = close.sum()
        close &= ~lower_cells(first.probability, WITHIN)
        assert close.sum() < likely - 20
    else:
        close = hot_cells(first.probability, settings.exact_above) & exact.scored
    assert 25 < close.sum() < exact.scored.sum() - 50
    np.testing.assert_array_equal(fast.status == CellStatus.SCORED, close)
    np.testing.assert_array_equal(fast.status == CellStatus.FIRST_PASS, exact.scored & ~close)
    np.testing.assert_array_equal(fast.probability[close], exact.probability[close])
    np.testing.assert_allclose(fast.probability[~close], first.probability[~close], atol=1e-6)
    assert not np.allclose(first.probability[close], exact.probability[close], atol=1e-3)


@pytest.mark.parametrize("kind", ["scales", "ensemble"])
def test_fast_goes_by_the_mean_of_an_ensemble_and_by_all_scales(
    plain_slide, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(order, "FAST_BLOCK", (4, 4))
    folders = write_networks(tmp_path, kind)
    predictor = load_predictor(folders, runtime="keras")
    dense = load_dense_predictor(folders, stride_px=CENTRE, runtime="keras")
    with open_slide(plain_slide) as slide:
        first, exact = (
            predict_slide(slide, predictor, PredictSettings(mode=mode), slide_id="s", dense=dense)
            for mode in ("fastest", "exact")
        )
        found = np.sort(first.probability[first.scored])
        above = float(found[len(found) // 2 :][:2].mean())  # between two cells
        settings = PredictSettings(mode="fast", exact_above=above, exact_within=WITHIN)
        fast = predict_slide(slide, predictor, settings, slide_id="s", dense=dense)
    likely = np.nan_to_num(first.probability) > above
    close = likely & ~lower_cells(first.probability, WITHIN)
    assert 5 < close.sum() < likely.sum() - 5
    np.testing.assert_array_equal(fast.status == CellStatus.SCORED, close)
    wanted = np.where(close, exact.probability, first.probability)
    np.testing.assert_allclose(fast.probability, wanted, atol=2e-5)
    if kind == "ensemble":
        wanted = np.where(close, exact.spread, first.spread)
        np.testing.assert_allclose(fast.spread, wanted, atol=2e-5)


@pytest.mark.parametrize("within", [0.0, WITHIN, 99.0])
def test_where_the_dense_first_pass_gives_nan_fast_scores_exactly(tmp_path, monkeypatch, within):
    """Such a cell is no reason to leave out a neighbour."""
    monkeypatch.setattr(order, "FAST_BLOCK", (5, 5))
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))

    def without_highest(patches: np.ndarray) -> np.ndarray:
        found = brightness(patches)
        return np.where(found > 0.6, np.nan, found)

    settings = FAST.model_copy(update={"exact_within": within})
    dense, patches = dense_of(without_highest), predictor_of(brightness)
    with open_slide(path) as slide:
        first, fast = (
            predict_slide(
                slide,
                patches,
                settings.model_copy(update={"mode": mode}),
                slide_id="s",
                dense=dense,
            )
            for mode in ("fastest", "fast")
        )
    failed = first.status == CellStatus.FAILED
    assert failed.sum() > 5
    close = np.nan_to_num(first.probability) > settings.exact_above
    close &= ~lower_cells(first.probability, within)
    np.testing.assert_array_equal(fast.status == CellStatus.SCORED, close | failed)


def test_neighbours_outside_a_square_are_not_scored_where_nothing_is_likely(tmp_path, monkeypatch):
    monkeypatch.setattr(order, "FAST_BLOCK", (8, 8))
    monkeypatch.setattr(order, "FASTEST_BLOCK", 8)
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))
    counts = {}
    for mode in ("fast", "fastest"):
        seen: list[int] = []

        def count(patches: np.ndarray, seen: list[int] = seen) -> np.ndarray:
            seen.append(len(patches))
            return brightness(patches)

        settings = FAST.model_copy(update={"mode": mode, "exact_above": 1.0})
        with open_slide(path) as slide:
            predict_slide(
                slide, predictor_of(brightness), settings, slide_id="s", dense=dense_of(count)
            )
        counts[mode] = sum(seen)
    assert counts["fast"] == counts["fastest"] > 300
