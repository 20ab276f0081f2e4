"""AUC and bootstrap against hand-made ranks and slides drawn one by one."""

import time
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from gigaslide.eval import (
    DEFINITIONS,
    Pairs,
    PooledMatches,
    Resampling,
    Statistic,
    delong_interval,
    roc_curve,
)
from gigaslide.eval.statistics.froc import resample_sensitivity
from scipy.stats import bootstrap


def rank_sum(scores: np.ndarray, is_tumor: np.ndarray) -> float:
    """Mann and Whitney, every pair by hand; a tie is half a win."""
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p in scores[is_tumor].tolist()
        for n in scores[~is_tumor].tolist()
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
    assert roc_curve(scores, is_tumor, noun="patches").auc == pytest.approx(expected)
    pairs = Pairs.count(scores, is_tumor, slide, slides=6)
    assert pairs.auc(np.ones((1, 6), np.int64)) == pytest.approx([expected])


@pytest.mark.parametrize("seed", range(5))
def test_resampled_auc_equals_that_of_the_drawn_slides_laid_end_to_end(seed):
    scores, is_tumor, slide = random_items(seed)
    weights = np.random.default_rng(seed).integers(0, 3, (20, 6))
    got = Pairs.count(scores, is_tumor, slide, slides=6).auc(weights)
    for times, auc in zip(weights, got, strict=True):
        drawn = np.repeat(np.arange(len(slide)), times[slide])
        one_class = len(set(is_tumor[drawn].tolist())) < 2
        assert (
            np.isnan(auc)
            if one_class
            else auc == pytest.approx(rank_sum(scores[drawn], is_tumor[drawn]))
        )


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([], "no slides"), ([1, 1], "only tumour slides"), ([0, 0, 0], "only normal slides")],
)
def test_fault_47_one_class_has_no_auc_and_says_why(labels, reason):
    curve = roc_curve(np.full(len(labels), 0.4), np.array(labels, bool), noun="slides")
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
    resampling = replace(drawn(list("abcd"), [""] * 4, [1, 0, 1, 0]), confidence=0.9)
    got = resampling.estimate(0.5, values)
    assert (got.low, got.high) == pytest.approx((0.05, 0.95))
    assert (got.method, got.resamples, got.dropped) == ("percentile bootstrap", 101, 9)


def test_no_interval_where_many_resamples_are_not_defined_and_a_note_where_all_agree():
    resampling = drawn(list("abcd"), [""] * 4, [1, 0, 1, 0])
    values = np.append(np.arange(100) / 100, [np.nan] * 20)
    got = resampling.estimate(0.5, values, np.full(4, np.nan))
    assert (got.value, got.low, got.dropped, got.method) == (0.5, None, 20, "")
    assert "20 of 120" in got.note
    for resamples, words in (
        (np.ones(50), "every"),
        (np.append(np.ones(199), 0.5), "nearly every"),
    ):
        same = resampling.estimate(1.0, resamples, np.ones(4))
        assert (same.value, same.low, same.high, same.method) == (1, None, None, "")
        assert f"{words} resample" in same.note


def test_one_unit_of_each_kind_gives_no_interval():
    got = drawn(list("abc"), ["p", "q", "q"], [1, 0, 0]).estimate(0.7, np.full(50, 0.7))
    assert (got.value, got.low) == (0.7, None)
    assert "too few patients" in got.note


def test_an_estimate_without_value_or_resamples_has_no_interval():
    resampling = drawn(list("abcd"), [""] * 4, [1, 0, 1, 0])
    nothing = Statistic(
        names=("froc",), compute=lambda w: np.full((len(w), 1), np.nan), undefined="no lesions"
    )
    none = resampling.estimate_all(nothing)["froc"]
    assert (none.value, none.low, none.high, none.undefined) == (None, None, None, "no lesions")
    never = resampling.estimate(0.7, np.full(9, np.nan))
    assert (never.value, never.low, never.resamples, never.dropped) == (0.7, None, 0, 9)


