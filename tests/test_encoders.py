"""Encoders: ONNX files, model folders, named networks and functions give the right numbers, and
what does not fit is refused."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from gigaslide.models import (
    ARCHITECTURES,
    WEIGHTS,
    EncoderCard,
    EncoderSource,
    ModelCard,
    build_network,
    describe_encoder,
    hash_weights,
    load_encoder,
    load_predictor,
)
from gigaslide.models.encoders.onnx_file import pool
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec
from onnx_files import LENGTH, MEAN, STD, feature_map, kernels, write_onnx
from tiny_network import TINY

PX = 51


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (6, PX, PX, 3), dtype=np.uint8)


def write_card(path: Path, **fields) -> Path:
    card = {"patch_px": PX, "mpp": 0.5, "mean": MEAN, "std": STD, "licence": "MIT", **fields}
    path.write_text(json.dumps(card))
    return path


def onnx_encoder(folder: Path, shape: list, *, card: dict | None = None, **made):
    path = write_onnx(folder / "e.onnx", shape, **made)
    write_card(folder / "e.json", **(card or {}))
    return load_encoder(EncoderSource(encoder=str(path)))


@pytest.mark.parametrize(
    ("shape", "last", "batch_size"),
    [
        (["N", 3, PX, PX], False, None),
        (["N", PX, PX, 3], True, None),
        (["N", 3, "h", "w"], False, None),
        ([2, 3, PX, PX], False, 2),
    ],
)
def test_onnx_files_of_every_layout_give_the_same_features(
    tmp_path, patches, shape, last, batch_size
):
    encoder = onnx_encoder(tmp_path, shape, last=last)
    assert encoder.batch_size == batch_size
    assert (encoder.length, encoder.card.name, encoder.runtime) == (LENGTH, "e", "openvino")
    parts = np.split(patches, 3) if batch_size else [patches]
    found = np.concatenate([encoder(part) for part in parts])
    np.testing.assert_allclose(found, feature_map(patches).mean(axis=(2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("output", "card"),
    [
        ("map", {"pooling": "mean"}),
        ("tokens", {"pooling": "cls"}),
        ("tokens", {"pooling": "mean", "prefix_tokens": 2}),
        ("tokens", {"pooling": "cls+mean"}),
        ("pooled", {"output": "pooled"}),
    ],
)
def test_outputs_are_pooled_as_the_card_says(tmp_path, patches, output, card):
    encoder = onnx_encoder(
        tmp_path, ["N", 3, PX, PX], output=output, card=card, further="output" in card
    )
    grid = feature_map(patches)
    tokens = grid.reshape(6, LENGTH, -1).transpose(0, 2, 1)
    wanted = {
        "cls": tokens[:, 0],
        "mean": tokens[:, card.get("prefix_tokens", 1) :].mean(axis=1),
    }
    wanted["cls+mean"] = np.concatenate([wanted["cls"], wanted["mean"]], axis=1)
    expected = tokens.mean(axis=1) if output != "tokens" else wanted[card["pooling"]]
    np.testing.assert_allclose(encoder(patches), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "made", "card", "said"),
    [
        (["N", 3, 96, 96], {}, {}, "96.*51"),
        (["N", "c", "h", "w"], {}, {}, "layout"),
        (["N", 3, PX, PX], {}, {"layout": "channels_last"}, "NHWC"),
        (["N", 3, PX, PX], {"further": True}, {}, "2 outputs.*flat"),
        (["N", 3, PX, PX], {"output": "tokens"}, {}, "cls, mean or cls.mean"),
        (["N", 3, PX, PX], {}, {"pooling": "cls"}, "pooling in its card to none"),
        (["N", 3, PX, PX], {}, {"mean": [178, 127, 153]}, "mean and std"),
        (["N", 3, PX, PX], {}, {"std": None}, "mean and std"),
        (["N", 3, PX, PX], {}, {"scale": 2}, "scale"),
        (["N", 3, PX, PX], {}, {"further_mpp": [1.0]}, "one scale"),
    ],
)
def test_fault_43_an_onnx_file_that_does_not_fit_its_card_is_refused(
    tmp_path, shape, made, card, said
):
    with pytest.raises(ModelError, match=f"(?s){said}"):
        onnx_encoder(tmp_path, shape, card=card, **made)


def test_an_onnx_file_without_a_card_or_damaged_is_refused(tmp_path):
    path = write_onnx(tmp_path / "e.onnx", ["N", 3, PX, PX])
    with pytest.raises(ModelError, match=r"e\.json"):
        load_encoder(EncoderSource(encoder=str(path)))
    card = write_card(tmp_path / "other.json")
    with pytest.raises(ModelError, match=r"0\.5.*0\.25"):
        describe_encoder(EncoderSource(encoder=str(path), card=card, mpp=0.25))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="OpenVINO cannot read"):
        load_encoder(EncoderSource(encoder=str(path), card=card))


def test_fault_42_an_onnx_file_takes_no_numbers_from_outside_its_folder(tmp_path, patches):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out.bin").write_bytes(kernels().tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "out.bin")
    for place in ("../out.bin", str(tmp_path / "out.bin"), "link.bin"):
        with pytest.raises(ModelError, match=r"out of its folder|outside its folder"):
            onnx_encoder(folder, ["N", 3, PX, PX], external=place)


def test_numbers_in_a_file_beside_an_onnx_file_belong_to_its_hash(tmp_path, patches):
    (tmp_path / "e.bin").write_bytes(kernels().tobytes())
    encoder = onnx_encoder(tmp_path, ["N", 3, PX, PX], external="e.bin")
    wanted = feature_map(patches).mean(axis=(2, 3))
    np.testing.assert_allclose(encoder(patches), wanted, rtol=1e-4, atol=1e-5)
    (tmp_path / "e.bin").write_bytes((kernels() * 2).tobytes())
    changed = describe_encoder(EncoderSource(encoder=str(tmp_path / "e.onnx")))
    assert changed.hash != encoder.hash


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model folder with a tiny network of random weights and two scales."""
    folder = tmp_path_factory.mktemp("model")
    spec = InputSpec(patch_px=75, centre_px=32, mpps=(0.5, 2.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", TINY)
        network = build_network("tiny", spec)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="tiny",
        input_spec=spec,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_features_of_a_model_are_what_its_classifier_takes(model, monkeypatch, runtime):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    encoder = load_encoder(EncoderSource(encoder=str(model)), runtime=runtime)
    patches = np.random.default_rng(5).integers(0, 256, (3, 2, 75, 75, 3), dtype=np.uint8)
    features = encoder(patches)
    assert features.shape == (3, 24)
    predictor = load_predictor(model, runtime="keras")
    network = build_network("tiny", predictor.spec)
    network.load_weights(model / WEIGHTS)
    weights, bias = network.layers[-1].get_weights()
    scores = np.exp(features @ weights + bias)
    scores /= scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, predictor(patches), atol=1e-5)
    assert encoder.card.further_mpp == (2.0,)


def test_models_that_cannot_be_encoders_are_refused(model, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "member_1").symlink_to(model)
    with pytest.raises(ModelError, match=r"ensemble.*member_1"):
        describe_encoder(EncoderSource(encoder=str(tmp_path / "many")))
    with pytest.raises(ModelError, match=r"75.*99"):
        describe_encoder(EncoderSource(encoder=str(model), patch_px=99))
    with pytest.raises(ModelError, match="encoder-card"):
        describe_encoder(EncoderSource(encoder=str(model), card=tmp_path / "c.json"))
    with pytest.raises(ModelError, match=r"no such file.*\.onnx file"):
        describe_encoder(EncoderSource(encoder=str(tmp_path / "nothing")))


def test_fault_42_a_card_never_makes_code_run(model, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    (tmp_path / "evil_network.py").write_text(f"open({str(canary)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    card = json.loads((model / "card.json").read_text())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({**card, "architecture": "evil_network:build"}))
    (folder / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="evil_network:build"):
        load_encoder(EncoderSource(encoder=str(folder)))
    assert not canary.exists()


def test_a_named_network_takes_weights_of_all_its_layers(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    spec = InputSpec(patch_px=75, centre_px=75, mpps=(0.5,))
    network = build_network("tiny", spec)
    path = tmp_path / "tiny.weights.h5"
    network.save_weights(path)
    source = EncoderSource(encoder="tiny", weights=path, patch_px=75, mpp=0.5)
    encoder = load_encoder(source, runtime="keras")
    patches = np.random.default_rng(5).integers(0, 256, (2, 75, 75, 3), dtype=np.uint8)
    cut = keras.Model(network.inputs, network.layers[-1].input)
    wanted = cut.predict_on_batch(patches[:, None])
    np.testing.assert_allclose(encoder(patches), wanted, atol=1e-6)
    with pytest.raises(ModelError, match="encoder-weights"):
        describe_encoder(EncoderSource(encoder="tiny", patch_px=75, mpp=0.5))
    with pytest.raises(ModelError, match="--mpp"):
        describe_encoder(EncoderSource(encoder="tiny", weights=path, patch_px=75))
    card = write_card(tmp_path / "c.json", patch_px=75)
    with pytest.raises(ModelError, match="mean, std"):
        describe_encoder(EncoderSource(encoder="tiny", weights=path, card=card))


def test_fault_43_a_network_with_random_layers_is_no_encoder(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    network = build_network("tiny", InputSpec(patch_px=75, centre_px=75, mpps=(0.5,)))
    path = tmp_path / "half.weights.h5"
    keras.Model(network.inputs, network.get_layer("relu").output).save_weights(path)
    source = EncoderSource(encoder="tiny", weights=path, patch_px=75, mpp=0.5)
    with pytest.raises(ModelError, match="no weights for conv2d_1"):
        load_encoder(source, runtime="keras")


def test_weights_in_the_layout_of_keras_applications(tmp_path):
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    tower = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "vgg16_notop.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, tower)
    source = EncoderSource(encoder="VGG16", weights=path, patch_px=32, mpp=0.5)
    patches = np.random.default_rng(5).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = load_encoder(source, runtime="keras")(patches)
    bgr = patches[..., ::-1] - np.array([103.939, 116.779, 123.68])
    wanted = np.asarray(tower(bgr, training=False)).mean(axis=(1, 2))
    assert wanted.max() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * wanted.max())
    with h5py.File(path, "r+") as file:
        del file["block1_conv1"]
        file["block1_conv1"] = h5py.ExternalLink("elsewhere.h5", "block1_conv1")
    with pytest.raises(ModelError, match="block1_conv1 lies in another place"):
        load_encoder(source, runtime="keras")


MODULE = """
import numpy as np

def encode(patches):
    assert patches.dtype == np.uint8
    return patches[:, 2:9, 5, :].reshape(len(patches), -1)

def flat(patches):
    return patches.mean(axis=(1, 2, 3))

def broken(patches):
    raise KeyError("no GPU")
"""


def test_a_function_of_the_users_own(tmp_path, patches, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_encoder.py").write_text(MODULE)
    try:
        encoder = load_encoder(EncoderSource(encoder="own_encoder:encode", patch_px=PX, mpp=0.5))
        np.testing.assert_array_equal(encoder(patches), patches[:, 2:9, 5].reshape(6, -1))
        for name, said in (("flat", r"shape \(1,\)"), ("broken", "no GPU"), ("none", "none")):
            with pytest.raises(ModelError, match=said):
                load_encoder(EncoderSource(encoder=f"own_encoder:{name}", patch_px=PX, mpp=0.5))
        with pytest.raises(ModelError, match="patch-px"):
            load_encoder(EncoderSource(encoder="own_encoder:encode", mpp=0.5))
        with pytest.raises(ModelError, match="not_there"):
            load_encoder(EncoderSource(encoder="not_there:encode", patch_px=PX, mpp=0.5))
        source = EncoderSource(encoder="own_encoder:encode", patch_px=PX, mpp=0.5)
        before = describe_encoder(source)
        Path("own_encoder.py").write_text(MODULE + "\n")
        with pytest.raises(ModelError, match="run again"):
            load_encoder(source, expected=before, threads=1)
    finally:
        sys.modules.pop("own_encoder", None)
        sys.path.remove(str(tmp_path))


def test_windows_of_another_shape_are_refused(tmp_path, patches):
    encoder = onnx_encoder(tmp_path, ["N", 3, PX, PX])
    with pytest.raises(ModelError, match="50"):
        encoder(patches[:, :50])


def test_a_map_is_averaged_over_rows_and_columns_in_the_layout_of_the_input(tmp_path):
    card = EncoderCard.model_validate(
        {"name": "e", "patch_px": PX, "mpp": 0.5, "pooling": "mean", "licence": "none"}
    )
    last = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    first = last.transpose(0, 3, 1, 2)
    for values, layout in ((last, "channels_last"), (first, "channels_first")):
        found = pool(values, tmp_path / "e.onnx", card, layout=layout)
        np.testing.assert_allclose(found, last.reshape(2, 15, 7).mean(axis=1))
