"""Tests of a difference, figures over seeds, and labels that reach a target, against other ways to
compute them."""

import numpy as np
import pytest
from gigaslide.eval import (
    Difference,
    Estimate,
    ModelComparison,
    Resampling,
    SeedScores,
    adjust_holm,
    bootstrap_p_value,
    corrected_t,
    estimate_reach,
    labels_to_reach,
    subtract,
)
from gigaslide.eval.statistics.comparison import adjust_for_models
from gigaslide.study.findings import Comparison
from gigaslide.study.plots import Curve, draw_curves
from gigaslide.study.words import describe_differences, name_point
from scipy.stats import ttest_1samp
from sklearn.metrics import roc_auc_score

DIFFERENCES = np.array([0.03, -0.01, 0.05, 0.02, 0.04, 0.01])


def draw(patients: int, *, normal: int, slides: int = 2) -> Resampling:
    """The first patients have tumour slides, the last ones normal slides."""
    names = [f"p{n}" for n in range(patients) for _ in range(slides)]
    is_tumor = np.array([n < patients - normal for n in range(patients) for _ in range(slides)])
    ids = [f"s{n}" for n in range(len(names))]
    return Resampling.draw(ids, names, is_tumor, resamples=300, seed=1)


def test_the_corrected_t_is_the_plain_one_where_training_sets_do_not_overlap():
    plain = ttest_1samp(DIFFERENCES, 0)
    found = corrected_t(DIFFERENCES, test_to_train=0.0)
    assert found is not None
    assert (found.t, found.p_value) == pytest.approx((plain.statistic, plain.pvalue))


def test_the_corrected_t_is_smaller_by_the_root_of_the_added_variance():
    plain, found = (corrected_t(DIFFERENCES, test_to_train=one) for one in (0.0, 1 / 4))
    assert plain is not None
    assert found is not None
    assert found.t == pytest.approx(plain.t / np.sqrt(1 + 6 / 4))
    assert found.p_value > plain.p_value


def test_the_corrected_t_counts_only_test_sets_that_define_the_figure():
    found = corrected_t(np.append(DIFFERENCES, [np.nan, np.nan]), test_to_train=0.25)
    assert found == corrected_t(DIFFERENCES, test_to_train=0.25)
    assert found is not None
    assert found.splits == 6
    assert corrected_t(np.array([0.1, np.nan, 0.2]), test_to_train=0.25) is None
    assert corrected_t(np.full(5, 0.1), test_to_train=0.25) is None


def test_holm_as_in_a_worked_example():
    assert adjust_holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, None, 0.06, 0.02]
    )
    assert adjust_holm([0.9, 0.8]) == [1.0, 1.0]
    assert adjust_holm([]) == []


