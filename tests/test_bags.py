"""Networks on bags: one result however a bag is ordered, padded or divided; exact trainings; the
meaning of attention and Shapley values."""

from itertools import combinations
from math import factorial

import keras
import numpy as np
import pytest
from bags import LENGTH, SMALL, label_of_windows, make_bag, make_bags
from gigaslide.models import BagEnsemble, BagModel, BagNetwork, BagOptions, bucket_size
from gigaslide.models import draw_weights as draw
from gigaslide.models.bags import network as network_module
from gigaslide.models.bags.pooling import find_shapley
from gigaslide.storage import ModelError, SettingsError
from gigaslide.training import BagSettings, fit_bags
from scipy.special import expit
from sklearn.metrics import roc_auc_score

POOLINGS = ("attention", "mean", "max", "log-sum-exp")


def random_model(pooling: str, seed: int = 0, length: int = LENGTH) -> tuple[BagModel, BagNetwork]:
    """A model with random weights and biases, and a network that holds them."""
    options = BagOptions(pooling=pooling, hidden=16, attention=8)
    network, rng = BagNetwork(length, options), np.random.default_rng(seed)
    weights = tuple(one + rng.normal(0, 0.3, one.shape) for one in draw(network, rng))
    weights = tuple(one.astype(np.float32) for one in weights)
    network.windows.set_weights(weights)
    return BagModel(length=length, options=options, weights=weights), network


