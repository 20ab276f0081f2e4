"""Coverage of 95 % intervals on small cohorts: percentile bootstrap, BCa bootstrap and DeLong.

Cohorts are drawn from a population whose figures are known (a cohort of 20 000 patients). Half of
the patients have tumour; slides, lesions, patches and false positives of one patient share a random
effect, except in the models with one slide each, where slides are independent. An interval covers
if the population's figure lies in it; a cohort without an interval (every resample alike, DeLong's
variance 0) counts as not covered. The bootstraps draw patients as `gigaslide evaluate` does; DeLong
treats slides as independent.

    python benchmarks/eval/interval_coverage.py [--cohorts 300]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gigaslide.eval import (
    DEFINITIONS,
    Pairs,
    PooledMatches,
    Ranking,
    Resampling,
    Statistic,
    delong_interval,
    froc_curve,
    roc_curve,
)
from gigaslide.eval.statistics.froc import resample_sensitivity
from threadpoolctl import threadpool_limits

RATES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
RESAMPLES = 1000
PATIENTS = (10, 20, 40)
POPULATION = 20_000
PATCHES = 20  # of a slide, a quarter of them tumour where the slide has tumour
Interval = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model under test, and how much its patients differ."""

    name: str
    difference: float
    """Distance of the mean scores of tumour and normal slides, in SDs of one slide."""
    patient_sd: float
    """SD of the effect that the slides of a patient share, in SDs of one slide."""
    most_slides: int
    """Maximum number of slides per patient."""
    hit_logit: float
    """Log odds that a lesion is detected, for a patient without effect."""
    false_positives: float
    """Mean per slide of a patient without effect."""


