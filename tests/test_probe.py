"""A probe: features of patches that are kept on disk, and the classifier on them."""

import logging
import shutil

import keras
import numpy as np
import pytest
from gigaslide.cli import main
from gigaslide.models import ARCHITECTURES, build_network
from gigaslide.patching import PatchStore
from gigaslide.storage import ModelError, SettingsError
from gigaslide.training import Sampler, TrainSettings, plan_members, train
from gigaslide.training.checkpoints.files import find_checkpoints
from gigaslide.training.inputs import TrainingInputs
from gigaslide.training.network.build import NetworkBuilder
from gigaslide.training.probe import probe as probe_module
from gigaslide.training.probe.features import FeatureCache, features_folder, recipe_of_features
from gigaslide.training.probe.probe import Probe
from gigaslide.training.report.input_monitor import InputMonitor
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tiny_network import TINY
from training_store import SHORT, make_store

EXTENT = {"examples", "batch_size", "validate_every", "validation_patches"}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    monkeypatch.setattr(probe_module, "PART", 16)


@pytest.fixture(scope="module")
def weights(store, tmp_path_factory):
    """A file of weights to begin with."""
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "compact", TINY)
        build_network("compact", store.input_spec).save_weights(path)
    return path


@pytest.fixture
def settings(weights) -> TrainSettings:
    return probe_settings(weights)


def probe_settings(weights, **changes) -> TrainSettings:
    given = SHORT.model_dump(include=EXTENT)
    return TrainSettings(
        recipe="probe", architecture="compact", initial_weights=str(weights), **{**given, **changes}
    )


@pytest.fixture
def extracted(monkeypatch) -> list[int]:
    """Number of patches in each batch whose features are computed."""
    sizes, extract = [], Probe._extract

    def count(self, patches):
        sizes.append(len(patches))
        return extract(self, patches)

    monkeypatch.setattr(Probe, "_extract", count)
    return sizes


def fit(store, folder, settings, on_step=lambda step: None) -> list[np.ndarray]:
    """Fit a probe as `train` does, without the rest of a training; return the weights of its
    network."""
    inputs = TrainingInputs(store, folder, settings, None)
    network = inputs.builder.build(0)
    recipe = recipe_of_features(network, settings, inputs.spec)
    Probe(
        network=network,
        sampler=inputs.sampler,
        cache=FeatureCache(features_folder(folder), recipe, store),
        monitor=InputMonitor(batch_size=settings.batch_size),
        penalty=settings.penalty,
    ).fit(inputs.steps, on_step)
    return network.get_weights()


def are_equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(map(np.array_equal, one, other))


def test_the_features_are_those_of_the_stored_patches(store, settings, tmp_path):
    """Read back from the files, and computed once more by a network without its last layer."""
    fit(store, tmp_path / "probe", settings)
    inputs = TrainingInputs(store, tmp_path / "probe", settings, None)
    network = inputs.builder.build(0)
    to_features = keras.Model(network.input, network.layers[-1].input)
    contents = {slide.sha256: slide.id for slide in store.slides}
    seen = set()
    for part in (tmp_path / "probe.features").glob("*.npz"):
        with np.load(part) as arrays:
            assert arrays["features"].dtype == np.float32
            for key, features in zip(arrays["keys"].tolist(), arrays["features"], strict=True):
                sha256, name, index = key.split()
                place = contents[sha256], name, int(index)
                wanted = to_features.predict_on_batch(inputs.sampler.read([place]))[0]
                np.testing.assert_allclose(features, wanted, atol=1e-5)
                seen.add(place)
    drawn = [inputs.sampler.draw_places(number)[0] for number in range(inputs.steps)]
    assert seen == {place for places in drawn for place in places}


def test_drawn_places_are_those_of_the_batch(store):
    plain = Sampler(
        store=store, split="train", spec=store.input_spec, batch_size=8, seed=3, augment=None
    )
    places, labels = plain.draw_places(2)
    batch = plain.draw(2)
    assert np.array_equal(batch.labels, labels)
    assert np.array_equal(batch.patches, plain.read(places))


