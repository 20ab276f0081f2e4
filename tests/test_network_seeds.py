"""First weights and dropout of a network depend on its seed alone."""

import random

import keras
import numpy as np
import pytest
from gigaslide.training.network.seeds import seed_network
from keras.src.random import seed_generator

PATCHES = np.arange(120, dtype=np.float32).reshape(2, 4, 5, 3)


def build(*, drawn_by_others: int) -> list[np.ndarray]:
    """Build layers, while other threads draw numbers; return weights, and what dropout leaves."""
    layers = [keras.Input((4, 5, 3))]
    for make in (lambda: keras.layers.Conv2D(3, 2), lambda: keras.layers.Dropout(0.5)):
        layers.append(make())
        for _ in range(drawn_by_others):
            random.random()  # from the generator of the process
    network = keras.Sequential([*layers, keras.layers.Dense(2)])
    return [*network.get_weights(), np.asarray(network(PATCHES, training=True))]


@pytest.mark.parametrize("drawn", [1, 5])
def test_numbers_that_other_threads_draw_change_nothing(drawn):
    with seed_network(5):
        alone = build(drawn_by_others=0)
    with seed_network(5):
        among_others = build(drawn_by_others=drawn)
    assert all(map(np.array_equal, alone, among_others))


def test_weights_are_those_of_keras_own_seed_and_its_generator_comes_back():
    with seed_network(5):
        ours = build(drawn_by_others=0)
    assert seed_generator.python_random is random
    keras.utils.set_random_seed(5)
    assert all(map(np.array_equal, ours, build(drawn_by_others=0)))
