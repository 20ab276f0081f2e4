"""Modes of prediction: exact against plain Keras, the fast ones against exact; no figure of speed
here."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import stained_slide, tile_place, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, dense_tiles, find_detections, order, predict_slide
from gigaslide.inference.blocks import PredictBlocks
from gigaslide.inference.tile_plan import Tile, allowed_sides, plan_tiles
from gigaslide.models import (
    ARCHITECTURES,
    WEIGHTS,
    Architecture,
    ModelCard,
    build_network,
    hash_weights,
    load_dense_predictor,
    load_network,
    load_predictor,
)
from gigaslide.storage import ModelError, SettingsError
from gigaslide.wsi import (
    STAIN_PATCHES,
    CellStatus,
    Heatmap,
    InputSpec,
    fit_stain_to_patches,
    open_slide,
    overlay_heatmap,
)
from predicting import QUICK, brightness, content, predict, write_model, write_slides
from stand_in import dense_of, predictor_of
from test_batch_blocks import journal

TESTS = Path(__file__).parent
SIDE, CENTRE = 71, 32
FAST = QUICK.model_copy(update={"mode": "fast", "exact_above": 0.45})
FASTEST = QUICK.model_copy(update={"mode": "fastest"})


def tower(pixels, _options, suffix):
    """No padding, and features whose middle is that of a patch of 71 px: dense equals exact."""
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name=f"scaled{suffix}")(pixels)
    x = keras.layers.Conv2D(6, 7, strides=4, activation="relu", name=f"first{suffix}")(x)
    return keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"last{suffix}")(x)


@pytest.fixture(autouse=True)
def plain(monkeypatch) -> None:
    found = Architecture(
        tower=tower, min_patch_px=SIDE, preprocessing="", parameters=1, windows_per_s=1.0
    )
    monkeypatch.setitem(ARCHITECTURES, "plain", found)


def write_network(folder: Path, *, seed: int = 0, mpps=(0.5,), stain=None) -> Path:
    keras.utils.set_random_seed(seed)
    spec = InputSpec(patch_px=SIDE, centre_px=CENTRE, mpps=mpps, stain=stain)
    network = build_network("plain", spec)
    head = network.get_layer("classifier")
    head.set_weights([head.get_weights()[0] * 6, np.zeros(2)])
    folder.mkdir(parents=True)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="plain",
        input_spec=spec,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def write_networks(folder: Path, kind: str) -> list[Path]:
    """Model folders of a kind of model."""
    if kind == "ensemble":
        return [write_network(folder / str(seed), seed=seed) for seed in (1, 2)]
    facts = {"scales": {"mpps": (0.5, 1.0)}, "stain": {"stain": "reinhard"}}.get(kind, {})
    return [write_network(folder / "m", **facts)]


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory) -> Path:
    pixels = stained_slide(1)[100:480, 100:632]
    sizes = ((266, 190),)
    return write_tiff(tmp_path_factory.mktemp("slide") / "s.tif", pixels, level_sizes=sizes)


KINDS = ["one", "scales", "stain", "ensemble"]


def explicit(path: Path, folders: list[Path], cells: np.ndarray) -> np.ndarray:
    """Mean of 8 passes of plain Keras over windows read one by one."""
    networks = [load_network(folder, ModelCard.load(folder)) for folder in folders]
    spec = ModelCard.load(folders[0]).input_spec
    with open_slide(path) as slide:
        windows = np.array([windows_around(slide, spec, *cell) for cell in cells.tolist()])
    if spec.stain:
        spread = np.linspace(0, len(cells) - 1, min(len(cells), STAIN_PATCHES)).astype(int)
        fit = fit_stain_to_patches(windows[np.unique(spread), 0], spec.stain)
        windows = np.array([fit.apply(one) for one in windows])
    passes = []
    for turns in range(4):
        turned = np.rot90(windows, turns, axes=(2, 3))
        for view in (turned, turned[:, :, :, ::-1]):
            passes += [network.predict(view, verbose=0)[:, 1] for network in networks]
    return np.mean(passes, axis=0)


def windows_around(slide, spec, row, column):
    """Windows of a cell at every scale, by `read_level`."""
    x, y = column * CENTRE - (SIDE - CENTRE) // 2, row * CENTRE - (SIDE - CENTRE) // 2
    found = [slide.read_level(0, x=x, y=y, width=SIDE, height=SIDE)]
    if len(spec.mpps) > 1:
        x, y = (round(round(corner - SIDE / 2) / 2) for corner in (x, y))
        found.append(slide.read_level(1, x=x, y=y, width=SIDE, height=SIDE))
    return np.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_fault_46_exact_equals_8_passes_of_plain_keras(slide_path, tmp_path, kind):
    folders = write_networks(tmp_path / "model", kind)
    cohort = Cohort.of_rows([CohortSlide(id="s", path=slide_path)])
    wanted = np.zeros(0)
    small = 8 * 3 * 8 * SIDE**2
    ways = [("keras", 64, 2**27), ("keras", 24, small), ("openvino", 24, small)]
    for number, (runtime, batch_size, block_px) in enumerate(ways):
        out = tmp_path / str(number)
        settings = PredictSettings(
            batch_size=batch_size, runtime=runtime, allow_tumor_on_glass=True
        )
        blocks = {"block_px": block_px}
        predict(cohort, tmp_path / "model", out, settings, kind=PredictBlocks, blocks=blocks)
        found = Heatmap.load(out / "s" / "heatmap.zarr")
        cells = np.argwhere(found.scored)
        assert len(cells) > 60
        if number == 0:
            wanted = explicit(slide_path, folders, cells)
            assert wanted.std() > 0.01
        np.testing.assert_allclose(found.probability[found.scored], wanted, atol=1e-5)


@pytest.mark.parametrize("stride_px", [None, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_dense_equals_one_orientation_where_nothing_is_padded(
    slide_path, tmp_path, kind, stride_px
):
    folders = write_networks(tmp_path, kind)
    one = PredictSettings(orientations=1, stride_px=stride_px)
    fastest = one.model_copy(update={"mode": "fastest"})
    predictor = load_predictor(folders, runtime="keras")
    dense = load_dense_predictor(folders, stride_px=stride_px or CENTRE, runtime="keras")
    with open_slide(slide_path) as slide:
        wanted = predict_slide(slide, predictor, one, slide_id="s")
        found = predict_slide(slide, predictor, fastest, slide_id="s", dense=dense)
    assert found.scored.sum() > 60
    assert set(np.unique(found.status)) <= {CellStatus.BACKGROUND, CellStatus.FIRST_PASS}
    np.testing.assert_array_equal(found.scored, wanted.scored)
    np.testing.assert_allclose(found.probability, wanted.probability, atol=2e-5)
    if kind == "ensemble":
        np.testing.assert_allclose(found.spread, wanted.spread, atol=2e-5)


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
    slide_path, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(order, "FAST_BLOCK", (4, 4))
    folders = write_networks(tmp_path, kind)
    predictor = load_predictor(folders, runtime="keras")
    dense = load_dense_predictor(folders, stride_px=CENTRE, runtime="keras")
    with open_slide(slide_path) as slide:
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


def corner(patches: np.ndarray) -> np.ndarray:
    """Differs between orientations."""
    return np.asarray(patches)[..., 40:60, 10:30, 1].mean(axis=(1, 2)) / 255


def test_coarse_looks_once_at_four_cells(tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))
    settings = FASTEST.model_copy(update={"first_pass": "coarse"})
    seen = []

    def count(patches: np.ndarray) -> np.ndarray:
        seen.append(len(patches))
        return brightness(patches)

    with open_slide(path) as slide:
        found = predict_slide(slide, predictor_of(count), settings, slide_id="s")
        # Cells of twice the stride have the same middles.
        wide = QUICK.model_copy(update={"stride_px": 2 * CENTRE, "min_tissue": 0.0})
        wanted = predict_slide(slide, predictor_of(brightness), wide, slide_id="s")
    cells = np.argwhere(found.scored)
    assert sum(seen) < 0.5 * len(cells)
    cells = cells[wanted.scored[tuple(cells.T // 2)]]
    assert len(cells) > 300
    np.testing.assert_allclose(
        found.probability[tuple(cells.T)], wanted.probability[tuple(cells.T // 2)], atol=1e-6
    )


def test_a_cell_of_the_first_pass_counts_everywhere(tmp_path):
    cohort = write_slides(tmp_path, 1)
    summary = predict(cohort, write_model(tmp_path / "m"), tmp_path / "out", FASTEST)
    found = Heatmap.load(tmp_path / "out" / "s1" / "heatmap.zarr")
    (outcome,) = summary.outcomes
    assert outcome.status == "done"
    assert outcome.counts["cells"] == outcome.counts["first_pass"] == found.scored.sum() > 300
    assert outcome.counts["detections"] == len(find_detections(found, FASTEST)) > 0
    with open_slide(cohort.slides[0].path) as slide:
        overview = slide.overview(8.0)
    scored = replace(
        found, status=np.where(found.scored, CellStatus.SCORED, found.status).astype(np.uint8)
    )
    np.testing.assert_array_equal(
        overlay_heatmap(overview, found), overlay_heatmap(overview, scored)
    )


def attributes(out: Path) -> dict:
    return json.loads((out / "s1" / "heatmap.zarr" / "zarr.json").read_text())["attributes"]


def test_a_heatmap_says_its_mode_and_runtime_and_exact_ones_keep_their_recipe(tmp_path):
    cohort, model = write_slides(tmp_path, 1), write_model(tmp_path / "m")
    predict(cohort, model, tmp_path / "exact")
    predict(cohort, model, tmp_path / "fast", FAST)
    exact, fast = attributes(tmp_path / "exact"), attributes(tmp_path / "fast")
    assert (exact["mode"], fast["mode"]) == ("exact", "fast")
    assert fast["runtime"] == "stand-in"
    assert fast["runtime_difference"] == 0
    assert "first_pass" not in exact["counts"]
    assert (
        not {"mode", "first_pass", "exact_above", "exact_within"}
        & exact["recipe"]["settings"].keys()
    )
    assert fast["recipe"]["settings"]["exact_above"] == 0.45
    assert fast["recipe"]["settings"]["exact_within"] == FAST.exact_within
    again = predict(cohort, model, tmp_path / "fast", FAST)
    assert [one.status for one in again.outcomes] == ["skipped"]
    all_likely = FAST.model_copy(update={"exact_within": 99.0})
    for changed in (all_likely, FASTEST):
        other = predict(cohort, model, tmp_path / "fast", changed)
        assert [one.status for one in other.outcomes] == ["done"]


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Cohort:
    return write_slides(tmp_path_factory.mktemp("slides"), 1, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["fast", "fastest"])
def quick(request) -> PredictSettings:
    """Settings of a fast mode, as predicting.py has them."""
    return QUICK.model_copy(update={"mode": request.param})


@pytest.fixture(scope="module")
def predicted(slides, model, quick, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("predicted")
    assert predict(slides, model, out, quick).exit_status == 0
    return content(out)


BLOCKS = {"fast": 6, "fastest": 2}


@pytest.mark.slow
def test_two_workers_give_the_same_files_in_a_fast_mode(slides, model, quick, predicted, tmp_path):
    predict(slides, model, tmp_path, quick, workers=2, memory_gb=1.5)
    assert content(tmp_path) == predicted
    assert len(journal(tmp_path, "block")) == BLOCKS[quick.mode]


@pytest.mark.slow
def test_fault_23_a_fast_prediction_that_is_killed_goes_on(
    slides, model, quick, predicted, tmp_path
):
    slides.save(tmp_path / "cohort.csv")
    out = tmp_path / "out"
    words = [TESTS / "predicting.py", tmp_path / "cohort.csv", model, out, "0", "0.4", quick.mode]
    process = subprocess.Popen([sys.executable, *map(str, words)], stderr=subprocess.DEVNULL)
    deadline, blocks = time.monotonic() + 120, BLOCKS[quick.mode]
    while not ((out / "run.jsonl").exists() and len(journal(out, "block")) >= blocks / 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(journal(out, "block"))
    assert predict(slides, model, out, quick).exit_status == 0
    assert content(out) == predicted
    assert len(journal(out, "block")) < before + blocks


def test_fault_03_dense_cells_that_touch_no_corrupt_tile_are_unchanged(tmp_path):
    good = write_tiff(tmp_path / "good.tif", stained_slide(2), jpeg=True)
    bad = tmp_path / "bad.tif"
    damaged = bytearray(good.read_bytes())
    offset, length = tile_place(good, 6 * 1 + 2)  # 6 tiles a row: x 512 to 768, y 256 to 512
    damaged[offset : offset + length] = bytes(length)
    bad.write_bytes(damaged)
    maps = []
    for path in (good, bad):
        with open_slide(path) as slide, open_slide(good) as whole:
            slide.overview = whole.overview  # tissue is found in the good file
            for settings in (FASTEST, QUICK):
                dense = dense_of(brightness)
                maps.append(
                    predict_slide(
                        slide, predictor_of(brightness), settings, slide_id="s", dense=dense
                    )
                )
    whole, _, fastest, exact = maps
    lost = fastest.status == CellStatus.UNREADABLE
    assert lost.sum() > 10
    np.testing.assert_array_equal(lost, exact.status == CellStatus.UNREADABLE)
    same = fastest.scored
    assert same.sum() > 300
    np.testing.assert_allclose(fastest.probability[same], whole.probability[same], atol=1e-6)


def test_faults_11_12_44_in_fast_modes(tmp_path):
    small = write_tiff(
        tmp_path / "small.tif", np.full((41, 53, 3), (190, 110, 160), np.uint8), tile_px=64
    )
    glass = write_tiff(tmp_path / "glass.tif", stained_slide(3, tissue=False))
    nan = lambda patches: np.full(len(patches), np.nan)  # noqa: E731
    tiny = PredictSettings(orientations=1, tissue={"min_area_um2": 0})
    for path, score, wanted in [
        (small, brightness, {CellStatus.FIRST_PASS}),
        (glass, brightness, {CellStatus.BACKGROUND}),
        (small, nan, {CellStatus.FAILED}),
    ]:
        for mode in ("fast", "fastest"):
            settings = tiny.model_copy(update={"mode": mode, "exact_above": 1.0})
            with open_slide(path) as slide:
                found = predict_slide(
                    slide, predictor_of(score), settings, slide_id="s", dense=dense_of(score)
                )
            assert set(np.unique(found.status[found.status != CellStatus.BACKGROUND])) == (
                wanted - {CellStatus.BACKGROUND}
            )


def test_a_network_that_cannot_be_dense_is_refused_before_any_work(tmp_path):
    cohort, folder = write_slides(tmp_path, 1), write_network(tmp_path / "m")
    settings = PredictSettings(mode="fastest", stride_px=20)
    with pytest.raises(ModelError, match=r"20 px.*multiple of 8"):
        predict(cohort, folder, tmp_path / "out", settings, kind=PredictBlocks)
    assert not (tmp_path / "out").exists()
    with open_slide(cohort.slides[0].path) as slide, pytest.raises(SettingsError, match="dense"):
        predict_slide(slide, predictor_of(brightness), FASTEST, slide_id="s")


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


def test_a_tile_is_never_larger_than_memory_allows(slide_path, tmp_path, monkeypatch):
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
        with open_slide(slide_path) as slide:
            maps.append(predict_slide(slide, predictor, FASTEST, slide_id="s", dense=watched))
        assert max(sides) <= largest
    np.testing.assert_allclose(maps[0].probability, maps[1].probability, atol=1e-5)