def by_hand(model: BagModel, bag: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Slide and window probabilities and attention of a bag, by the formulas of the papers."""
    kernel, bias, *rest = (one.astype(np.float64) for one in model.weights)
    hidden = np.maximum(bag.astype(np.float64) @ kernel + bias, 0)
    names = [w.path for w in BagNetwork(model.length, model.options).windows.weights][2:]
    of = dict(zip(names, rest, strict=True))
    score = (hidden @ of["classifier/kernel"] + of["classifier/bias"])[:, 0]
    weights = np.full(len(bag), 1 / len(bag))
    if model.options.pooling == "attention":
        gate = expit(hidden @ of["gate/kernel"] + of["gate/bias"])
        signal = np.tanh(hidden @ of["signal/kernel"] + of["signal/bias"])
        attention = np.exp(((gate * signal) @ of["attention/kernel"])[:, 0])
        weights = attention / attention.sum()
        # The paper pools embeddings, and classifies the pooled one.
        pooled = float(
            (weights @ hidden) @ of["classifier/kernel"][:, 0] + of["classifier/bias"][0]
        )
    elif model.options.pooling == "mean":
        pooled = float(score.mean())
    elif model.options.pooling == "max":
        pooled = float(score.max())
    else:
        pooled = float(np.log(np.exp(score).mean()))
    return float(expit(pooled)), expit(score), weights


@pytest.mark.parametrize("pooling", POOLINGS)
def test_scores_are_those_of_the_formulas(pooling):
    model, _ = random_model(pooling)
    bag = np.random.default_rng(1).normal(size=(37, LENGTH))
    found, (slide, windows, attention) = model.predict(bag), by_hand(model, bag)
    assert found.slide == pytest.approx(slide, abs=1e-6)
    np.testing.assert_allclose(found.windows, windows, atol=1e-6)
    np.testing.assert_allclose(found.attention, attention, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_bag_streamed_in_parts_equals_the_padded_whole(pooling, monkeypatch):
    model, network = random_model(pooling)
    bag = np.random.default_rng(2).normal(size=(301, LENGTH)).astype(np.float32)
    whole = np.zeros((2, 512, LENGTH), np.float32)
    whole[0, :301], whole[1] = bag, 1e3
    mask = np.arange(512)[None] < [[301], [512]]
    at_once = expit(np.asarray(network.trained([whole, mask]))[0, 0])
    monkeypatch.setattr(network_module, "AT_ONCE", 64)
    found = model.predict(bag)
    assert found.slide == pytest.approx(float(at_once), abs=1e-6)
    order = np.random.default_rng(3).permutation(301)
    shuffled = model.predict(bag[order])
    assert shuffled.slide == pytest.approx(found.slide, abs=1e-9)
    np.testing.assert_allclose(shuffled.windows, found.windows[order], atol=1e-6)
    np.testing.assert_allclose(shuffled.attention, found.attention[order], atol=1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(pooling):
    _, network = random_model(pooling)
    bag = np.random.default_rng(4).normal(size=(1, 5, LENGTH)).astype(np.float32)
    padded = np.concatenate([bag, np.full((1, 11, LENGTH), 77.0, np.float32)], axis=1)
    alone = np.asarray(network.trained([bag, np.ones((1, 5), bool)]))
    among = np.asarray(network.trained([padded, np.arange(16)[None] < 5]))
    np.testing.assert_allclose(among, alone, atol=1e-6)


def test_buckets_hold_the_bag_and_are_few():
    found = [bucket_size(count) for count in (1, 16, 17, 64, 65, 4096, 4097)]
    assert found == [16, 16, 32, 64, 128, 4096, 5120]
    large = range(70_000, 131_073, 7)
    sizes = {bucket_size(count) for count in large}
    assert len(sizes) == 4
    assert all(count <= bucket_size(count) < 1.25 * count for count in large)


@pytest.mark.parametrize("labels", ["slides", "windows"])
def test_both_learners_find_slides_and_windows(labels):
    bags, of_slides = make_bags()
    given = of_slides if labels == "slides" else label_of_windows(bags, of_slides)
    settings = SMALL.model_copy(
        update={"labels": labels, "batch_size": 4 if labels == "slides" else 32}
    )
    fit = fit_bags(bags, given, settings, seed=1)
    others, truth = make_bags(seed=7)
    found = [fit.model.predict(bag) for bag in others]
    assert roc_auc_score(truth, [one.slide for one in found]) == 1
    windows = np.concatenate([one.windows for one in found])
    assert roc_auc_score(np.concatenate(label_of_windows(others, truth)), windows) > 0.97
    assert fit.history[-1].train_loss < fit.history[0].train_loss
    assert fit.best_epoch == fit.history[-1].epoch == 30
    if labels == "windows":
        assert found[1].slide == pytest.approx(found[1].windows.max())


def test_equal_seeds_give_equal_weights_after_any_other_training():
    bags, labels = make_bags()
    settings = SMALL.model_copy(update={"epochs": 3})
    first = fit_bags(bags, labels, settings, seed=5).model.weights
    other = fit_bags(bags[::-1], labels[::-1], settings, seed=6).model
    other.predict(bags[0])
    again = fit_bags(bags, labels, settings, seed=5).model.weights
    for mine, theirs, foreign in zip(first, again, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert (mine != foreign).any()


def test_a_second_training_compiles_nothing(monkeypatch):
    bags, labels = [make_bag(20, 3 * (number % 2), number) for number in range(8)], [0, 1] * 4
    settings = SMALL.model_copy(update={"epochs": 1, "hidden": 17})
    fit_bags(bags, labels, settings, seed=0).model.predict(bags[0])
    traced, call = [], keras.layers.Dense.call

    def count(layer, *given, **named):
        traced.append(layer.name)
        return call(layer, *given, **named)

    def refuse(*_, **__):
        raise AssertionError("compiled again")

    monkeypatch.setattr(keras.Model, "compile", refuse)
    monkeypatch.setattr(keras.layers.Dense, "call", count)
    fit_bags(bags, labels, settings, seed=1).model.predict(bags[1])
    assert keras.backend.backend() == "torch" or not traced


def test_validation_keeps_the_weights_of_its_lowest_loss():
    bags, labels = make_bags()
    wrong = [1 - label for label in labels]
    settings = SMALL.model_copy(update={"validate_every": 1, "epochs": 12})
    fit = fit_bags(bags, labels, settings, seed=2, validation=(bags, wrong))
    losses = [row.validation_loss for row in fit.history]
    assert len(losses) == 12
    assert fit.best_epoch == 1 + int(np.argmin(losses)) < 12
    kept = [fit.model.predict(bag).slide for bag in bags]
    right = np.where(wrong, kept, 1 - np.array(kept))
    assert -np.log(right).mean() == pytest.approx(min(losses), abs=1e-5)


def test_windows_without_a_label_teach_nothing():
    bags, labels = make_bags()
    settings = SMALL.model_copy(update={"labels": "windows", "epochs": 2})
    given = label_of_windows(bags, labels)
    given[0][:] = -1
    first = fit_bags(bags, given, settings, seed=3).model.weights
    changed = [make_bag(len(bags[0]), 2, 99), *bags[1:]]
    for mine, theirs in zip(
        first, fit_bags(changed, given, settings, seed=3).model.weights, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_steps_take_few_windows_of_large_bags():
    from gigaslide.training.bags.examples import Examples

    bags, labels = [make_bag(900, 5, 0), make_bag(3, 0, 1)], [1, 0]
    settings = SMALL.model_copy(update={"max_windows": 100, "window_dropout": 0.5})
    rng = np.random.default_rng(0)
    batch = Examples.of(bags, labels, settings).batch(np.array([0, 1]), rng)
    assert batch.features.shape == (2, 128, LENGTH)
    assert batch.mask.sum(axis=1).tolist() == [100, 2]
    assert not batch.features[~batch.mask].any()
    second = Examples.of(bags, labels, settings).batch(np.array([0, 1]), rng)
    assert (second.features[0] != batch.features[0]).any()


def shapley_by_permutations(value, empty: float, count: int) -> np.ndarray:
    """Exact Shapley values: the mean gain of each window over all orders."""
    found = np.zeros(count)
    for one in range(count):
        rest = [other for other in range(count) if other != one]
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for others in combinations(rest, size):
                before = value(np.array(others)) if others else empty
                found[one] += weight * (value(np.array([*others, one])) - before)
    return found


def test_shapley_of_two_windows_is_exact():
    model, _ = random_model("attention", seed=8)
    bag = np.random.default_rng(9).normal(size=(2, LENGTH)) * 3
    empty = model.pool(np.empty((0, 2)))
    exact = shapley_by_permutations(lambda rows: model.predict(bag[rows]).slide, empty, 2)
    np.testing.assert_allclose(model.find_shapley(bag), np.maximum(exact, 0), atol=1e-6)
    assert exact.sum() == pytest.approx(model.predict(bag).slide - empty, abs=1e-6)


def test_shapley_of_a_sum_is_each_window_s_own_part():
    rng = np.random.default_rng(3)
    parts = np.where(rng.random(41) < 0.6, 0, rng.random(41))
    places = rng.integers(0, 9, (41, 2))
    asked = []

    def value(inside: np.ndarray) -> float:
        asked.append(len(inside))
        return 0.1 + float(parts[inside].sum())

    np.testing.assert_allclose(find_shapley(value, 0.1, places), parts, atol=1e-12)
    assert len(asked) < 2 * 41
    assert find_shapley(value, 0.1, places[:1]).tolist() == pytest.approx([parts[0]])


def test_shapley_halves_bags_in_space():
    xy = np.array([(0, 0), (9, 0), (1, 1), (8, 1)])
    halves = []
    find_shapley(lambda inside: halves.append(sorted(inside.tolist())) or 1.0, 0.0, xy)
    assert halves[1:3] == [[0, 2], [1, 3]]


def test_shapley_of_a_trained_model_is_largest_in_tumour():
    bags, labels = make_bags()
    model = fit_bags(bags, labels, SMALL, seed=1).model
    bag = make_bag(33, 3, 50)
    xy = np.stack([np.arange(33) % 6, np.arange(33) // 6], axis=1)
    found = BagEnsemble((model,)).find_shapley(bag, xy)
    assert (found >= 0).all()
    assert found[:3].mean() > 3 * found[3:].mean()


def test_an_ensemble_is_the_mean_of_its_members():
    models = [random_model("attention", seed)[0] for seed in (1, 2)]
    bag = np.random.default_rng(5).normal(size=(9, LENGTH))
    found, members = BagEnsemble(models).predict(bag), [one.predict(bag) for one in models]
    assert found.slide == pytest.approx(np.mean([one.slide for one in members]))
    np.testing.assert_allclose(found.attention.sum(), 1)
    np.testing.assert_allclose(found.windows, np.mean([one.windows for one in members], axis=0))


def test_bags_of_one_window_of_none_and_of_300_000():
    model, _ = random_model("attention", length=4)
    one = model.predict(np.ones((1, 4)))
    assert one.slide == pytest.approx(float(one.windows[0]))
    assert one.attention.tolist() == [1.0]
    none = model.predict(np.empty((0, 4)))
    assert (none.slide, len(none.windows), len(none.attention)) == (0.0, 0, 0)
    assert len(model.find_shapley(np.empty((0, 4)))) == 0
    many = np.random.default_rng(0).normal(size=(300_000, 4)).astype(np.float16)
    found = model.predict(many)
    assert found.slide == pytest.approx(by_hand(model, many)[0], abs=1e-6)
    bags = [many, np.empty((0, 4)), np.ones((1, 4))]
    settings = SMALL.model_copy(update={"epochs": 1})
    assert len(fit_bags(bags, [1, 1, 0], settings).history) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    bags, labels = make_bags()
    bags[3][1, 2] = value
    with pytest.raises(SettingsError, match="bag 3"):
        fit_bags(bags, labels, SMALL)
    with pytest.raises(ModelError, match="1 of "):
        random_model("mean")[0].predict(bags[3])


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("kind", ["slides", "windows"])
def test_one_class_alone_is_refused(kind, label):
    bags, _ = make_bags(4)
    labels = [label] * 4 if kind == "slides" else [np.full(len(bag), label) for bag in bags]
    with pytest.raises(SettingsError, match="tumour" if label else "normal"):
        fit_bags(bags, labels, SMALL.model_copy(update={"labels": kind}))


def test_bags_that_do_not_go_together_are_refused():
    bags, labels = make_bags(4)
    with pytest.raises(SettingsError, match="3 labels"):
        fit_bags(bags, labels[:3], SMALL)
    with pytest.raises(SettingsError, match=r"7, 12"):
        fit_bags([*bags[:3], bags[3][:, :7]], labels, SMALL)
    with pytest.raises(SettingsError, match="bag 0"):
        fit_bags(bags, [np.ones(2)] * 4, SMALL.model_copy(update={"labels": "windows"}))
    with pytest.raises(ModelError, match=str(LENGTH)):
        random_model("mean")[0].predict(bags[0][:, :7])
    with pytest.raises(ValueError, match="attention"):
        BagSettings(labels="windows", pooling="attention")


@pytest.mark.parametrize("label", [-1, 2, 0.5])
def test_labels_other_than_tumour_and_normal_are_refused(label):
    bags, labels = make_bags()
    with pytest.raises(SettingsError, match=f"bag 2.*not {label}"):
        fit_bags(bags, [*labels[:2], label, *labels[3:]], SMALL)


def test_labels_of_windows_are_tumour_normal_or_unknown():
    bags, labels = make_bags()
    given = label_of_windows(bags, labels)
    given[4][0] = 2
    with pytest.raises(SettingsError, match="bag 4"):
        fit_bags(bags, given, SMALL.model_copy(update={"labels": "windows"}))
