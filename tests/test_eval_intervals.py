"""AUC and bootstrap against hand-made ranks and slides drawn one by one."""

import time

import numpy as np
import pytest
from gigaslide.eval import DEFINITIONS, Pairs, Resampling, Verdicts, roc
from gigaslide.eval.bootstrap import estimate
from gigaslide.eval.froc import resampled_sensitivity


def rank_sum(scores: np.ndarray, is_tumor: np.ndarray) -> float:
    """Mann and Whitney, every pair by hand; a tie is half a win."""
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[is_tumor].tolist() for n in scores[~is_tumor].tolist()
    ]
    return sum(wins) / len(wins)


def random_items(seed: int, *, slides: int = 6, items: int = 60):
    rng = np.random.default_rng(seed)
    is_tumor = rng.uniform(size=items) < 0.3
    is_tumor[:2] = [True, False]
    return np.round(rng.uniform(size=items), 1), is_tumor, rng.integers(0, slides, items)


@pytest.mark.parametrize("seed", range(5))
def test_fault_47_auc_equals_the_rank_sum_with_ties(seed):
    scores, is_tumor, slide = random_items(seed)
    expected = rank_sum(scores, is_tumor)
    assert roc(scores, is_tumor, noun="patches").auc == pytest.approx(expected)
    pairs = Pairs.of(scores, is_tumor, slide, slides=6)
    assert pairs.auc(np.ones((1, 6), np.int64)) == pytest.approx([expected])


@pytest.mark.parametrize("seed", range(5))
def test_resampled_auc_equals_that_of_the_drawn_slides_laid_end_to_end(seed):
    scores, is_tumor, slide = random_items(seed)
    weights = np.random.default_rng(seed).integers(0, 3, (20, 6))
    got = Pairs.of(scores, is_tumor, slide, slides=6).auc(weights)
    for times, auc in zip(weights, got, strict=True):
        drawn = np.repeat(np.arange(len(slide)), times[slide])
        one_class = len(set(is_tumor[drawn].tolist())) < 2
        assert np.isnan(auc) if one_class else auc == pytest.approx(rank_sum(scores[drawn], is_tumor[drawn]))


@pytest.mark.parametrize(
    ("labels", "reason"), [([], "no slides"), ([1, 1], "only tumour slides"), ([0, 0, 0], "only normal slides")]
)
def test_fault_47_one_class_has_no_auc_and_says_why(labels, reason):
    curve = roc(np.full(len(labels), 0.4), np.array(labels, bool), noun="slides")
    assert (curve.auc, curve.undefined) == (None, reason)


def drawn(ids, patients, is_tumor, *, resamples=400, seed=5) -> Resampling:
    return Resampling.draw(ids, patients, np.array(is_tumor, bool), resamples=resamples, seed=seed)


def test_slides_are_drawn_within_their_label():
    resampling = drawn(list("abcdef"), [""] * 6, [1, 0, 1, 0, 0, 1])
    assert (resampling.unit, resampling.tumor_units, resampling.normal_units) == ("slides", 3, 3)
    assert (resampling.weights[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert (resampling.weights[:, [1, 3, 4]].sum(axis=1) == 3).all()
    assert resampling.weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.2)
    assert resampling.weights.max() == 3


def test_a_patients_slides_are_drawn_together():
    resampling = drawn(list("abcde"), ["p", "q", "p", "q", "r"], [1, 0, 0, 0, 1])
    assert (resampling.unit, resampling.tumor_units, resampling.normal_units) == ("patients", 2, 1)
    w = resampling.weights
    assert (w[:, 0] == w[:, 2]).all()
    assert (w[:, 1] == w[:, 3]).all()
    assert (w[:, 1] == 1).all()  # the only patient without tumour
    assert (w[:, 0] + w[:, 4] == 2).all()
    assert len(np.unique(w[:, 0])) == 3


def test_the_same_seed_draws_the_same_slides_in_any_order():
    ids, patients, tumor = list("abcdef"), ["p", "p", "q", "r", "s", ""], [1, 0, 0, 1, 1, 0]
    once = drawn(ids, patients, tumor).weights
    assert (drawn(ids, patients, tumor).weights == once).all()
    assert (drawn(ids, patients, tumor, seed=6).weights != once).any()
    turned = drawn(ids[::-1], patients[::-1], tumor[::-1]).weights
    assert (turned[:, ::-1] == once).all()


def test_an_interval_is_the_percentiles_of_what_is_defined():
    values = np.append(np.arange(101) / 100, [np.nan] * 9)
    got = estimate(0.5, values, confidence=0.9)
    assert (got.low, got.high) == pytest.approx((0.05, 0.95))
    assert (got.resamples, got.dropped) == (101, 9)


def test_an_estimate_without_value_or_resamples_has_no_interval():
    none = estimate(None, np.full(9, np.nan), confidence=0.95, undefined="no lesions")
    assert (none.value, none.low, none.high, none.undefined) == (None, None, None, "no lesions")
    never = estimate(0.7, np.full(9, np.nan), confidence=0.95)
    assert (never.value, never.low, never.resamples, never.dropped) == (0.7, None, 0, 9)


def big_verdicts(rng: np.random.Generator, *, slides: int) -> Verdicts:
    false, lesions = slides * 40, slides * 2
    best = rng.uniform(size=lesions)
    best[rng.uniform(size=lesions) < 0.2] = np.nan
    return Verdicts(
        is_normal=np.arange(slides) % 2 == 1,
        false_positive=rng.uniform(size=false) ** 2,
        false_positive_slide=rng.integers(0, slides, false),
        best=best,
        is_itc=rng.uniform(size=lesions) < 0.1,
        lesion_slide=2 * rng.integers(0, slides // 2, lesions),
    )


def test_two_thousand_resamples_of_a_challenge_take_seconds():
    rng = np.random.default_rng(0)
    verdicts = big_verdicts(rng, slides=130)
    resampling = drawn([str(i) for i in range(130)], [""] * 130, ~verdicts.is_normal, resamples=2000)
    rates = np.array([0.25, 0.5, 1, 2, 4, 8])
    start = time.perf_counter()
    resampled = resampled_sensitivity(verdicts, DEFINITIONS["gigaslide"], resampling.weights, rates=rates)
    assert time.perf_counter() - start < 10
    whole = resampled_sensitivity(verdicts, DEFINITIONS["gigaslide"], np.ones((1, 130), np.int64), rates=rates)[0]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    assert (low < whole).all()
    assert (whole < high).all()


def test_resamples_without_countable_lesions_are_not_defined():
    verdicts = Verdicts(
        is_normal=np.array([False, False, True]),
        false_positive=np.array([0.4]),
        false_positive_slide=np.array([2]),
        best=np.array([0.3]),
        is_itc=np.array([False]),
        lesion_slide=np.array([1]),
    )
    weights = np.array([[2, 0, 1], [0, 2, 1], [0, 2, 0]])
    rates = np.array([0.25, 1.0])
    ours = resampled_sensitivity(verdicts, DEFINITIONS["gigaslide"], weights, rates=rates)
    assert np.array_equal(ours, [[np.nan, np.nan], [0, 1], [1, 1]], equal_nan=True)
    negative = resampled_sensitivity(verdicts, DEFINITIONS["liu2017"], weights, rates=rates)
    assert np.array_equal(negative, [[np.nan, np.nan], [0, 1], [np.nan, np.nan]], equal_nan=True)
