"""What must hold for any verdicts: where definitions agree, where one bounds another, what changes
nothing."""

from dataclasses import replace

import numpy as np
import pytest
from gigaslide.eval import (
    DEFINITIONS,
    EvaluateSettings,
    Verdicts,
    froc_curve,
    judge_detections,
    lesions_of_annotation,
)
from gigaslide.eval.statistics.froc_bootstrap import resampled_sensitivity
from gigaslide.wsi import Detections
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, box

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BETWEEN = tuple(rate + 0.01 for rate in RATES)  # no number of false positives on six slides
QUICK = settings(max_examples=25, deadline=None, derandomize=True)
EIGHTHS = st.integers(1, 7).map(
    lambda n: n / 8
)  # of which float32, as E1 holds hits, loses nothing
ANYWHERE = st.lists(st.tuples(EIGHTHS, st.integers(0, 5)), max_size=25)
ON_NORMAL = st.lists(st.tuples(EIGHTHS, st.integers(3, 5)), max_size=25)


@st.composite
def all_verdicts(draw, false=ANYWHERE) -> Verdicts:
    """Six slides, the last three normal; ties everywhere; at least one countable lesion."""
    found = draw(false)
    lesions = draw(
        st.lists(
            st.tuples(st.one_of(st.none(), EIGHTHS), st.booleans(), st.integers(0, 2)),
            min_size=1,
            max_size=12,
        )
    )
    is_itc = np.array([itc for _, itc, _ in lesions], bool)
    is_itc[0] = False
    return Verdicts(
        is_normal=np.arange(6) >= 3,
        false_positive=np.array([p for p, _ in found], np.float64),
        false_positive_slide=np.array([slide for _, slide in found], np.int64),
        best=np.array([np.nan if p is None else p for p, _, _ in lesions], np.float64),
        is_itc=is_itc,
        lesion_slide=np.array([slide for _, _, slide in lesions], np.int64),
    )


def at(verdicts: Verdicts, name: str, rates: tuple[float, ...] = RATES) -> np.ndarray:
    return np.array(froc_curve(verdicts, DEFINITIONS[name], rates=rates).at_rates)


@QUICK
@given(all_verdicts())
@pytest.mark.parametrize("name", ["gigaslide", "liu2017"])
def test_curves_rise_with_false_positives_and_stay_within_what_was_found(name, verdicts):
    froc = froc_curve(verdicts, DEFINITIONS[name], rates=RATES)
    assert (np.diff(froc.threshold) > 0).all()
    assert (np.diff(froc.false_positives) <= 0).all()
    assert (np.diff(froc.sensitivity) <= 0).all()
    assert (np.diff(froc.at_rates) >= 0).all()
    found = (~np.isnan(verdicts.best) & ~verdicts.is_itc).sum() / verdicts.countable
    assert froc.at_rates[0] >= 0
    assert froc.at_rates[-1] <= found == froc.sensitivity[0]


@QUICK
@given(all_verdicts(), st.permutations(range(6)), st.randoms())
@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_order_of_slides_and_of_detections_changes_nothing(name, verdicts, order, random):
    place = np.array(order)
    false, lesions = list(range(len(verdicts.false_positive))), list(range(len(verdicts.best)))
    random.shuffle(false)
    random.shuffle(lesions)
    is_normal = np.zeros(6, bool)
    is_normal[place] = verdicts.is_normal
    turned = Verdicts(
        is_normal=is_normal,
        false_positive=verdicts.false_positive[false],
        false_positive_slide=place[verdicts.false_positive_slide[false]],
        best=verdicts.best[lesions],
        is_itc=verdicts.is_itc[lesions],
        lesion_slide=place[verdicts.lesion_slide[lesions]],
    )
    assert at(turned, name).tolist() == at(verdicts, name).tolist()


@QUICK
@given(all_verdicts(st.just([])))
def test_without_false_positives_all_definitions_agree_where_something_was_missed(verdicts):
    assume(np.isnan(verdicts.best[~verdicts.is_itc]).any())  # else E1 drops a real threshold
    found = (~np.isnan(verdicts.best) & ~verdicts.is_itc).sum() / verdicts.countable
    for name in DEFINITIONS:
        assert at(verdicts, name) == pytest.approx(np.full(6, found)), name


@QUICK
@given(all_verdicts())
def test_where_something_was_missed_the_readings_bound_each_other(verdicts):
    """Reachable ≤ interpolated ≤ the first point with at least f: three readings of one and the
    same curve.

    At an f that a point has exactly, the first of several such points may be a lower one.
    """
    assume(np.isnan(verdicts.best[~verdicts.is_itc]).any())
    ours, e1, e2 = (
        at(verdicts, name, BETWEEN) for name in ("gigaslide", "camelyon16-e1", "camelyon16-e2")
    )
    assert (ours <= e1 + 1e-12).all()
    assert (e1 <= e2 + 1e-12).all()
    curves = [
        froc_curve(verdicts, DEFINITIONS[name], rates=RATES)
        for name in ("gigaslide", "camelyon16-e2")
    ]
    assert curves[0].false_positives.tolist() == curves[1].false_positives.tolist()
    assert curves[0].sensitivity.tolist() == curves[1].sensitivity.tolist()


