"""Patch figures, and slide AUC, against slow twins: of the whole cohort and of drawn slides laid
end to end."""

from dataclasses import replace

import numpy as np
import pytest
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    EvaluateSettings,
    Pairs,
    Resampling,
    SlideResult,
    SlideStatus,
)
from gigaslide.eval import roc_curve as our_roc_curve
from gigaslide.eval.scoring.slide_result import Patches
from gigaslide.eval.statistics.figures import compute_figures
from gigaslide.eval.statistics.resampled import list_statistics
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

SETTINGS = EvaluateSettings(resamples=40, slide_threshold=0.5)


def results(seed: int) -> list[SlideResult]:
    """Seven slides; one of them without patches whose truth is known, one with no tumour patch on a
    tumour slide."""
    rng, found = np.random.default_rng(seed), []
    for index in range(7):
        count = int(rng.integers(5, 40))
        is_tumor = rng.uniform(size=count) < 0.3 * (index % 2 == 0)
        patches = Patches(
            probability=(rng.integers(0, 6 + 3 * is_tumor, count) / 8).astype(np.float32),
            is_tumor=is_tumor,
            tumor_not_scored=0,
        )
        if index == 2:
            patches = replace(patches, is_tumor=np.zeros(count, bool))
        label = "tumor" if index % 2 == 0 else "normal"
        found.append(
            SlideResult(
                slide=CohortSlide(id=f"s{index}", path=None, label=label),
                status=SlideStatus.EVALUATED,
                score=float(np.round(rng.uniform(), 1)),
                patches=None if index == 5 else patches,
            )
        )
    return found


def lay_out(slides: list[SlideResult], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    drawn = [
        j.patches
        for j, count in zip(slides, times, strict=True)
        for _ in range(count)
        if j.patches is not None
    ]
    return (
        np.concatenate([p.probability for p in drawn]).astype(np.float64),
        np.concatenate([p.is_tumor for p in drawn]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_fault_47_patch_figures_are_scikit_learns_and_plain_counts_for_every_draw(seed):
    slides = results(seed)
    resampling = Resampling.draw(
        [j.slide.id for j in slides],
        [""] * 7,
        np.array([j.is_tumor for j in slides]),
        resamples=25,
        seed=seed,
    )
    weights = np.concatenate([np.ones((1, 7), np.int64), resampling.weights])
    columns = {}
    for statistic in list_statistics(slides, SETTINGS):
        if statistic.names[0].startswith("patch"):
            columns |= dict(zip(statistic.names, statistic.compute(weights).T, strict=True))
    assert set(columns) == {"patch_auc", "patch_brier", "patch_sensitivity", "patch_specificity"}
    for row, times in enumerate(weights):
        scores, truth = lay_out(slides, times)
        got = {name: column[row] for name, column in columns.items()}
        assert got["patch_brier"] == pytest.approx(brier_score_loss(truth, scores))
        called = [score >= 0.5 for score in scores.astype(np.float32)]
        spared = [not c for c, t in zip(called, truth, strict=True) if not t]
        assert got["patch_specificity"] == pytest.approx(sum(spared) / len(spared))
        if not truth.any():
            assert np.isnan(got["patch_auc"])
            assert np.isnan(got["patch_sensitivity"])
            continue
        assert got["patch_auc"] == pytest.approx(roc_auc_score(truth, scores))
        found = [c for c, t in zip(called, truth, strict=True) if t]
        assert got["patch_sensitivity"] == pytest.approx(sum(found) / len(found))


@pytest.mark.parametrize("seed", range(3))
def test_fault_47_patch_curves_and_average_precision_are_scikit_learns(seed):
    slides = results(seed)
    scores, truth = lay_out(slides, np.ones(7, np.int64))
    figures = compute_figures(slides, SETTINGS)
    assert figures.patch_average_precision == pytest.approx(average_precision_score(truth, scores))
    false, true, _ = roc_curve(truth, scores)
    assert figures.patch_roc.false_positive_rate == pytest.approx(false)
    assert figures.patch_roc.true_positive_rate == pytest.approx(true)
    assert (figures.tumor_patches, figures.normal_patches) == (truth.sum(), (~truth).sum())
    assert figures.patch_calibration.count.sum() == len(truth)


@pytest.mark.parametrize("seed", range(4))
def test_fault_47_auc_is_scikit_learns_for_every_draw(seed):
    rng = np.random.default_rng(seed)
    scores, is_tumor = np.round(rng.uniform(size=30), 1), rng.uniform(size=30) < 0.4
    weights = rng.integers(0, 3, (20, 30))
    got = Pairs.count(scores, is_tumor, np.arange(30), slides=30).auc(weights)
    for times, auc in zip(weights, got, strict=True):
        assert auc == pytest.approx(
            roc_auc_score(np.repeat(is_tumor, times), np.repeat(scores, times))
        )
    order = rng.permutation(30)
    turned = Pairs.count(scores[order], is_tumor[order], np.arange(30), slides=30).auc(
        weights[:, order]
    )
    assert turned == pytest.approx(got)
    assert (
        our_roc_curve(scores[order], is_tumor[order], noun="slides").auc
        == our_roc_curve(scores, is_tumor, noun="slides").auc
    )
    assert (
        our_roc_curve(scores**3, is_tumor, noun="slides").auc
        == our_roc_curve(scores, is_tumor, noun="slides").auc
    )
    assert our_roc_curve(is_tumor.astype(float), is_tumor, noun="slides").auc == 1
