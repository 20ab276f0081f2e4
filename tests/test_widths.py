"""Widths of networks: the filters of every layer, tower by tower."""

import json

import keras
import numpy as np
import pytest
from gigaslide.models import (
    ARCHITECTURES,
    ModelCard,
    build_network,
    load_predictor,
    parameter_counts,
)
from gigaslide.storage import ModelError
from gigaslide.training import TrainSettings, is_trained, train
from gigaslide.wsi import InputSpec
from pydantic import ValidationError
from training_store import SHORT, make_store

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
TWO_SCALES = SPEC.model_copy(update={"mpps": (0.5, 1.0)})
PATCHES = np.random.default_rng(0).integers(0, 256, (3, *SPEC.shape), dtype=np.uint8)


def filters_of(network: keras.Model, tower: str) -> list[int]:
    (found,) = [layer for layer in network.layers if layer.name == tower]
    return [layer.filters for layer in found.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.slow
def test_a_tenth_of_inception_is_the_small_network():
    scores = []
    for name, options in (("inception_v3_small", {}), ("inception_v3", {"widths": [0.1]})):
        keras.utils.set_random_seed(3)
        network = build_network(name, SPEC, options)
        assert parameter_counts(network)["all"] == ARCHITECTURES["inception_v3_small"].parameters
        scores.append(np.asarray(network.predict_on_batch(PATCHES)))
    np.testing.assert_array_equal(*scores)


def test_every_tower_has_its_own_width():
    network = build_network("compact", TWO_SCALES, {"widths": [2.0, 0.75]})
    assert filters_of(network, "compact_0_5") == [48, 64, 128, 192, 256]
    assert filters_of(network, "compact_1") == [18, 24, 48, 72, 96]
    network = build_network("compact", TWO_SCALES, {"widths": [0.75]})
    assert filters_of(network, "compact_0_5") == filters_of(network, "compact_1")


def test_a_width_scales_every_layer_of_efficientnet():
    half, whole = (
        filters_of(build_network("efficientnet_lite0", SPEC, options), "efficientnet_lite0")
        for options in ({"widths": [0.5]}, {})
    )
    assert (whole[0], half[0], whole[-1], half[-1]) == (32, 16, 1280, 640)
    assert sum(half) < 0.6 * sum(whole)


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"widths": (0.5, 1.0)}, ["2 widths", "1 scale"]),
        ({"widths": (1.0, 1.0), "scales": (0.5, 1.0, 2.0)}, ["2 widths", "3 scales"]),
        ({"widths": (0.5,), "architecture": "ResNet50V2"}, ["ResNet50V2", "inception_v3"]),
        ({"widths": (0.0,)}, ["widths"]),
    ],
)
def test_widths_that_no_network_can_have_are_refused_at_once(given, facts):
    with pytest.raises(ValidationError) as caught:
        TrainSettings(**given)
    assert all(fact in str(caught.value) for fact in facts)


def test_a_card_with_widths_that_do_not_fit_is_refused():
    with pytest.raises(ModelError, match="3 widths for 2 scales"):
        build_network("compact", TWO_SCALES, {"widths": [1, 1, 1]})
    with pytest.raises(ModelError, match="MobileNetV3Small"):
        build_network("MobileNetV3Small", SPEC, {"widths": [0.5]})


def test_a_model_without_widths_is_as_it_was(tmp_path):
    """Neither the recipe of a training nor a card names them, so that older models stay as they
    are."""
    assert "widths" not in TrainSettings().model_dump(mode="json")
    assert "widths" not in TrainSettings().network_options(SPEC).model_dump(mode="json")
    old = {"batch_norm_momentum": 0.99, "dropout": 0.0, "shrink": 1}  # of an earlier card
    assert filters_of(build_network("compact", SPEC, old), "compact") == [24, 32, 64, 96, 128]


@pytest.mark.slow
def test_a_model_with_widths_trains_and_predicts(tmp_path):
    store = make_store(tmp_path)
    settings = TrainSettings(
        **{**SHORT.model_dump(exclude={"recipe"}), "widths": (0.7,), "examples": 16}
    )
    outcome = train(store, tmp_path / "model", settings)
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["options"]["widths"] == [0.7]
    assert outcome.card.parameters["all"] < 0.6 * ARCHITECTURES["compact"].parameters
    assert ModelCard.load(tmp_path / "model").options["widths"] == [0.7]
    scores = load_predictor(tmp_path / "model", runtime="keras")(PATCHES)
    assert scores.shape == (3, 2)
    assert is_trained(store, tmp_path / "model", settings)
    assert not is_trained(store, tmp_path / "model", settings.model_copy(update={"widths": (0.8,)}))