def test_the_classifier_is_that_of_scikit_learn_on_repeated_examples(store, settings, tmp_path):
    """Without counts: every draw is an example of its own."""
    weights = fit(store, tmp_path / "probe", settings)
    inputs = TrainingInputs(store, tmp_path / "probe", settings, None)
    network = inputs.builder.build(0)
    to_features = keras.Model(network.input, network.layers[-1].input)
    batches = [inputs.sampler.draw(number) for number in range(inputs.steps)]
    features = np.concatenate([to_features.predict_on_batch(one.patches) for one in batches])
    labels = np.concatenate([one.labels for one in batches])
    scaler = StandardScaler().fit(features)
    fitted = LogisticRegression(C=1 / (0.1 * len(labels)), tol=1e-8, max_iter=2000)
    fitted.fit(scaler.transform(features), labels)
    logits = features @ weights[-2] + weights[-1]
    wanted = fitted.decision_function(scaler.transform(features))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], wanted, atol=0.01)


def test_a_killed_probe_goes_on_to_the_same_classifier(store, settings, tmp_path, extracted):
    whole = fit(store, tmp_path / "whole", settings)
    needed = sum(extracted)
    extracted.clear()

    class KilledError(Exception):
        pass

    def kill(step):
        if step > 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(store, tmp_path / "killed", settings, kill)
    first = sum(extracted)
    extracted.clear()
    assert are_equal(fit(store, tmp_path / "killed", settings), whole)
    assert needed - first <= sum(extracted) < needed  # the part that was begun is computed again


def test_a_repeat_computes_only_what_is_missing(store, settings, tmp_path, extracted):
    probe, other = tmp_path / "probe", settings.model_copy(update={"penalty": 5.0})
    first = fit(store, probe, settings)
    extracted.clear()
    second = fit(store, probe, other)
    assert not extracted
    assert np.linalg.norm(second[-2]) < np.linalg.norm(first[-2])
    longer = other.model_copy(update={"examples": 112})
    third = fit(store, probe, longer)
    more = sum(extracted)
    extracted.clear()
    assert are_equal(fit(store, tmp_path / "fresh", longer), third)
    assert 0 < 2 * more < sum(extracted)


def test_several_seeds_share_features_and_differ(store, weights, tmp_path, extracted):
    settings = probe_settings(weights, members=2)
    first, second = plan_members(tmp_path / "both", settings)
    one = fit(store, first.folder, first.settings)
    of_first = sum(extracted)
    extracted.clear()
    other = fit(store, second.folder, second.settings)
    assert sum(extracted) < of_first / 2
    names = [path.name for path in tmp_path.iterdir() if path.name.endswith(".features")]
    assert names == ["both.features"]
    assert are_equal(one[:-2], other[:-2])
    assert not np.array_equal(one[-2], other[-2])


def test_features_of_other_weights_or_pixels_are_computed_anew(
    store, settings, tmp_path, extracted, caplog
):
    fit(store, tmp_path / "probe", settings)
    needed = sum(extracted)
    extracted.clear()
    with caplog.at_level(logging.WARNING):
        fit(store, tmp_path / "probe", settings.model_copy(update={"stain": "none"}))
    assert sum(extracted) == needed
    assert "stain" in caplog.text
    extracted.clear()
    other = tmp_path / "other.weights.h5"
    build_network("compact", store.input_spec).save_weights(other)
    fit(store, tmp_path / "probe", probe_settings(other, stain="none"))
    assert sum(extracted) == needed


def test_a_slide_tiled_again_has_new_features(store, settings, tmp_path, extracted):
    copy = tmp_path / "store"
    shutil.copytree(store.path, copy)
    fit(PatchStore(copy), tmp_path / "probe", settings)
    needed = sum(extracted)
    extracted.clear()
    group = copy / "n" / "zarr.json"
    group.write_text(group.read_text() + " ")
    fit(PatchStore(copy), tmp_path / "probe", settings)
    assert 0 < sum(extracted) < needed