def mean_of(values: np.ndarray, *, has_bca: bool = False) -> Statistic:
    return Statistic(
        names=("mean",),
        compute=lambda w: (w @ values / w.sum(axis=1))[:, None],
        has_bca=has_bca,
    )


def test_bca_equals_its_formula_by_loops_in_two_strata():
    """Bias from the share of resamples below; acceleration from each unit left out, each stratum by
    itself."""
    rng = np.random.default_rng(8)
    tumor = np.arange(11) < 4
    values = rng.exponential(size=11)
    resampling = drawn(list("abcdefghijk"), [""] * 11, tumor, resamples=3000)
    got = resampling.estimate_all(mean_of(values, has_bca=True))["mean"]
    means = [
        sum(w * v for w, v in zip(row, values.tolist(), strict=True)) / 11
        for row in resampling.weights.tolist()
    ]
    bias = NormalDist().inv_cdf(
        sum((m < values.mean() - 1e-9) / 2 + (m < values.mean() + 1e-9) / 2 for m in means) / 3000
    )
    cubes = squares = 0.0
    for chosen in (values[tumor], values[~tumor]):
        rest = values.sum() - chosen
        left_out = [(r / 10) for r in rest.tolist()]
        centre = sum(left_out) / len(left_out)
        influence = [(len(left_out) - 1) * (centre - one) for one in left_out]
        cubes += sum(i**3 for i in influence) / len(influence) ** 3
        squares += sum(i**2 for i in influence) / len(influence) ** 2
    a = cubes / (6 * squares**1.5)
    ends = []
    for tail in (0.025, 0.975):
        z = bias + NormalDist().inv_cdf(tail)
        ends.append(np.quantile(means, NormalDist().cdf(bias + z / (1 - a * z))))
    assert a > 0.01
    assert (got.low, got.high) == pytest.approx(ends)
    percentile = resampling.estimate_all(mean_of(values))["mean"]
    assert (got.method, percentile.method) == ("BCa bootstrap", "percentile bootstrap")
    assert got.high > percentile.high  # a mean of skewed values: the longer tail is the upper one


def test_bca_is_scipys_where_there_is_one_stratum():
    values = np.random.default_rng(5).exponential(size=25)
    resampling = drawn([str(i) for i in range(25)], [""] * 25, [1] * 25, resamples=20_000)
    got = resampling.estimate_all(mean_of(values, has_bca=True))["mean"]
    twin = bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert (got.low, got.high) == pytest.approx(twin.confidence_interval, abs=0.02)


def test_where_bca_is_not_defined_the_interval_is_percentile():
    """With one tumour slide, nothing is known of the mean without it."""
    resampling, resamples = drawn(list("abcd"), [""] * 4, [1, 0, 0, 0]), np.arange(100) / 100
    for jackknife in (np.array([np.nan, 0.4, 0.5, 0.6]), np.full(4, 0.5)):
        got = resampling.estimate(0.5, resamples, jackknife)
        assert (got.low, got.high) == pytest.approx((0.02475, 0.96525), abs=0.02)
    assert resampling.estimate(0.5, resamples, np.full(4, np.nan)).method == "percentile bootstrap"
    beyond = resampling.estimate(2.0, resamples, np.arange(4.0))  # no resample is above
    assert beyond.method == "percentile bootstrap"


@pytest.mark.parametrize(
    ("is_tumor", "kind"), [([1] + [0] * 6, "with tumour"), ([0] + [1] * 6, "without tumour")]
)
def test_one_slide_of_a_kind_is_told_beside_the_interval(is_tumor, kind):
    """It is in every draw: what another in its place would change, no draw shows."""
    resampling = drawn(list("abcdefg"), [""] * 7, is_tumor)
    assert (resampling.weights[:, 0] == 1).all()
    mean = mean_of(np.arange(7.0))
    got = resampling.estimate_all(mean)["mean"]
    assert got.low < got.high
    assert f"one slide {kind}" in got.note
    patients = drawn(list("abcdefg"), list("ppqrstu"), [1, 1, 0, 0, 0, 0, 0])
    assert "one patient with tumour" in patients.estimate_all(mean)["mean"].note
    two = drawn(list("abcdefg"), [""] * 7, [1, 1, 0, 0, 0, 0, 0])
    assert two.estimate_all(mean)["mean"].note == ""


