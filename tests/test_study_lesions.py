"""Lesion-level figures of a study: detections of windows' scores against outlined lesions."""

from dataclasses import replace

import numpy as np
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort
from gigaslide.eval import DEFINITIONS, Match, froc_curve
from gigaslide.study import LabelsSettings, SizeSettings, plan_study, run_study, show_study
from gigaslide.study.data import StudyData
from gigaslide.study.lesions import RATES, SlideLesions
from study_cohorts import COLUMNS, ROWS, learn, make_cohort, write_features

HERE = BatchSettings(workers=0)
QUICK = {"folds": 3, "seeds": 2, "draws": 2, "resamples": 100}


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch) -> None:
    monkeypatch.setattr("gigaslide.eval.report.rendering.to_svg", lambda _: "<svg/>")


def slide_of(lesion: np.ndarray, *, radius_cells: float, itc: tuple[bool, ...]) -> SlideLesions:
    cells = np.argwhere(lesion >= 0)
    return SlideLesions(
        cells=cells,
        lesion=lesion[tuple(cells.T)],
        is_itc=np.array(itc, bool),
        is_judged=True,
        radius_cells=radius_cells,
    )


def test_detections_are_the_highest_windows_a_radius_apart():
    lesion = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 2], [-1, 0, 0, 0, 0], [0, 0, 0, 3, 0]])
    slide = slide_of(lesion, radius_cells=1.5, itc=(False, False, True))
    scores = np.zeros(lesion.shape)
    scores[1, 1], scores[1, 2], scores[3, 3], scores[3, 0] = 0.9, 0.8, 0.7, 0.6
    found = slide.match(scores[lesion >= 0])
    assert found.probability.tolist() == [0.9, 0.7, 0.6]  # 0.8 lies beside 0.9
    assert found.match.tolist() == [Match.HIT, Match.IGNORED, Match.FALSE_POSITIVE]
    assert found.best[0] == 0.9
    assert np.isnan(found.best[1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("froc")
    cohort = make_cohort(folder)
    for number, slide in enumerate(cohort):  # 200 µm a window: the lesions count
        is_visible = slide.label == "tumor" and slide.id != "s04"  # whose lesion looks normal
        changes = {"is_tumor": is_visible, "mpp": 4.0, "slide_mpp": 2.0}
        write_features(folder, slide.id, seed=number, **changes)
    partly = next(iter(cohort))
    cohort = Cohort.of_rows([replace(partly, exhaustive=False), *list(cohort)[1:]])
    settings = LabelsSettings(
        features=folder / "features", weak_labels=(6,), strong_labels=(24,), **QUICK
    )
    out = folder / "out"
    return out, run_study(plan_study(cohort, settings), out, HERE, train=learn, learner_settings={})


def test_the_lesions_are_those_of_the_outlines(finished):
    out, _ = finished
    data = StudyData.load(out)
    assert data.lesions is not None
    assert data.lesions.is_judged.tolist() == [False, *[True] * 23]
    for index, slide in enumerate(data.lesions.slides):
        assert len(slide.cells) == ROWS * COLUMNS
        assert len(slide.is_itc) == int(data.is_tumor[index])
        truth = data.windows[index] == 1
        np.testing.assert_array_equal(slide.lesion > 0, truth)
        if truth.any():
            assert slide.cells[truth].min(axis=0).tolist() == [1, 2]  # row, column


def test_the_froc_score_is_the_mean_over_seeds_and_has_an_interval(finished):
    out, report = finished
    point = next(
        one
        for one in report.findings.points
        if dict(one.point) == {"learner": "strong", "labels": "all"}
    )
    data = StudyData.load(out)
    assert data.lesions is not None
    judged = np.flatnonzero(data.lesions.is_judged)
    found = []
    for seed in range(2):
        scores = {}
        for fold in range(3):
            cell = out / "cells" / f"strong-labelsall-r0-f{fold}-s{seed}" / "scores.npz"
            with np.load(cell) as arrays:
                lengths = [len(data.windows[index]) for index in arrays["slides"]]
                parts = np.split(arrays["score"], np.cumsum(lengths)[:-1])
                scores |= dict(zip(arrays["slides"].tolist(), parts, strict=True))
        matches = data.lesions.pool_matches(
            {index: scores[index] for index in judged.tolist()}, data.is_tumor
        )
        found.append(froc_curve(matches, DEFINITIONS["gigaslide"], rates=RATES).score)
    estimate = point.estimates["froc"]
    assert estimate.value == pytest.approx(np.mean(found))
    assert estimate.low is not None
    assert estimate.low <= estimate.value
    assert point.noise["froc"] == pytest.approx(np.std(found, ddof=1))
    figures = [one.figure for one in report.findings.comparisons]
    assert figures.count("froc") == figures.count("slide_auc")
    assert all(not one.is_primary for one in report.findings.comparisons if one.figure == "froc")
    page = report.page.read_text()
    assert "FROC score" in page
    shown = show_study(out, learner_settings={})
    assert shown.findings.points[0].estimates["froc"] == report.findings.points[0].estimates["froc"]


def test_other_studies_have_no_lesions(tmp_path):
    cohort = make_cohort(tmp_path)
    plan = plan_study(cohort, SizeSettings(features=tmp_path / "features"))
    assert plan.data.lesions is None
