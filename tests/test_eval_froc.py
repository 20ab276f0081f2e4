"""FROC against loops that follow the words, and where it has no value."""

import numpy as np
import pytest
from gigaslide.eval import DEFINITIONS, Verdicts, froc_curve
from gigaslide.eval.froc import resampled_sensitivity

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def random_verdicts(rng: np.random.Generator, *, slides: int = 7) -> Verdicts:
    """Probabilities in steps of a tenth, so that nearly everything ties."""
    false, lesions = rng.integers(0, 25), rng.integers(1, 12)
    best = np.round(rng.uniform(size=lesions), 1)
    best[rng.uniform(size=lesions) < 0.3] = np.nan
    is_itc = rng.uniform(size=lesions) < 0.2
    is_itc[0] = False
    is_normal = np.arange(slides) >= slides // 2
    return Verdicts(
        is_normal=is_normal,
        false_positive=np.round(rng.uniform(size=false), 1),
        false_positive_slide=rng.integers(0, slides, false),
        best=best,
        is_itc=is_itc,
        lesion_slide=rng.integers(0, slides // 2, lesions),
    )


def by_loops(verdicts: Verdicts, rate: float, *, normal_only: bool, times: list[int]) -> float:
    """Best sensitivity over every threshold with at most rate false positives per slide; each slide counts `times`."""
    counted = [t if (n or not normal_only) else 0 for t, n in zip(times, verdicts.is_normal, strict=True)]
    thresholds = [*verdicts.false_positive.tolist(), *verdicts.best[~np.isnan(verdicts.best)].tolist(), 2.0]
    countable = sum(times[s] for s, itc in zip(verdicts.lesion_slide, verdicts.is_itc, strict=True) if not itc)
    reached = [0.0]
    for threshold in thresholds:
        false = 0
        for p, slide in zip(verdicts.false_positive, verdicts.false_positive_slide, strict=True):
            false += counted[slide] if p >= threshold else 0
        found = 0
        for p, slide, itc in zip(verdicts.best, verdicts.lesion_slide, verdicts.is_itc, strict=True):
            found += times[slide] if p >= threshold and not itc else 0
        if false <= rate * sum(counted):
            reached.append(found / countable)
    return max(reached)


@pytest.mark.parametrize(("name", "normal_only"), [("gigaslide", False), ("liu2017", True)])
@pytest.mark.parametrize("seed", range(12))
def test_fault_47_froc_equals_a_double_loop_with_ties(seed, name, normal_only):
    verdicts = random_verdicts(np.random.default_rng(seed))
    froc = froc_curve(verdicts, DEFINITIONS[name], rates=RATES)
    times = [1] * len(verdicts.is_normal)
    expected = [by_loops(verdicts, rate, normal_only=normal_only, times=times) for rate in RATES]
    assert froc.at_rates == pytest.approx(expected)
    assert froc.score == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("name", "normal_only"), [("gigaslide", False), ("liu2017", True)])
@pytest.mark.parametrize("seed", range(6))
def test_resampled_sensitivity_equals_a_double_loop_over_drawn_slides(seed, name, normal_only):
    rng = np.random.default_rng(seed)
    verdicts = random_verdicts(rng)
    weights = rng.integers(0, 3, (9, len(verdicts.is_normal)))
    weights[:, verdicts.lesion_slide[0]] += 1  # always a countable lesion
    weights[:, -1] += 1  # and a normal slide
    got = resampled_sensitivity(verdicts, DEFINITIONS[name], weights, rates=np.array(RATES))
    expected = [[by_loops(verdicts, r, normal_only=normal_only, times=w.tolist()) for r in RATES] for w in weights]
    assert got == pytest.approx(np.array(expected))


def official(false: list[float], best: list[float], countable: int, slides: int, *, drop: str) -> list[tuple]:
    """The curve as the official programs' text says it: best holds 0.0 for misses and isolated tumour cells."""
    thresholds = sorted({*false, *best})
    thresholds = thresholds[1:] if drop == "smallest" else [t for t in thresholds if t != 0]
    points = [(sum(p >= t for p in false) / slides, sum(p >= t for p in best) / countable) for t in thresholds]
    return [*points, (0, 0)]


