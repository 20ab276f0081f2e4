"""Properties of FROC for any matches: where definitions agree, and what changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from froc_curves import NAMES, RATES, curve, resample
from gigaslide.eval import (
    EvaluateSettings,
    PooledMatches,
    find_lesions,
    match_detections,
)
from gigaslide.wsi import Detections
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, box

BETWEEN = tuple(rate + 0.01 for rate in RATES)  # no number of false positives on six slides
QUICK = settings(max_examples=25, deadline=None, derandomize=True)
EIGHTHS = st.integers(1, 7).map(
    lambda n: n / 8
)  # of which float32, as E1 holds hits, loses nothing
ANYWHERE = st.lists(st.tuples(EIGHTHS, st.integers(0, 5)), max_size=25)
ON_NORMAL = st.lists(st.tuples(EIGHTHS, st.integers(3, 5)), max_size=25)


@st.composite
def all_matches(draw, false=ANYWHERE) -> PooledMatches:
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
    return PooledMatches(
        is_normal=np.arange(6) >= 3,
        false_positive=np.array([p for p, _ in found], np.float64),
        false_positive_slide=np.array([slide for _, slide in found], np.int64),
        best=np.array([np.nan if p is None else p for p, _, _ in lesions], np.float64),
        is_itc=is_itc,
        lesion_slide=np.array([slide for _, _, slide in lesions], np.int64),
    )


def at(matches: PooledMatches, name: str, rates: tuple[float, ...] = RATES) -> np.ndarray:
    return np.array(curve(matches, name, rates).at_rates)


@QUICK
@given(all_matches())
@pytest.mark.parametrize("name", ["gigaslide", "liu2017"])
def test_curves_rise_with_false_positives_and_stay_within_what_was_found(name, matches):
    froc = curve(matches, name)
    assert (np.diff(froc.threshold) > 0).all()
    assert (np.diff(froc.false_positives) <= 0).all()
    assert (np.diff(froc.sensitivity) <= 0).all()
    assert (np.diff(froc.at_rates) >= 0).all()
    found = (~np.isnan(matches.best) & ~matches.is_itc).sum() / matches.countable
    assert froc.at_rates[0] >= 0
    assert froc.at_rates[-1] <= found == froc.sensitivity[0]


@QUICK
@given(all_matches(), st.permutations(range(6)), st.randoms())
@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_slides_and_of_detections_changes_nothing(name, matches, order, random):
    place = np.array(order)
    false, lesions = list(range(len(matches.false_positive))), list(range(len(matches.best)))
    random.shuffle(false)
    random.shuffle(lesions)
    is_normal = np.zeros(6, bool)
    is_normal[place] = matches.is_normal
    turned = PooledMatches(
        is_normal=is_normal,
        false_positive=matches.false_positive[false],
        false_positive_slide=place[matches.false_positive_slide[false]],
        best=matches.best[lesions],
        is_itc=matches.is_itc[lesions],
        lesion_slide=place[matches.lesion_slide[lesions]],
    )
    assert at(turned, name).tolist() == at(matches, name).tolist()


@QUICK
@given(all_matches(st.just([])))
def test_without_false_positives_all_definitions_agree_where_something_was_missed(matches):
    assume(np.isnan(matches.best[~matches.is_itc]).any())  # else E1 drops a real threshold
    found = (~np.isnan(matches.best) & ~matches.is_itc).sum() / matches.countable
    for name in NAMES:
        assert at(matches, name) == pytest.approx(np.full(6, found)), name


@QUICK
@given(all_matches())
def test_where_something_was_missed_the_readings_bound_each_other(matches):
    """Reachable ≤ interpolated ≤ the first point with at least f: three readings of one and the
    same curve.

    At an f that a point has exactly, the first of several such points may be a lower one.
    """
    assume(np.isnan(matches.best[~matches.is_itc]).any())
    ours, e1, e2 = (
        at(matches, name, BETWEEN) for name in ("gigaslide", "camelyon16-e1", "camelyon16-e2")
    )
    assert (ours <= e1 + 1e-12).all()
    assert (e1 <= e2 + 1e-12).all()
    curves = [curve(matches, name) for name in ("gigaslide", "camelyon16-e2")]
    assert curves[0].false_positives.tolist() == curves[1].false_positives.tolist()
    assert curves[0].sensitivity.tolist() == curves[1].sensitivity.tolist()


@QUICK
@given(all_matches(ON_NORMAL))
def test_with_false_positives_on_normal_slides_only_liu2017_is_ours_at_a_scaled_rate(matches):
    scaled = tuple(rate * 3 / 6 for rate in RATES)  # three of six slides are normal
    assert at(matches, "liu2017").tolist() == at(matches, "gigaslide", scaled).tolist()


@QUICK
@given(all_matches(), st.integers(0, 5), EIGHTHS)
def test_one_more_false_positive_never_helps(matches, slide, p):
    worse = replace(
        matches,
        false_positive=np.append(matches.false_positive, p),
        false_positive_slide=np.append(matches.false_positive_slide, slide),
    )
    assert (at(worse, "gigaslide") <= at(matches, "gigaslide")).all()


@QUICK
@given(all_matches())
def test_scores_matter_by_their_order_only(matches):
    cubed = replace(matches, false_positive=matches.false_positive**3, best=matches.best**3)
    for name in NAMES:
        assert at(cubed, name).tolist() == at(matches, name).tolist()


@QUICK
@given(all_matches())
@pytest.mark.parametrize("name", NAMES)
def test_every_slide_drawn_once_is_the_curve_itself(name, matches):
    weights = np.array([[1] * 6, [2] * 6])  # and twice is the same
    got = resample(matches, name, weights)
    assert got == pytest.approx(np.stack([at(matches, name)] * 2))


LESIONS = find_lesions(
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
    one = match_detections(Detections.of_slide("t", rows[:, :2], rows[:, 2]), LESIONS)
    other = match_detections(Detections.of_slide("n", np.array([(5, 5)]), np.array([0.25])), None)
    pooled = PooledMatches.pool([one, other], is_normal=[False, True])
    return {name: curve(pooled, name).at_rates for name in NAMES}


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
    clean = PooledMatches.pool(
        [match_detections(Detections.of_slide("t", *_columns(everything)), LESIONS)],
        is_normal=[False],
    )
    for name in (
        "gigaslide",
        "camelyon16-e1",
        "camelyon16-e2",
    ):  # the isolated cells are E1's smallest threshold
        assert curve(clean, name).score == 1
    nothing = PooledMatches.pool(
        [match_detections(Detections.concatenate([]), LESIONS)], is_normal=[False]
    )
    for name in ("gigaslide", "camelyon16-e1", "camelyon16-e2"):
        assert curve(nothing, name).score == 0


def _columns(found: list) -> tuple[np.ndarray, np.ndarray]:
    return np.array([place for place, _ in found], np.float64), np.array([p for _, p in found])