@QUICK
@given(all_verdicts(ON_NORMAL))
def test_with_false_positives_on_normal_slides_only_liu2017_is_ours_at_a_scaled_rate(verdicts):
    scaled = tuple(rate * 3 / 6 for rate in RATES)  # three of six slides are normal
    assert at(verdicts, "liu2017").tolist() == at(verdicts, "gigaslide", scaled).tolist()


@QUICK
@given(all_verdicts(), st.integers(0, 5), EIGHTHS)
def test_one_more_false_positive_never_helps(verdicts, slide, p):
    worse = replace(
        verdicts,
        false_positive=np.append(verdicts.false_positive, p),
        false_positive_slide=np.append(verdicts.false_positive_slide, slide),
    )
    assert (at(worse, "gigaslide") <= at(verdicts, "gigaslide")).all()


@QUICK
@given(all_verdicts())
def test_scores_matter_by_their_order_only(verdicts):
    cubed = replace(verdicts, false_positive=verdicts.false_positive**3, best=verdicts.best**3)
    for name in DEFINITIONS:
        assert at(cubed, name).tolist() == at(verdicts, name).tolist()


@QUICK
@given(all_verdicts())
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_slide_drawn_once_is_the_curve_itself(name, verdicts):
    weights = np.array([[1] * 6, [2] * 6])  # and twice is the same
    got = resampled_sensitivity(verdicts, DEFINITIONS[name], weights, rates=np.array(RATES))
    assert got == pytest.approx(np.stack([at(verdicts, name)] * 2))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_long_lists_of_false_positives_are_looked_at_in_stretches(monkeypatch, name):
    rng = np.random.default_rng(2)
    verdicts = Verdicts(
        is_normal=np.arange(7) >= 3,
        false_positive=np.round(rng.uniform(size=900), 2),
        false_positive_slide=rng.integers(0, 7, 900),
        best=np.round(rng.uniform(size=40), 2),
        is_itc=np.zeros(40, bool),
        lesion_slide=rng.integers(0, 3, 40),
    )
    weights = rng.multinomial(7, [1 / 7] * 7, size=50)
    rates = np.array([0.25, 1, 8, 100])
    whole = resampled_sensitivity(verdicts, DEFINITIONS[name], weights, rates=rates)
    monkeypatch.setattr("gigaslide.eval.statistics.froc_bootstrap.MOST_AT_ONCE", 13)
    stretched = resampled_sensitivity(verdicts, DEFINITIONS[name], weights, rates=rates)
    assert len(np.unique(whole)) > 20
    assert np.array_equal(stretched, whole, equal_nan=True)


LESIONS = lesions_of_annotation(
    MultiPolygon(
        [box(500, 400, 1500, 900), box(3000, 2000, 3900, 2700), box(100, 2500, 130, 2540)]
    ),
    slide_size=(4000, 3000),
    slide_mpp=0.5,
    settings=EvaluateSettings(),
)
PLACES = st.sampled_from(
    [(1000, 600), (600, 500), (3500, 2300), (115, 2520), (2500, 100), (600, 1000)]
)
DETECTED = st.lists(st.tuples(PLACES, EIGHTHS), max_size=12)


def scored(found: list) -> dict[str, tuple[float, ...]]:
    """Readings of every definition, of the detections on one slide beside a normal one."""
    rows = np.array([(*place, p) for place, p in found], np.float64).reshape(-1, 3)
    one = judge_detections(Detections.of_slide("t", rows[:, :2], rows[:, 2]), LESIONS)
    other = judge_detections(Detections.of_slide("n", np.array([(5, 5)]), np.array([0.25])), None)
    pooled = Verdicts.pooled([one, other], is_normal=[False, True])
    return {
        name: froc_curve(pooled, definition, rates=RATES).at_rates
        for name, definition in DEFINITIONS.items()
    }


@QUICK
@given(DETECTED, st.data())
def test_duplicates_on_one_lesion_change_nothing_and_weaker_ones_neither(found, data):
    inside = [(place, p) for place, p in found if place in ((1000, 600), (600, 500), (3500, 2300))]
    again = [(place, data.draw(st.integers(1, round(8 * p))) / 8) for place, p in inside]
    assert scored(found + inside + again) == scored(found)


@QUICK
@given(DETECTED)
def test_what_is_found_in_isolated_cells_changes_nothing(found):
    assert scored([*found, ((115, 2520), 0.875), ((115, 2520), 0.125)]) == scored(found)


@QUICK
@given(st.lists(EIGHTHS, min_size=2, max_size=2))
def test_all_detected_without_false_positives_is_1_and_none_detected_is_0(p):
    everything = [((1000, 600), p[0]), ((3500, 2300), p[1])]
    clean = Verdicts.pooled(
        [judge_detections(Detections.of_slide("t", *_columns(everything)), LESIONS)],
        is_normal=[False],
    )
    for name in (
        "gigaslide",
        "camelyon16-e1",
        "camelyon16-e2",
    ):  # the isolated cells are E1's smallest threshold
        assert froc_curve(clean, DEFINITIONS[name], rates=RATES).score == 1
    nothing = Verdicts.pooled(
        [judge_detections(Detections.concatenate([]), LESIONS)], is_normal=[False]
    )
    for name in ("gigaslide", "camelyon16-e1", "camelyon16-e2"):
        assert froc_curve(nothing, DEFINITIONS[name], rates=RATES).score == 0


def _columns(found: list) -> tuple[np.ndarray, np.ndarray]:
    return np.array([place for place, _ in found], np.float64), np.array([p for _, p in found])