FAIR = {"difference": 1.5, "hit_logit": 0.8, "false_positives": 3.0}
GOOD = {"difference": 2.8, "hit_logit": 3.5, "false_positives": 0.5}
MODELS = (
    Model(name="fair model", patient_sd=0.6, most_slides=5, **FAIR),
    Model(name="good model", patient_sd=0.6, most_slides=5, **GOOD),
    Model(name="fair model, one slide each", patient_sd=0.0, most_slides=1, **FAIR),
    Model(name="good model, one slide each", patient_sd=0.0, most_slides=1, **GOOD),
)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One cohort of S slides with the scores of a model."""

    patient: np.ndarray
    """(S,) int64."""
    is_tumor: np.ndarray
    """(S,) bool."""
    scores: np.ndarray
    """(S,)."""
    patches: np.ndarray
    """(S, PATCHES) scores; the first quarter is tumour on tumour slides."""
    matches: PooledMatches

    @property
    def patch_truth(self) -> np.ndarray:
        return self.is_tumor[:, None] & (np.arange(PATCHES) < PATCHES // 4)


def draw(model: Model, patients: int, rng: np.random.Generator) -> Drawn:
    slides = rng.integers(1, model.most_slides + 1, patients)
    patient = np.repeat(np.arange(patients), slides)
    with_tumor = np.arange(patients) < patients // 2
    is_tumor = with_tumor[patient] & (rng.uniform(size=len(patient)) < 0.5)
    is_tumor[np.cumsum(slides) - slides] = with_tumor
    effect = rng.normal(0, model.patient_sd, patients)[patient]
    scores = model.difference * is_tumor + effect + rng.normal(size=len(patient))
    lesions = np.where(is_tumor, 1 + rng.poisson(1.0, len(patient)), 0)
    lesion_slide = np.repeat(np.arange(len(patient)), lesions)
    logit = model.hit_logit + effect[lesion_slide] + rng.normal(0, 0.5, len(lesion_slide))
    is_hit = rng.uniform(size=len(lesion_slide)) < 1 / (1 + np.exp(-logit))
    busy = np.exp(rng.normal(0, model.patient_sd, patients)[patient])
    false = rng.poisson(model.false_positives * busy)
    matches = PooledMatches(
        is_normal=~is_tumor,
        false_positive=rng.beta(1, 2, false.sum()),
        false_positive_slide=np.repeat(np.arange(len(patient)), false),
        best=np.where(is_hit, rng.beta(4, 2, len(lesion_slide)), np.nan),
        is_itc=np.zeros(len(lesion_slide), bool),
        lesion_slide=lesion_slide,
    )
    spread = rng.normal(size=(len(patient), PATCHES)) + rng.normal(0, 0.5, (len(patient), 1))
    patch_tumor = is_tumor[:, None] & (np.arange(PATCHES) < PATCHES // 4)
    patches = model.difference * patch_tumor + effect[:, None] + spread
    drawn = {"patient": patient, "is_tumor": is_tumor, "scores": scores, "patches": patches}
    return Drawn(**drawn, matches=matches)


def slide_auc(drawn: Drawn) -> Callable[[np.ndarray], np.ndarray]:
    slides = len(drawn.patient)
    return Pairs.count(drawn.scores, drawn.is_tumor, np.arange(slides), slides=slides).auc


def patch_auc(drawn: Drawn) -> Callable[[np.ndarray], np.ndarray]:
    slides = len(drawn.patient)
    items = drawn.patches.ravel(), drawn.patch_truth.ravel()
    return Pairs.count(*items, np.repeat(np.arange(slides), PATCHES), slides=slides).auc


def froc_score(drawn: Drawn) -> Callable[[np.ndarray], np.ndarray]:
    definition = DEFINITIONS["gigaslide"]
    return lambda weights: resample_sensitivity(
        drawn.matches, definition, weights, rates=RATES
    ).mean(axis=1)


def sensitivity(drawn: Drawn) -> Callable[[np.ndarray], np.ndarray]:
    """Sensitivity of the slide score at specificity 0.9."""
    ranking = Ranking.of(drawn.scores, drawn.is_tumor)
    return lambda weights: ranking.sensitivity_at(0.9, weights)


FIGURES = {
    "slide AUC": slide_auc,
    "patch AUC": patch_auc,
    "FROC score": froc_score,
    "sensitivity": sensitivity,
}


def true_figures(model: Model) -> dict[str, float]:
    drawn = draw(model, POPULATION, np.random.default_rng(1))
    once = np.ones((1, len(drawn.patient)), np.int64)
    slides = roc_curve(drawn.scores, drawn.is_tumor, noun="slides").auc
    patches = roc_curve(drawn.patches.ravel(), drawn.patch_truth.ravel(), noun="patches").auc
    curve = froc_curve(drawn.matches, DEFINITIONS["gigaslide"], rates=tuple(RATES))
    return {
        "slide AUC": slides or np.nan,
        "patch AUC": patches or np.nan,
        "FROC score": curve.score or np.nan,
        "sensitivity": float(sensitivity(drawn)(once)[0]),
    }


def intervals(drawn: Drawn, seed: int) -> dict[tuple[str, str], Interval]:
    """Intervals of every figure by every method, all from one set of resamples."""
    resampling = Resampling.draw(
        [str(index) for index in range(len(drawn.patient))],
        [str(one) for one in drawn.patient],
        drawn.is_tumor,
        resamples=RESAMPLES,
        seed=seed,
    )
    found: dict[tuple[str, str], Interval] = {}
    for name, figure in FIGURES.items():
        compute = figure(drawn)
        statistic = Statistic(
            names=(name,), compute=lambda w, c=compute: c(w)[:, None], has_bca=True
        )
        draws = resampling.evaluate(statistic)
        value, resampled, jackknife = draws.value[0], draws.resampled[:, 0], draws.jackknife[:, 0]
        for method, extra in (("percentile", None), ("BCa", jackknife)):
            one = resampling.estimate(value, resampled, extra)
            found[name, method] = None if one.low is None else (one.low, one.high)
    found["slide AUC", "DeLong"] = delong_interval(drawn.scores, drawn.is_tumor, confidence=0.95)
    return found


def describe(found: list[Interval], truth: float) -> str:
    there = [one for one in found if one is not None]
    covered = sum(low <= truth <= high for low, high in there) / len(found)
    width = np.mean([high - low for low, high in there])
    missing = len(found) - len(there)
    return f"covers {covered:6.1%}, mean width {width:.3f}, no interval in {missing} cohorts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=300)
    cohorts, start = parser.parse_args().cohorts, time.process_time()
    for model in MODELS:
        truth = true_figures(model)
        for patients in PATIENTS:
            rng = np.random.default_rng([2, patients])
            found: dict[tuple[str, str], list[Interval]] = {}
            for seed in range(cohorts):
                for key, one in intervals(draw(model, patients, rng), seed).items():
                    found.setdefault(key, []).append(one)
            print(f"{model.name}, {patients} patients", flush=True)
            for (figure, method), some in sorted(found.items()):
                name = f"{figure} {truth[figure]:.3f}, {method}"
                print(f"  {name:<28} {describe(some, truth[figure])}", flush=True)
    print(f"{cohorts} cohorts each, {time.process_time() - start:.0f} s")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