@pytest.mark.parametrize(("name", "drop"), [("camelyon16-e1", "smallest"), ("camelyon16-e2", "zero")])
@pytest.mark.parametrize("seed", range(8))
def test_fault_47_compat_curves_equal_the_programs_on_random_fixtures(seed, name, drop):
    verdicts = random_verdicts(np.random.default_rng(100 + seed))
    best = np.where(verdicts.is_itc, 0, np.nan_to_num(verdicts.best)).tolist()
    points = official(verdicts.false_positive.tolist(), best, verdicts.countable, len(verdicts.is_normal), drop=drop)
    froc = froc_curve(verdicts, DEFINITIONS[name], rates=RATES)
    assert list(zip(froc.false_positives.tolist(), froc.sensitivity.tolist(), strict=True)) == points
    rising = sorted(points)
    if drop == "smallest":
        expected = np.interp(RATES, *zip(*rising, strict=True))
    else:
        expected = [next((s for f, s in rising if f >= rate), rising[-1][1]) for rate in RATES]
    assert froc.at_rates == pytest.approx(expected)


def verdicts_of(*, best=(), is_itc=(), false=(), slides=2) -> Verdicts:
    return Verdicts(
        is_normal=np.arange(slides) == 1,
        false_positive=np.array(false, np.float64),
        false_positive_slide=np.ones(len(false), np.int64),
        best=np.array(best, np.float64),
        is_itc=np.array(is_itc, bool) if len(is_itc) else np.zeros(len(best), bool),
        lesion_slide=np.zeros(len(best), np.int64),
    )


@pytest.mark.parametrize("name", DEFINITIONS)
class TestFault47Edges:
    def test_fault_47_no_detections(self, name):
        froc = froc_curve(verdicts_of(best=[np.nan, np.nan]), DEFINITIONS[name], rates=RATES)
        assert (froc.false_positives.tolist(), froc.sensitivity.tolist()) == ([0], [0])
        assert froc.score == 0

    def test_fault_47_no_lesions(self, name):
        froc = froc_curve(verdicts_of(false=[0.3]), DEFINITIONS[name], rates=RATES)
        assert (froc.score, froc.at_rates, froc.undefined) == (None, (), "no lesions")

    def test_fault_47_only_isolated_tumour_cells(self, name):
        froc = froc_curve(verdicts_of(best=[0.9, np.nan], is_itc=[True, True]), DEFINITIONS[name], rates=RATES)
        assert froc.score is None
        assert "isolated tumour cells" in froc.undefined

    def test_fault_47_no_slides(self, name):
        assert froc_curve(verdicts_of(slides=0), DEFINITIONS[name], rates=RATES).undefined == "no slides"

    def test_fault_47_every_lesion_found_and_no_false_positive(self, name):
        froc = froc_curve(verdicts_of(best=[0.9, 0.9, 0.8]), DEFINITIONS[name], rates=RATES)
        # E1 drops the only threshold that reaches the third lesion.
        assert froc.score == pytest.approx(2 / 3 if name == "camelyon16-e1" else 1)


def test_without_normal_slides_liu2017_alone_is_undefined():
    verdicts = verdicts_of(best=[0.5], slides=1)
    assert froc_curve(verdicts, DEFINITIONS["liu2017"], rates=RATES).undefined == "no tumour-negative slides"
    assert froc_curve(verdicts, DEFINITIONS["gigaslide"], rates=RATES).score == 1


def test_fault_44_a_lesion_found_with_p_0_differs_from_a_missed_one():
    found = froc_curve(verdicts_of(best=[0.0, np.nan]), DEFINITIONS["gigaslide"], rates=RATES)
    missed = froc_curve(verdicts_of(best=[np.nan, np.nan]), DEFINITIONS["gigaslide"], rates=RATES)
    assert (found.score, missed.score) == (0.5, 0)
    assert found.threshold.tolist() == [0, np.inf]


def test_a_curve_that_is_interpolated_cannot_be_resampled():
    with pytest.raises(ValueError, match="camelyon16-e1"):
        resampled_sensitivity(verdicts_of(), DEFINITIONS["camelyon16-e1"], np.ones((1, 2)), rates=np.array(RATES))
