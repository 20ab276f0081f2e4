"""FROC against loops that follow the words, and where it has no value."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from froc_curves import NAMES, RATES, curve, resample
from gigaslide.eval import EvaluateSettings, PooledMatches, SlideTruth, evaluate
from shapely.geometry import box

TUMOR, OTHER = box(500, 400, 1500, 900), box(3000, 2000, 3900, 2700)


def random_matches(rng: np.random.Generator, *, slides: int = 7) -> PooledMatches:
    """Probabilities in steps of a tenth, so that nearly everything ties."""
    false, lesions = rng.integers(0, 25), rng.integers(1, 12)
    best = np.round(rng.uniform(size=lesions), 1)
    best[rng.uniform(size=lesions) < 0.3] = np.nan
    is_itc = rng.uniform(size=lesions) < 0.2
    is_itc[0] = False
    is_normal = np.arange(slides) >= slides // 2
    return PooledMatches(
        is_normal=is_normal,
        false_positive=np.round(rng.uniform(size=false), 1),
        false_positive_slide=rng.integers(0, slides, false),
        best=best,
        is_itc=is_itc,
        lesion_slide=rng.integers(0, slides // 2, lesions),
    )


def by_loops(matches: PooledMatches, rate: float, *, normal_only: bool, times: list[int]) -> float:
    """Best sensitivity over every threshold with at most rate false positives per slide; each slide
    counts `times`."""
    counted = [
        t if (n or not normal_only) else 0 for t, n in zip(times, matches.is_normal, strict=True)
    ]
    thresholds = [
        *matches.false_positive.tolist(),
        *matches.best[~np.isnan(matches.best)].tolist(),
        2.0,
    ]
    countable = sum(
        times[s] for s, itc in zip(matches.lesion_slide, matches.is_itc, strict=True) if not itc
    )
    reached = [0.0]
    for threshold in thresholds:
        false = 0
        for p, slide in zip(matches.false_positive, matches.false_positive_slide, strict=True):
            false += counted[slide] if p >= threshold else 0
        found = 0
        for p, slide, itc in zip(matches.best, matches.lesion_slide, matches.is_itc, strict=True):
            found += times[slide] if p >= threshold and not itc else 0
        if false <= rate * sum(counted):
            reached.append(found / countable)
    return max(reached)


@pytest.mark.parametrize(("name", "normal_only"), [("gigaslide", False), ("liu2017", True)])
@pytest.mark.parametrize("seed", range(12))
def test_fault_47_froc_equals_a_double_loop_with_ties(seed, name, normal_only):
    matches = random_matches(np.random.default_rng(seed))
    froc = curve(matches, name)
    times = [1] * len(matches.is_normal)
    expected = [by_loops(matches, rate, normal_only=normal_only, times=times) for rate in RATES]
    assert froc.at_rates == pytest.approx(expected)
    assert froc.score == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("name", "normal_only"), [("gigaslide", False), ("liu2017", True)])
@pytest.mark.parametrize("seed", range(6))
def test_resampled_sensitivity_equals_a_double_loop_over_drawn_slides(seed, name, normal_only):
    rng = np.random.default_rng(seed)
    matches = random_matches(rng)
    weights = rng.integers(0, 3, (9, len(matches.is_normal)))
    weights[:, matches.lesion_slide[0]] += 1  # always a countable lesion
    weights[:, -1] += 1  # and a normal slide
    got = resample(matches, name, weights)
    expected = [
        [by_loops(matches, r, normal_only=normal_only, times=w.tolist()) for r in RATES]
        for w in weights
    ]
    assert got == pytest.approx(np.array(expected))


def official(
    matches: PooledMatches, name: str, times: list[int]
) -> tuple[list[tuple], list[float]]:
    """Points and readings as the programs' text says it, of slides drawn so many times each.

    Both hold 0.0 for misses and isolated tumour cells; E1 holds what it holds of lesions as
    float32. NumPy 1, which E1 needs, compares those with numbers exactly where both are scalars:
    hence the key.
    """
    false = [
        p
        for p, s in zip(matches.false_positive.tolist(), matches.false_positive_slide, strict=True)
        for _ in range(times[s])
    ]
    best = np.where(matches.is_itc, 0, np.nan_to_num(matches.best)).tolist()
    best = [p for p, s in zip(best, matches.lesion_slide, strict=True) for _ in range(times[s])]
    if name == "camelyon16-e1":
        best = [np.float32(p) for p in best]
    countable = sum(
        times[s] for s, itc in zip(matches.lesion_slide, matches.is_itc, strict=True) if not itc
    )
    thresholds = sorted({*false, *best}, key=float)
    thresholds = thresholds[1:] if name == "camelyon16-e1" else [t for t in thresholds if t != 0]
    points = [
        ((np.asarray(false) >= t).sum() / sum(times), (np.asarray(best) >= t).sum() / countable)
        for t in thresholds
    ]
    points.append((0, 0))
    rising = points[::-1]
    if name == "camelyon16-e1":
        return points, np.interp(RATES, *zip(*rising, strict=True)).tolist()
    return points, [next((s for f, s in rising if f >= rate), rising[-1][1]) for rate in RATES]


@pytest.mark.parametrize("name", ["camelyon16-e1", "camelyon16-e2"])
@pytest.mark.parametrize("seed", range(8))
def test_fault_47_compat_curves_equal_the_programs_on_random_fixtures(seed, name):
    matches = random_matches(np.random.default_rng(100 + seed))
    points, readings = official(matches, name, [1] * len(matches.is_normal))
    froc = curve(matches, name)
    assert (
        list(zip(froc.false_positives.tolist(), froc.sensitivity.tolist(), strict=True)) == points
    )
    assert froc.at_rates == pytest.approx(readings)


@pytest.mark.parametrize("name", ["camelyon16-e1", "camelyon16-e2"])
@pytest.mark.parametrize("seed", range(10))
def test_fault_47_resampled_official_readings_equal_the_programs_on_the_drawn_slides(seed, name):
    rng = np.random.default_rng(200 + seed)
    matches = random_matches(rng)
    if seed % 2:  # nothing missed: E1 drops a real threshold, another one in each draw
        keep = matches.is_found
        matches = replace(
            matches,
            best=np.append(matches.best[keep], 0.6),
            is_itc=np.zeros(keep.sum() + 1, bool),
            lesion_slide=np.append(matches.lesion_slide[keep], 0),
        )
    weights = rng.integers(0, 3, (12, len(matches.is_normal)))
    weights[0] = 1
    weights[:, matches.lesion_slide[~matches.is_itc][0]] += 1
    got = resample(matches, name, weights)
    expected = [official(matches, name, times.tolist())[1] for times in weights]
    assert got == pytest.approx(np.array(expected))


def test_fault_47_e1_holds_hits_as_float32_which_parts_them_from_equal_false_positives():
    """0.3 as float32 lies above 0.3, 0.7 below it: by that a hit is had with a false positive less,
    or with it."""
    above = curve(matches_of(best=[0.3, np.nan], false=[0.3]), "camelyon16-e1")
    assert (above.false_positives.tolist(), above.sensitivity.tolist()) == (
        [0.5, 0, 0],
        [0.5, 0.5, 0],
    )
    below = curve(matches_of(best=[0.7, np.nan], false=[0.7]), "camelyon16-e1")
    assert (below.false_positives.tolist(), below.sensitivity.tolist()) == (
        [0.5, 0.5, 0],
        [0.5, 0.5, 0],
    )
    assert (above.at_rates[0], below.at_rates[0]) == (0.5, 0.25)
    whole = curve(matches_of(best=[0.3, np.nan], false=[0.3]), "camelyon16-e2")
    assert (whole.false_positives.tolist(), whole.sensitivity.tolist()) == ([0.5, 0], [0.5, 0])


def matches_of(*, best=(), is_itc=(), false=(), slides=2) -> PooledMatches:
    return PooledMatches(
        is_normal=np.arange(slides) == 1,
        false_positive=np.array(false, np.float64),
        false_positive_slide=np.ones(len(false), np.int64),
        best=np.array(best, np.float64),
        is_itc=np.array(is_itc, bool) if len(is_itc) else np.zeros(len(best), bool),
        lesion_slide=np.zeros(len(best), np.int64),
    )


@pytest.mark.parametrize("name", NAMES)
class TestFault47Edges:
    def test_fault_47_no_detections(self, name):
        froc = curve(matches_of(best=[np.nan, np.nan]), name)
        assert (froc.false_positives.tolist(), froc.sensitivity.tolist()) == ([0], [0])
        assert froc.score == 0

    def test_fault_47_no_lesions(self, name):
        froc = curve(matches_of(false=[0.3]), name)
        assert (froc.score, froc.at_rates, froc.undefined) == (None, (), "no lesions")

    def test_fault_47_only_isolated_tumour_cells(self, name):
        froc = curve(matches_of(best=[0.9, np.nan], is_itc=[True, True]), name)
        assert froc.score is None
        assert "isolated tumour cells" in froc.undefined

    def test_fault_47_no_slides(self, name):
        assert curve(matches_of(slides=0), name).undefined == "no slides"

    def test_fault_47_every_lesion_found_and_no_false_positive(self, name):
        froc = curve(matches_of(best=[0.9, 0.9, 0.8]), name)
        # E1 drops the only threshold that reaches the third lesion.
        assert froc.score == pytest.approx(2 / 3 if name == "camelyon16-e1" else 1)


def test_without_normal_slides_liu2017_alone_is_undefined():
    matches = matches_of(best=[0.5], slides=1)
    assert curve(matches, "liu2017").undefined == "no tumour-negative slides"
    assert curve(matches, "gigaslide").score == 1


def test_fault_44_a_lesion_found_with_p_0_differs_from_a_missed_one():
    found = curve(matches_of(best=[0.0, np.nan]), "gigaslide")
    missed = curve(matches_of(best=[np.nan, np.nan]), "gigaslide")
    assert (found.score, missed.score) == (0.5, 0)
    assert found.threshold.tolist() == [0, np.inf]


def test_the_band_is_the_quantiles_of_the_curves_of_drawn_slides():
    rng = np.random.default_rng(4)
    truth = {
        f"t{i}": SlideTruth(size=(4000, 3000), mpp=0.5, tumor=[TUMOR, OTHER]) for i in range(3)
    }
    truth |= {f"n{i}": SlideTruth(size=(4000, 3000), mpp=0.5) for i in range(4)}
    rows = [
        (name, *rng.integers(0, 2900, 2).tolist(), p)
        for name in truth
        for p in rng.integers(1, 10, 6) / 10
    ]
    rows += [
        ("t0", 1000, 600, 0.6),
        ("t1", 1000, 600, 0.9),
        ("t1", 3500, 2300, 0.5),
        ("t2", 3500, 2300, 0.8),
    ]
    table = pd.DataFrame(rows, columns=["slide", "x", "y", "probability"])
    figures = evaluate(
        table, truth, EvaluateSettings(resamples=60, split="", confidence=0.8)
    ).figures
    results = evaluate(table, truth, EvaluateSettings(resamples=0, split="")).results
    pooled = PooledMatches.pool(
        [j.matches for j in results], is_normal=[not j.is_tumor for j in results]
    )
    band = figures.froc_band
    for place in (0, 17, 40, 79):
        rate = float(band.rates[place])
        drawn = [
            by_loops(pooled, rate, normal_only=False, times=w.tolist())
            for w in figures.resampling.weights
        ]
        ends = np.quantile(drawn, [0.1, 0.9])
        expected = (
            ends if ends[0] < ends[1] else (np.nan, np.nan)
        )  # where draws agree there is no interval
        assert (band.low[place], band.high[place]) == pytest.approx(expected, nan_ok=True)
    assert band.rates[[0, -1]] == pytest.approx([0.125, 10])
    assert (band.low < band.high).sum() > 20
    assert not (band.low == band.high).any()
    assert 0 < np.isnan(band.low).sum() == np.isnan(band.high).sum()
