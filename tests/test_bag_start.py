"""A training on bags that begins with the weights of another one."""

import numpy as np
import pytest
from bags import SMALL, label_of_windows, make_bags
from gigaslide.storage import ModelError
from gigaslide.training import BagSettings, BagStart, fit_bags


def windows(**changes) -> BagSettings:
    return SMALL.model_copy(update={"labels": "windows", "batch_size": 16, **changes})


@pytest.fixture(scope="module")
def weak():
    bags, labels = make_bags(12, seed=1)
    return fit_bags(bags, label_of_windows(bags, labels), windows(), seed=1).model


def fit(start: BagStart | None, **changes):
    bags, labels = make_bags(4, seed=2)
    settings = windows(epochs=2, **changes)
    return fit_bags(bags, label_of_windows(bags, labels), settings, seed=5, start=start).model


def test_a_start_is_the_same_function_of_features_that_are_standardised_otherwise(weak):
    bag = make_bags(1, seed=3)[0][0]
    found = fit(BagStart(model=weak), learning_rate=1e-9)
    np.testing.assert_allclose(found.predict(bag).windows, weak.predict(bag).windows, atol=2e-4)


def test_the_first_layer_stays_until_it_is_unfrozen(weak):
    frozen = fit(BagStart(model=weak, frozen_share=1.0))
    scale = np.abs(weak.weights[0]).max()
    np.testing.assert_allclose(frozen.weights[0], weak.weights[0], atol=1e-5 * scale)
    assert not np.allclose(frozen.weights[2], weak.weights[2], atol=1e-3)
    unfrozen = fit(BagStart(model=weak, frozen_share=0.5, unfrozen_rate=1.0))
    assert np.abs(unfrozen.weights[0] - weak.weights[0]).max() > 1e-3 * scale


def test_later_trainings_do_not_remember_a_start(weak):
    before = fit(None)
    fit(BagStart(model=weak, frozen_share=1.0))
    after = fit(None)
    for one, two in zip(before.weights, after.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_equal_starts_give_equal_weights(weak):
    one, two = (fit(BagStart(model=weak)) for _ in range(2))
    for mine, other in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_start_of_another_network_is_refused(weak):
    with pytest.raises(ModelError, match="16"):
        fit(BagStart(model=weak), hidden=8)