@pytest.mark.parametrize("damage", ["cut", "empty", "recipe"])
def test_damaged_features_are_computed_again(store, settings, tmp_path, extracted, damage):
    probe = tmp_path / "probe"
    whole = fit(store, probe, settings)
    folder = features_folder(probe)
    part = min(folder.glob("*.npz"))
    if damage == "recipe":
        (folder / "recipe.json").write_text("{")
    else:
        part.write_bytes(part.read_bytes()[: 100 if damage == "cut" else 0])
    (folder / ".part_x.npz.0123abcd.partial").write_bytes(b"x")
    extracted.clear()
    assert are_equal(fit(store, probe, settings), whole)
    assert extracted
    assert not list(folder.glob(".*"))


def test_a_probe_beside_checkpoints_of_a_longer_training_moves_them_aside(
    store, settings, tmp_path
):
    model = tmp_path / "model"
    modern = SHORT.model_copy(update={"examples": 48})
    train(store, model, modern)
    checkpoints = find_checkpoints(tmp_path / "model.checkpoint")
    kept = (model / "last.weights.h5").read_bytes()
    train(store, model, settings)
    assert (tmp_path / "model.old-1" / "last.weights.h5").read_bytes() == kept
    moved = find_checkpoints(tmp_path / "model.checkpoint.old-1")
    assert [path.name for path in moved] == [path.name for path in checkpoints]
    assert not train(store, model, settings).trained


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"augment": {"stain": 0.3}}, "augment"),
        ({"use_copies": True}, "use_copies"),
        ({"initial_weights": ""}, "initial_weights"),
        ({"penalty": 0}, "penalty"),
        ({"penalty": None}, "penalty"),
        ({"recipe": "modern", "penalty": 1}, "penalty"),
    ],
)
def test_settings_that_a_probe_has_no_use_for_are_refused(given, fact):
    with pytest.raises(ValidationError, match=fact):
        TrainSettings(**{"recipe": "probe", "initial_weights": "x", **given})


def test_several_probes_train_from_the_command_line(store, weights, tmp_path, capfd):
    words = [
        *("train", str(store.path), str(tmp_path / "probes"), "--recipe", "probe"),
        *("--architecture", "compact", "--initial-weights", str(weights), "--members", "2"),
        *("--examples", "64", "--batch-size", "16", "--validation-patches", "32"),
    ]
    assert main(words) == 0
    assert "ensemble of 2 members" in capfd.readouterr().out
    assert main(words) == 0
    assert "unchanged" in capfd.readouterr().out


@pytest.mark.parametrize("is_file", [True, False])
def test_a_folder_of_something_else_is_never_emptied(store, settings, tmp_path, is_file):
    foreign = features_folder(tmp_path / "m")
    other = foreign if is_file else foreign / "slide_1.zarr"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("hours of work")
    with pytest.raises(SettingsError, match="something else"):
        fit(store, tmp_path / "m", settings)
    assert other.read_text() == "hours of work"


@pytest.mark.parametrize("last", ["without a bias", "an activation"])
def test_a_network_without_a_linear_classifier_is_refused_before_its_features(
    store, settings, tmp_path, monkeypatch, extracted, last
):
    def build(self, step):
        patches = keras.Input(store.input_spec.shape)
        x = keras.layers.Flatten()(patches[:, :, ::16, ::16])
        x = keras.layers.Dense(2, use_bias=last != "without a bias")(x)
        return keras.Model(patches, keras.layers.Softmax()(x) if last == "an activation" else x)

    monkeypatch.setattr(NetworkBuilder, "build", build)
    with pytest.raises(ModelError, match=r"Dense with a bias.*--recipe modern"):
        fit(store, tmp_path / "m", settings)
    assert not extracted
