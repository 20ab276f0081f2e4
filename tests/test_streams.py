"""Networks that OpenVINO computes on several cores at the same time: any number of windows, any
number of threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.inference.read_ahead import compute_ahead
from gigaslide.models import (
    WEIGHTS,
    ModelCard,
    build_network,
    hash_weights,
    load_dense_predictor,
)
from gigaslide.models.runtimes.openvino_runtime import start_openvino
from gigaslide.models.runtimes.streams import AT_ONCE
from gigaslide.wsi import InputSpec, open_slide
from stand_in import predictor_of

SPEC = InputSpec(patch_px=48, centre_px=16, mpps=(0.5,))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_network("compact", SPEC)


def save_model(folder: Path, network: keras.Model) -> Path:
    folder.mkdir()
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="compact",
        input_spec=SPEC,
        parameters={"all": network.count_params()},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3 * AT_ONCE + 1, *SPEC.shape), dtype=np.uint8)


@pytest.fixture(scope="module")
def converted(network):
    return start_openvino(network, threads=2)


@pytest.mark.parametrize("count", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 1])
def test_any_number_of_windows_has_the_probabilities_of_keras_in_its_order(
    network, patches, converted, count
):
    found = converted(patches[-count:])
    np.testing.assert_allclose(found, network.predict_on_batch(patches[-count:]), atol=1e-6)
    assert np.array_equal(found, converted(patches)[-count:])  # bit for bit


def test_the_number_of_threads_changes_no_bit(network, patches, converted):
    assert np.array_equal(start_openvino(network, threads=1)(patches), converted(patches))


def test_threads_that_compute_at_once_get_their_own_windows(patches, converted):
    wanted = converted(patches)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: converted(patches[n:]), [*range(len(patches))] * 4))
    for number, one in enumerate(found):
        assert np.array_equal(one, wanted[number % len(patches) :])


@pytest.mark.parametrize("runtime", ["openvino", "openvino+keras"])
def test_only_a_runtime_that_compiles_each_size_gets_full_batches(tmp_path, runtime):
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))
    sizes = set()

    def note(patches: np.ndarray) -> np.ndarray:
        sizes.add(len(patches))
        return patches.mean(axis=(1, 2, 3)) / 255

    predictor = replace(predictor_of(note), runtime=runtime)
    with open_slide(path) as slide:
        heatmap = predict_slide(slide, predictor, PredictSettings(batch_size=40), slide_id="s")
    last = int(heatmap.scored.sum()) % 5
    assert last
    assert sizes == ({40, 8 * last} if runtime == "openvino" else {40})


@pytest.mark.parametrize("small_bytes", [0, 2**25], ids=["one at a time", "several at once"])
def test_tiles_of_several_sides_can_be_computed_by_threads(
    tmp_path, monkeypatch, network, small_bytes
):
    monkeypatch.setattr("gigaslide.models.runtimes.tiles.SMALL_BYTES", small_bytes)
    monkeypatch.setattr("gigaslide.models.runtimes.tiles.KEPT_BYTES", 2**21)  # two of three sides
    folder = save_model(tmp_path / "model", network)
    dense = load_dense_predictor(folder, stride_px=16, runtime="openvino", threads=2)
    rng = np.random.default_rng(0)

    def draw(cells: int) -> np.ndarray:
        side = dense.tile_px(cells)
        return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)

    tiles = [(draw(cells), cells) for cells in (1, 3, 2, 1, 2, 3, 3, 1) * 3]

    def score(tile: tuple[np.ndarray, int]) -> np.ndarray:
        return dense.score_members([tile[0]], tile[1])

    wanted = [score(tile) for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(score, tiles))
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)


def test_results_come_in_the_order_of_the_items_and_errors_are_raised():
    both = threading.Barrier(2)

    def wait_for_another(number: int) -> int:
        if number < 2:
            both.wait(timeout=20)
        if number == 5:
            raise ValueError("of item 5")
        return number * number

    with closing(compute_ahead(wait_for_another, iter(range(5)), at_once=2)) as found:
        assert list(found) == [(number, number**2) for number in range(5)]
    with closing(compute_ahead(lambda n: -n, iter(range(3)), at_once=1)) as found:
        assert list(found) == [(0, 0), (1, -1), (2, -2)]
    with (
        closing(compute_ahead(wait_for_another, iter(range(4, 9)), at_once=2)) as found,
        pytest.raises(ValueError, match="of item 5"),
    ):
        list(found)