def test_the_bootstrap_p_value_is_twice_the_smaller_side():
    assert bootstrap_p_value(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    halves = np.concatenate([np.full(500, 0.1), np.full(499, -0.1)])
    assert bootstrap_p_value(halves) == pytest.approx(1.0)
    assert bootstrap_p_value(np.zeros(100)) == 1.0
    tenth = np.concatenate([np.full(90, 0.1), np.full(9, -0.1)])
    assert bootstrap_p_value(tenth) == pytest.approx(2 * 10 / 100)
    assert bootstrap_p_value(np.append(tenth, np.full(20, np.nan))) is None


def test_the_figure_of_several_seeds_is_the_mean_of_theirs_in_every_resample():
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.4
    slide = np.repeat(np.arange(12), 5)
    scores = np.where(truth, 0.4, 0.0) + rng.random((3, 60))
    pooled = SeedScores(scores=scores, is_tumor=truth, slide=slide, slides=12, noun="windows")
    weights = rng.integers(0, 3, (4, 12))
    expected = [
        np.mean([roc_auc_score(truth, one, sample_weight=w[slide]) for one in scores])
        for w in weights
    ]
    np.testing.assert_allclose(pooled.statistic("x").compute(weights)[:, 0], expected)
    each = [roc_auc_score(truth, one) for one in scores]
    assert pooled.noise() == pytest.approx(np.std(each, ddof=1))


def test_items_that_a_seed_did_not_score_are_left_out_of_it():
    truth = np.array([True, False, True, False])
    scores = np.array([[0.9, 0.1, 0.2, np.nan]])
    pooled = SeedScores(scores=scores, is_tumor=truth, slide=np.arange(4), slides=4, noun="slides")
    assert pooled.statistic("x").compute(np.ones((1, 4), int))[0, 0] == 1.0
    assert pooled.noise() is None
    one_class = SeedScores(
        scores=scores, is_tumor=truth | True, slide=np.arange(4), slides=4, noun="slides"
    )
    assert "only tumour" in one_class.statistic("x").undefined


def test_a_difference_draws_the_same_patients_for_both():
    resampling = draw(24, normal=12)
    truth = ~resampling.is_normal
    rng = np.random.default_rng(3)
    scores = truth + rng.normal(size=(1, 48))
    one, two = (
        SeedScores(
            scores=s, is_tumor=truth, slide=np.arange(48), slides=48, noun="slides"
        ).statistic("x")
        for s in (scores, scores * 2 + 1)
    )
    draws = [resampling.evaluate(statistic) for statistic in (one, two)]
    difference, resampled = subtract(*draws, resampling)[0]
    assert difference.value == 0
    assert not resampled.any()
    assert difference.low is None


def test_ten_patients_of_each_class_are_enough_for_a_p_value():
    assert draw(20, normal=10).is_large_enough
    assert not draw(20, normal=9).is_large_enough
    both = Resampling.draw(
        [str(n) for n in range(20)],
        [f"p{n // 2}" for n in range(20)],
        np.arange(20) % 2 == 0,
        resamples=10,
        seed=0,
    )
    assert both.fewest_units == 10  # ten patients, each with slides of both classes


def test_labels_to_reach_lie_on_the_line_over_log_labels():
    labels = np.array([10.0, 100.0, 1000.0])
    figure = np.array(
        [[0.5, 0.7, 0.9], [0.5, 0.7, 0.9], [0.8, 0.7, 0.9], [0.5, 0.6, 0.7], [0.5, np.nan, 0.7]]
    )
    target = np.array([0.6, 0.9, 0.75, 0.8, 0.6])
    found = labels_to_reach(labels, figure, target)
    np.testing.assert_allclose(found, [10**1.5, 1000, 10, np.inf, np.nan])


def test_a_limit_beyond_all_labels_is_told():
    resampling = draw(24, normal=12)
    resampled = np.concatenate([np.full(250, 50.0), np.full(50, np.inf)])
    found = estimate_reach(40.0, resampled, resampling)
    assert (found.value, found.low, found.high) == (40.0, 50.0, None)
    assert "50 of 300" in found.note
    assert "not reached" in estimate_reach(np.inf, resampled, resampling).undefined


def test_comparisons_of_several_models_are_adjusted_figure_by_figure():
    none = Estimate(value=0.1)
    resampling = draw(24, normal=12)

    def compared(name: str, p: dict[str, float | None]) -> ModelComparison:
        differences = {
            figure: Difference(first=none, second=none, difference=none, p_value=value)
            for figure, value in p.items()
        }
        return ModelComparison(
            names=("a", name),
            differences=differences,
            slides=(),
            exclusions=(),
            resampling=resampling,
        )

    found = adjust_for_models(
        [
            compared("b", {"slide_auc": 0.01, "froc": 0.2}),
            compared("c", {"slide_auc": 0.03, "froc": None}),
            compared("d", {"slide_auc": 0.02, "froc": 0.6}),
        ]
    )
    assert [one.differences["slide_auc"].p_holm for one in found] == pytest.approx(
        [0.03, 0.04, 0.04]
    )
    assert [one.differences["froc"].p_holm for one in found] == pytest.approx([0.4, None, 0.6])
    assert [one.differences["slide_auc"].p_value for one in found] == [0.01, 0.03, 0.02]


def test_small_numbers_on_an_axis_are_told_apart():
    x = [0.6, 1.2, 2, 4.8, 43]
    curve = Curve(x=x, estimates=[Estimate(value=0.5, low=0.4, high=0.6)] * len(x))
    figure = draw_curves({"one": curve}, title="", xlabel="", ylabel="", is_log=True)
    written = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert written == ["0.6", "1.2", "2", "5", "43"]


def test_the_answer_says_which_did_better_or_that_no_difference_was_shown():
    def tell(value: float, low: float, high: float) -> str:
        one = Estimate(value=0.5)
        difference = Estimate(value=value, low=low, high=high)
        compared = Comparison(
            figure="window_auc",
            is_primary=True,
            first=(("learner", "a"),),
            second=(("learner", "b"),),
            difference=Difference(first=one, second=one, difference=difference, p_value=None),
            tests=0,
            corrected=None,
        )
        (sentence,) = describe_differences([compared], "patches", "slides", at="8 labels")
        return sentence

    better = tell(0.2, 0.1, 0.3)
    assert "window AUC, patches minus slides, 8 labels: +0.200 (+0.100 to +0.300)" in better
    assert "patches did better" in better
    assert "slides did better" in tell(-0.2, -0.3, -0.1)
    assert "no difference was shown" in tell(0.2, -0.1, 0.3)


def test_points_are_named_in_words_that_a_reader_knows():
    named = {
        "weak, 20% wrong labels": (("learner", "weak"), ("flipped", 0.2)),
        "imagenet, all scenarios": (("learner", "imagenet"), ("freeze", "all"), ("rate", "all")),
        "imagenet, nothing frozen, learning rate 0.001": (
            ("learner", "imagenet"),
            ("freeze", "none"),
            ("rate", 0.001),
        ),
        "whole, pictures as they are": (("learner", "whole"), ("augmentation", "none")),
    }
    assert {words: name_point(point) for words, point in named.items()} == {
        words: words for words in named
    }
