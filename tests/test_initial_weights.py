"""Weights that a training begins with: from a model folder, a file, a single tower."""

import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from gigaslide.models import (
    ARCHITECTURES,
    WEIGHTS,
    ModelCard,
    build_network,
    fill_network,
    hash_initial_weights,
    hash_weights,
    parameter_counts,
)
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec
from keras.src.legacy.saving import legacy_h5_format
from tiny_network import TINY

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
TWO_SCALES = SPEC.model_copy(update={"mpps": (0.5, 1.0)})


@pytest.fixture(scope="module", autouse=True)
def tiny():
    ARCHITECTURES["tiny"] = TINY
    yield
    del ARCHITECTURES["tiny"]


def network_of(seed: int, spec: InputSpec = SPEC, name: str = "tiny") -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_network(name, spec)


def weights_of(network: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in network.get_weights()]


def are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("kind", ["model folder", "file", "keras"])
def test_a_network_begins_with_the_weights_of_another(tmp_path, kind):
    source = network_of(1)
    if kind == "keras":
        path = tmp_path / "their.keras"
        source.save(path)
    else:
        path = tmp_path / WEIGHTS
        source.save_weights(path)
    if kind == "model folder":
        ModelCard(
            architecture="tiny",
            input_spec=SPEC,
            parameters=parameter_counts(source),
            training={},
            weights_sha256=hash_weights(tmp_path),
        ).save(tmp_path)
        path = tmp_path
    network = network_of(2)
    assert not are_equal(weights_of(network), weights_of(source))
    fill_network(network, "tiny", str(path))
    assert are_equal(weights_of(network), weights_of(source))
    assert hash_initial_weights(str(path), "compact") != hash_initial_weights(
        "imagenet", "EfficientNetV2B0"
    )


def test_what_does_not_fit_stays_random_and_is_told(tmp_path, caplog):
    source = network_of(1, SPEC.model_copy(update={"classes": ("normal", "tumor", "benign")}))
    source.save_weights(tmp_path / "three.weights.h5")
    network = network_of(2)
    before, *_ = weights_of(network)[-2:]
    fill_network(network, "tiny", str(tmp_path / "three.weights.h5"))
    filled = weights_of(network)
    assert are_equal(filled[:-2], weights_of(source)[:-2])
    assert np.array_equal(filled[-2], before)
    assert "dense" in caplog.text


def test_the_weights_of_one_tower_fill_every_tower(tmp_path):
    lone = network_of(1, name="MobileNetV3Small")
    lone.save_weights(tmp_path / WEIGHTS)
    network = network_of(2, TWO_SCALES, name="MobileNetV3Small")
    fill_network(network, "MobileNetV3Small", str(tmp_path / WEIGHTS))
    wanted = weights_of(lone)[:-2]
    towers = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    assert len(towers) == 2
    for tower in towers:
        assert are_equal(tower.get_weights(), wanted)


def test_fault_43_a_model_whose_weights_are_not_those_of_its_card_is_refused(tmp_path):
    source = network_of(1)
    source.save_weights(tmp_path / WEIGHTS)
    card = ModelCard(
        architecture="tiny",
        input_spec=SPEC,
        parameters=parameter_counts(source),
        training={},
        weights_sha256="0" * 64,
    )
    card.save(tmp_path)
    with pytest.raises(ModelError, match=f"{hash_weights(tmp_path)[:12]}.*{'0' * 12}"):
        fill_network(network_of(2), "tiny", str(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"no weights"])
def test_no_weights_are_refused(tmp_path, content):
    path: Path = tmp_path / "their.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"their\.weights\.h5"):
        fill_network(network_of(0), "tiny", str(path))


def test_weights_of_another_network_are_refused(tmp_path):
    network_of(1, name="MobileNetV3Small").save_weights(tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"arrays fit inception_v3_small"):
        fill_network(
            network_of(0, name="inception_v3_small"), "inception_v3_small", str(tmp_path / WEIGHTS)
        )


def test_fault_42_links_to_other_files_are_not_followed(tmp_path):
    network_of(1).save_weights(tmp_path / "secret.weights.h5")
    with h5py.File(tmp_path / "their.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(str(tmp_path / "secret.weights.h5"), "/layers")
    with pytest.raises(ModelError, match="0 of its 0 arrays"):
        fill_network(network_of(0), "tiny", str(tmp_path / "their.weights.h5"))


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_fault_42_arrays_of_other_files_are_refused(tmp_path, kind):
    path = tmp_path / "their.weights.h5"
    network_of(1).save_weights(path)
    with h5py.File(path, "r+") as file:
        if kind == "external":
            external = [(str(tmp_path / "secret"), 0, 400)]
            file.create_dataset("layers/more", (100,), np.float32, external=external)
        else:
            layout = h5py.VirtualLayout((100,), np.float32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "a", (100,))
            file.create_virtual_dataset("layers/more", layout)
    with pytest.raises(ModelError, match="lies in another file"):
        fill_network(network_of(0), "tiny", str(path))


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_fault_42_a_file_that_unpacks_to_far_more_than_its_network_is_refused(tmp_path, kind):
    path = tmp_path / f"bomb.{kind}"
    if kind == "keras":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.weights.h5", bytes(100_000_000))
    else:
        with h5py.File(path, "w") as file:  # chunks that were never written
            file.create_dataset("layers/a", (10**12,), np.float32, chunks=(1024,))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ModelError, match="unpacks to"):
        fill_network(network_of(0), "tiny", str(path))


