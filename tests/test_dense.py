"""Networks on tiles: where their cells lie, and that a cell does not depend on its tile."""

import keras
import numpy as np
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.models import (
    ARCHITECTURES,
    TOLERANCES,
    WEIGHTS,
    Architecture,
    DensePredictor,
    Ensemble,
    ModelCard,
    NetworkOptions,
    RuntimeChoice,
    build_network,
    check_dense,
    hash_weights,
    load_dense_predictor,
    load_predictor,
)
from gigaslide.models.dense.layout import shrink_pixels
from gigaslide.models.networks.geometry import derive_geometry
from gigaslide.models.runtimes.openvino_runtime import ConvertedNetwork
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec
from test_runtimes import has_bfloat16

CELLS = 5


def write_model(folder, architecture, *, patch_px=48, mpps=(0.5,), seed=0, **options):
    """A model folder whose probabilities differ from patch to patch."""
    keras.utils.set_random_seed(seed)
    spec = InputSpec(patch_px=patch_px, centre_px=16, mpps=mpps)
    network = build_network(architecture, spec, {**options, "batch_norm_momentum": 0.0})
    # Statistics of batch normalisation and log-odds of about ±2; without them, deep networks give
    # the same for all patches.
    patches = np.stack([[blots(patch_px, 9 * seed + n)] * len(mpps) for n in range(8)])
    network(patches, training=True)
    head = network.get_layer("classifier")
    kernel, bias = head.get_weights()
    scores = np.asarray(network(patches), np.float64)
    odds = np.log(scores[:, 1] / scores[:, 0])
    scale = 2 / odds.std()
    head.set_weights([kernel * scale, bias - [0, odds.mean() * scale]])
    folder.mkdir()
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture=architecture,
        options=options,
        input_spec=spec,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def tile_of(dense: DensePredictor, seed: int = 0) -> list[np.ndarray]:
    """One tile for each scale."""
    scales = range(len(dense.steps_px))
    return [blots(dense.tile_px(CELLS, scale), seed + scale) for scale in scales]