def delong_by_loops(scores: np.ndarray, is_tumor: np.ndarray) -> float:
    """Variance of the AUC from the placements of DeLong et al. 1988."""

    def wins(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    tumor, normal = scores[is_tumor], scores[~is_tumor]
    v10 = [np.mean([wins(x, y) for y in normal]) for x in tumor]
    v01 = [np.mean([wins(x, y) for x in tumor]) for y in normal]
    return float(np.var(v10, ddof=1) / len(tumor) + np.var(v01, ddof=1) / len(normal))


@pytest.mark.parametrize("seed", range(4))
def test_delong_equals_its_placements(seed):
    rng = np.random.default_rng(seed)
    is_tumor = np.arange(30) % 3 == 0
    scores = np.round(rng.uniform(size=30) + is_tumor * 0.2, 1)
    low, high = delong_interval(scores, is_tumor, confidence=0.95)
    auc, reach = rank_sum(scores, is_tumor), 1.959964 * delong_by_loops(scores, is_tumor) ** 0.5
    assert (low, high) == pytest.approx((auc - reach, min(1.0, auc + reach)))


@pytest.mark.parametrize(
    ("scores", "is_tumor"),
    [
        ((0.8, 0.3, 0.9, 0.1), (1, 0, 1, 0)),  # all right
        ((0.3, 0.3, 0.3, 0.3), (1, 0, 1, 0)),  # all tied
        ((0.1, 0.2, 0.9), (0, 0, 1)),  # one tumour slide
    ],
)
def test_delong_without_variance_has_no_interval(scores, is_tumor):
    assert delong_interval(np.array(scores), np.array(is_tumor, bool), confidence=0.95) is None


def big_matches(rng: np.random.Generator, *, slides: int) -> PooledMatches:
    false, lesions = slides * 40, slides * 2
    best = rng.uniform(size=lesions)
    best[rng.uniform(size=lesions) < 0.2] = np.nan
    return PooledMatches(
        is_normal=np.arange(slides) % 2 == 1,
        false_positive=rng.uniform(size=false) ** 2,
        false_positive_slide=rng.integers(0, slides, false),
        best=best,
        is_itc=rng.uniform(size=lesions) < 0.1,
        lesion_slide=2 * rng.integers(0, slides // 2, lesions),
    )


def test_two_thousand_resamples_of_a_challenge_take_seconds():
    rng = np.random.default_rng(0)
    matches = big_matches(rng, slides=130)
    resampling = drawn([str(i) for i in range(130)], [""] * 130, ~matches.is_normal, resamples=2000)
    rates = np.array([0.25, 0.5, 1, 2, 4, 8])
    start = time.process_time()
    resampled = resample_sensitivity(
        matches, DEFINITIONS["gigaslide"], resampling.weights, rates=rates
    )
    assert time.process_time() - start < 10
    whole = resample_sensitivity(
        matches, DEFINITIONS["gigaslide"], np.ones((1, 130), np.int64), rates=rates
    )[0]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    assert (low < whole).all()
    assert (whole < high).all()


def test_resamples_without_countable_lesions_are_not_defined():
    matches = PooledMatches(
        is_normal=np.array([False, False, True]),
        false_positive=np.array([0.4]),
        false_positive_slide=np.array([2]),
        best=np.array([0.3]),
        is_itc=np.array([False]),
        lesion_slide=np.array([1]),
    )
    weights = np.array([[2, 0, 1], [0, 2, 1], [0, 2, 0]])
    rates = np.array([0.25, 1.0])
    ours = resample_sensitivity(matches, DEFINITIONS["gigaslide"], weights, rates=rates)
    assert np.array_equal(ours, [[np.nan, np.nan], [0, 1], [1, 1]], equal_nan=True)
    negative = resample_sensitivity(matches, DEFINITIONS["liu2017"], weights, rates=rates)
    assert np.array_equal(negative, [[np.nan, np.nan], [0, 1], [np.nan, np.nan]], equal_nan=True)