def test_fault_42_a_pickle_and_paths_out_of_an_archive_do_nothing(tmp_path, monkeypatch):
    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "canary"), "w"))

    path = tmp_path / "their.weights.h5"
    path.write_bytes(pickle.dumps(Canary()))
    with pytest.raises(ModelError, match="not weights"):
        fill_network(network_of(0), "tiny", str(path))
    path = tmp_path / "inner" / "their.keras"
    path.parent.mkdir()
    network_of(1).save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../canary", "slipped out")
    for way in ("extract", "extractall"):
        monkeypatch.setattr(zipfile.ZipFile, way, lambda *_, **__: pytest.fail("unpacked"))
    fill_network(network_of(0), "tiny", str(path))
    assert not (tmp_path / "canary").exists()


def test_fault_42_code_in_a_keras_file_is_not_run(tmp_path):
    canary = tmp_path / "canary"

    def touch(x):
        canary.touch()
        return x

    whole = keras.Sequential([keras.Input(SPEC.shape), keras.layers.Lambda(touch)])
    whole.save(tmp_path / "their.keras")
    canary.unlink(missing_ok=True)
    with pytest.raises(ModelError, match="0 of its 0 arrays"):
        fill_network(network_of(0), "tiny", str(tmp_path / "their.keras"))
    assert not canary.exists()


def test_a_damaged_keras_file_is_refused(tmp_path):
    path = tmp_path / "their.keras"
    network_of(1).save(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"model.weights.h5") + 3000
    content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"their\.keras"):
        fill_network(network_of(0), "tiny", str(path))


def test_imagenet_weights_of_efficientnet_get_the_variance_that_keras_means(monkeypatch):
    build, deviation = keras.applications.EfficientNetB0, np.array([0.229, 0.224, 0.225])

    def fetch(*, weights: str, **options) -> keras.Model:
        assert weights == "imagenet"
        tower = build(weights=None, **options)
        (scaling,) = [one for one in tower.layers if one.name.startswith("normalization")]
        scaling.adapt_variance.assign(deviation)
        return tower

    fetch.__name__ = "EfficientNetB0"
    network = network_of(0, name="EfficientNetB0")
    monkeypatch.setattr(keras.applications, "EfficientNetB0", fetch)
    fill_network(network, "EfficientNetB0", "imagenet")
    (tower,) = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    (scaling,) = [one for one in tower.layers if one.name.startswith("normalization")]
    np.testing.assert_allclose(np.asarray(scaling.adapt_variance), deviation**2, rtol=1e-6)


def test_imagenet_weights_are_refused_where_keras_has_none():
    with pytest.raises(ModelError, match="--architecture EfficientNetV2B0"):
        fill_network(network_of(0), "tiny", "imagenet")


URL = "https://example.org/weights_no_top.h5"


def save_as_keras_2(tower: keras.Model, path: Path) -> Path:
    """Write the layout of the files that keras.applications fetches."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, tower)
    return path


def test_offline_imagenet_names_the_file_and_the_option_that_takes_it(monkeypatch):
    def fail(**_) -> None:
        raise Exception(f"URL fetch failure on {URL}: None --\n[Errno -2] unknown")

    network = network_of(0, name="MobileNetV3Small")
    monkeypatch.setattr(keras.applications, "MobileNetV3Small", fail)
    with pytest.raises(ModelError) as caught:
        fill_network(network, "MobileNetV3Small", "imagenet")
    message = str(caught.value)
    assert URL in message
    assert "--initial-weights FILE" in message
    assert "\n" not in message


def test_a_file_that_keras_fetches_can_be_given(tmp_path):
    source = network_of(1, name="MobileNetV3Small")
    (tower,) = [layer for layer in source.layers if isinstance(layer, keras.Model)]
    path = save_as_keras_2(tower, tmp_path / "weights_no_top.h5")
    network = network_of(2, name="MobileNetV3Small")
    fill_network(network, "MobileNetV3Small", str(path))
    assert are_equal(weights_of(network)[:-2], weights_of(source)[:-2])
    with pytest.raises(ModelError, match=r"weights_no_top.*MobileNetV2"):
        fill_network(network_of(2, name="MobileNetV2"), "MobileNetV2", str(path))
    with pytest.raises(ModelError, match="EfficientNetV2B0"):
        fill_network(network_of(2), "tiny", str(path))


def test_a_file_that_keras_fetches_never_leads_to_another_file(tmp_path):
    source = network_of(1, name="MobileNetV3Small")
    (tower,) = [layer for layer in source.layers if isinstance(layer, keras.Model)]
    path = save_as_keras_2(tower, tmp_path / "weights_no_top.h5")
    other = shutil.copy(path, tmp_path / "secret.h5")
    with h5py.File(path, "r+") as file:
        name = next(iter(file))
        del file[name]
        file[name] = h5py.ExternalLink(other, name)
    with pytest.raises(ModelError, match="another place"):
        fill_network(network_of(2, name="MobileNetV3Small"), "MobileNetV3Small", str(path))