def blots(side: int, seed: int) -> np.ndarray:
    """Squares of colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8 + 1, side // 8 + 1, 3))
    return np.kron(coarse, np.ones((8, 8, 1)))[:side, :side].astype(np.uint8)


def part_of(dense: DensePredictor, tiles: list[np.ndarray], row: int, column: int, cells: int):
    """The tiles of a square of cells, cut out of those of all cells."""
    parts = []
    for scale, (tile, step) in enumerate(zip(tiles, dense.steps_px, strict=True)):
        side = dense.tile_px(cells, scale)
        top, left = row * step, column * step
        parts.append(tile[top : top + side, left : left + side])
    return parts


@pytest.mark.parametrize(
    ("architecture", "patch_px", "mpps", "options", "runtime"),
    [
        ("compact", 48, (0.5,), {}, "keras"),
        ("compact", 53, (0.5,), {}, "openvino"),
        ("compact", 107, (0.5, 1.0), {"shrink": 2}, "openvino"),
        ("efficientnet_lite0", 45, (0.5,), {}, "keras"),
    ],
)
def test_a_cell_does_not_depend_on_its_tile(
    tmp_path, architecture, patch_px, mpps, options, runtime
):
    folder = write_model(tmp_path / "m", architecture, patch_px=patch_px, mpps=mpps, **options)
    dense = load_dense_predictor(folder, stride_px=64, runtime=runtime)
    assert dense.runtime == runtime
    assert dense.difference < 1e-5
    tiles = tile_of(dense)
    whole = dense.score_members(tiles, CELLS)[0, ..., 1]
    assert whole.shape == (CELLS, CELLS)
    assert whole.std() > 0.01
    for row, column, cells in [(0, 0, 1), (4, 2, 1), (1, 3, 2), (2, 0, 3)]:
        part = dense.score_members(part_of(dense, tiles, row, column, cells), cells)[0, ..., 1]
        wanted = whole[row : row + cells, column : column + cells]
        np.testing.assert_allclose(part, wanted, atol=1e-5)


def local_mean(padding: str):
    """A tower whose features are the mean of the red around them, in strides of 8 px in all."""

    def tower(pixels, options, suffix):
        x = keras.layers.Rescaling(1 / 255, name=f"scaled{suffix}")(pixels)
        for number in range(3):
            mean = keras.layers.Conv2D(
                1 if number else 3, 3, 2, padding, name=f"mean{number}{suffix}", use_bias=False
            )
            x = mean(x)
        return x

    return Architecture(
        tower=tower, min_patch_px=24, preprocessing="", parameters=1, windows_per_s=1.0
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shrink", [1, 2])
@pytest.mark.parametrize("patch_px", [70, 71, 75, 76])
def test_the_value_of_a_cell_is_that_of_its_centre(
    tmp_path, monkeypatch, padding, shrink, patch_px
):
    """A network whose feature is the local mean, on an image that is linear in x and y."""
    monkeypatch.setitem(ARCHITECTURES, "local_mean", local_mean(padding))
    folder = tmp_path / "m"
    folder.mkdir()
    spec = InputSpec(patch_px=patch_px, centre_px=16, mpps=(0.5,))
    network = build_network("local_mean", spec, {"shrink": shrink})
    # Each convolution is a mean; the probability of tumour is sigmoid(mean red).
    network.set_weights(
        [
            np.ones((3, 3, 3, 3)) / 9 * np.array([1, 0, 0])[:, None],
            np.ones((3, 3, 3, 1)) / 27,
            np.ones((3, 3, 1, 1)) / 9,
            np.array([[0.0, 1.0]]),
            np.zeros(2),
        ]
    )
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="local_mean",
        options={"shrink": shrink},
        input_spec=spec,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    dense = load_dense_predictor(folder, stride_px=16, runtime="keras")
    side = dense.tile_px(CELLS)
    y, x = np.mgrid[:side, :side]
    slope_y, slope_x = 250 / side * 0.7, 250 / side * 0.3
    red = np.rint(y * slope_y + x * slope_x).astype(np.uint8)
    scores = dense.score_members([np.stack([red] * 3, axis=-1)], CELLS)[0, ..., 1]
    value = 255 * np.log(scores / (1 - scores))
    centre = dense.margin_px + (patch_px - 1) / 2 + 16 * np.arange(CELLS)
    wanted = centre[:, None] * slope_y + centre * slope_x
    half_px = 0.5 * (slope_y + slope_x)
    assert np.abs(value - wanted).max() < half_px + 0.02
    # A constant shift: neighbours differ by exactly a stride.
    np.testing.assert_allclose(np.diff(value, axis=0), 16 * slope_y, atol=0.05)
    np.testing.assert_allclose(np.diff(value, axis=1), 16 * slope_x, atol=0.05)


@pytest.mark.parametrize(
    ("name", "size", "stride_px", "field_px"),
    [("compact", 18, 16, 77), ("inception_v3_small", 8, 32, 1311)],
)
def test_geometry_of_known_networks(name, size, stride_px, field_px):
    """InceptionV3: 8 × 8 features, stride 32, a receptive field of 1311 px."""
    image = keras.Input((299, 299, 3))
    features = ARCHITECTURES[name].tower(image, NetworkOptions(), "")
    found = derive_geometry(features, image)
    assert (found.size, found.stride_px) == (size, stride_px)
    assert found.last_px - found.first_px + 1 == field_px


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_feature_looks_at_the_pixels_that_geometry_says(padding):
    """Compared with the network itself: pixels that change feature 2, one row or column after the
    other."""
    image = keras.Input((75, 75, 3))
    features = local_mean(padding).tower(image, NetworkOptions(), "")
    features = keras.layers.MaxPooling2D(3, 2, padding=padding)(features)
    found = derive_geometry(features, image)
    network = keras.Model(image, features)
    network.set_weights([np.ones(weight.shape) for weight in network.get_weights()])
    pixels = np.eye(75)[:, :, None, None] * np.ones((75, 3))
    for axis in (1, 2):
        lit = pixels if axis == 1 else pixels.swapaxes(1, 2)
        seen = np.asarray(network(lit)).take(2, axis=axis).max(axis=(1, 2)) > 0
        first = found.first_px + 2 * found.stride_px
        last = found.last_px + 2 * found.stride_px
        wanted = np.arange(max(first, 0), min(last, 74) + 1)
        assert np.flatnonzero(seen).tolist() == wanted.tolist()


def test_networks_that_need_whole_patches_are_refused(tmp_path):
    folder = write_model(tmp_path / "m", "EfficientNetB0")
    with pytest.raises(ModelError, match=r"squeeze.*--mode exact"):
        check_dense(Ensemble.load(folder), 32, RuntimeChoice())


def test_strides_between_features_are_refused(tmp_path):
    folder = write_model(tmp_path / "m", "compact", mpps=(0.5, 1.0))
    with pytest.raises(ModelError, match=r"multiple of 32"):
        check_dense(Ensemble.load(folder), 48, RuntimeChoice())
    check_dense(Ensemble.load(folder), 32, RuntimeChoice())


def test_a_second_start_takes_the_converted_network_and_its_layout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIGASLIDE_CACHE", str(tmp_path / "cache"))
    folder = write_model(tmp_path / "m", "compact")
    first = load_dense_predictor(folder, stride_px=32, runtime="openvino", threads=1)
    monkeypatch.setattr(
        "gigaslide.models.dense.load.prepare_keras", lambda: pytest.fail("Keras is needed")
    )
    second = load_dense_predictor(folder, stride_px=32, runtime="openvino", threads=2)
    assert second.members[0].layout == first.members[0].layout
    assert second.difference == first.difference > 0
    tiles = tile_of(first)
    np.testing.assert_allclose(
        first.score_members(tiles, CELLS), second.score_members(tiles, CELLS), atol=1e-6
    )
    with pytest.raises(pytest.fail.Exception):  # another stride is another network
        load_dense_predictor(folder, stride_px=16, runtime="openvino")


@pytest.mark.parametrize(
    ("any_shape_bytes", "kept_bytes", "compiled"), [(0, 0, 1), (0, 2**28, 3), (2**22, 2**28, 1)]
)
def test_sides_in_any_order_give_the_same_bits_however_few_stay_compiled(
    tmp_path, monkeypatch, any_shape_bytes, kept_bytes, compiled
):
    monkeypatch.setattr("gigaslide.models.runtimes.tiles.ANY_SHAPE_BYTES", any_shape_bytes)
    monkeypatch.setattr("gigaslide.models.runtimes.tiles.KEPT_BYTES", kept_bytes)
    folder = write_model(tmp_path / "m", "compact")
    dense = load_dense_predictor(folder, stride_px=32, runtime="openvino", threads=1)
    found = [dense.score_members([blots(dense.tile_px(n), n)], n) for n in (1, 3, 2, 1, 2, 3)]
    for first, again in ((0, 3), (2, 4), (1, 5)):
        np.testing.assert_array_equal(found[first], found[again])
    network = dense.members[0].started.forward
    assert isinstance(network, ConvertedNetwork)
    assert len(network.compiled_shapes) == compiled


def test_a_rectangle_holds_cells_of_the_square_around_it(tmp_path):
    folder = write_model(tmp_path / "m", "compact", patch_px=107)
    dense = load_dense_predictor(folder, stride_px=32, runtime="openvino", threads=1)
    assert dense.takes_rectangles
    (square,) = tile_of(dense)
    whole = dense.score_members([square], CELLS)[0]
    height, width = dense.tile_px(2), dense.tile_px(CELLS)
    part = dense.score_members([square[32 : 32 + height, :width]], (2, CELLS))[0]
    np.testing.assert_allclose(part, whole[1:3], atol=1e-6)
    with pytest.raises(ModelError, match=f"{CELLS} × 2 cells"):
        dense.score_members([square[32 : 32 + height, :width]], (CELLS, 2))


def test_pixels_are_shrunk_by_a_convolution(tmp_path):
    folder = write_model(tmp_path / "m", "compact", patch_px=107, shrink=2)
    network = load_predictor(folder, runtime="openvino", threads=1).forward
    assert isinstance(network, ConvertedNetwork)
    kinds = [op.get_type_name() for op in network.model.get_ops()]
    assert "AvgPool" not in kinds
    assert kinds.count("Convolution") == 6


def test_temperature_and_members_are_those_of_the_exact_predictor(tmp_path):
    folders = [write_model(tmp_path / str(seed), "compact", seed=seed) for seed in (1, 2)]
    card = ModelCard.load(folders[0])
    scaled = {
        "value": 2.0,
        "patches": 1,
        "log_loss": (1, 1),
        "calibration_error": (1, 1),
    }
    ModelCard.model_validate({**card.model_dump(), "temperature": scaled}).save(folders[0])
    alone = [load_dense_predictor(folder, stride_px=32, runtime="keras") for folder in folders]
    both = load_dense_predictor(folders, stride_px=32, runtime="keras")
    tiles = tile_of(both)
    found = both.score_members(tiles, CELLS)
    single = [dense.score_members(tiles, CELLS)[0] for dense in alone]
    order = np.argsort([ModelCard.load(folder).weights_sha256 for folder in folders])
    np.testing.assert_array_equal(found, np.stack(single)[order])
    assert both.hash == load_predictor(folders, runtime="keras").hash
    card.save(folders[0])
    cold = load_dense_predictor(folders[0], stride_px=32, runtime="keras")
    odds = [p[..., 1] / p[..., 0] for p in (cold.score_members(tiles, CELLS)[0], single[0])]
    np.testing.assert_allclose(np.log(odds[0]) / 2, np.log(odds[1]), atol=1e-4)


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_a_precision_counts_on_tiles(tmp_path, runtime):
    if runtime == "openvino" and not has_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    folder = write_model(tmp_path / "m", "compact")
    plain, reduced = (
        load_dense_predictor(folder, stride_px=16, runtime=runtime, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    tiles = tile_of(plain)
    moved = np.abs(reduced.score_members(tiles, CELLS) - plain.score_members(tiles, CELLS)).max()
    assert 1e-5 < moved < 2 * TOLERANCES["bfloat16"]
    assert 0 < reduced.difference <= TOLERANCES["bfloat16"]


def test_int8_on_tiles_needs_a_quantised_model(tmp_path):
    folder = write_model(tmp_path / "m", "compact")
    cohort = Cohort.of_rows([CohortSlide(id="s", path=tmp_path / "s.tif")])
    for changes in ({"precision": "int8"}, {"first_pass_precision": "int8"}):
        settings = PredictSettings(mode="fastest", **changes)
        with pytest.raises(ModelError, match=r"int8.*gigaslide model quantise"):
            predict_cohort(cohort, folder, tmp_path / "out", settings, BatchSettings())
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match=r"int8.*--runtime keras"):
        load_dense_predictor(folder, stride_px=16, precision="int8", runtime="keras")


def test_tiles_are_shrunk_before_they_are_normalised(tmp_path):
    """Compared with Keras's pooling: the same to a rounding, and colours are changed after it."""
    pixels = blots(53, 3)
    (wanted,) = keras.layers.AveragePooling2D(3)(pixels[None].astype(np.float32)).numpy()
    assert np.abs(shrink_pixels(pixels, 3) - wanted).max() <= 0.5
    folder = write_model(tmp_path / "m", "compact", patch_px=107, shrink=2)
    dense = load_dense_predictor(folder, stride_px=32, runtime="keras")
    seen = []

    def invert(shrunk: np.ndarray) -> np.ndarray:
        seen.append(shrunk.shape)
        return 255 - shrunk

    (tile,) = tile_of(dense)
    found = dense.score_members([tile], CELLS, normalise=invert)
    np.testing.assert_allclose(found, dense.score_members([255 - tile], CELLS), atol=0.02)
    assert seen[0][0] * 2 <= len(tile)
    assert np.abs(found - dense.score_members([tile], CELLS)).max() > 0.1
