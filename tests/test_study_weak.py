"""The study of weak labels: its cells, what each of them learns from, and its answer."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import geojson
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort
from gigaslide.storage import SettingsError
from gigaslide.study import (
    BagScores,
    SizeSettings,
    WeakSettings,
    plan_study,
    run_study,
    show_study,
    train_bags,
)
from gigaslide.study.weak.labels import fit_weak, label_by_scores
from study_cohorts import SIDE, TUMOR, make_cohort, write_features

HERE = BatchSettings(workers=0)
QUICK = {"folds": 3, "seeds": 2, "draws": 2, "resamples": 100, "slides": (4,)}


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch) -> None:
    monkeypatch.setattr("gigaslide.eval.report.rendering.to_svg", lambda _: "<svg/>")


class Learner:
    """Counts what it is given, and scores windows by the mean difference of the classes."""

    def __init__(self) -> None:
        self.sets = []

    def __call__(self, training, test, seed) -> list[BagScores]:
        self.sets.append((training, seed))
        lines = []
        if training.weak is not None:
            weak = training.weak
            windows = weak.windows or label_by_scores(
                [1 / (1 + np.exp(2 - bag[:, 0].astype(float))) for bag in weak.bags],
                weak.is_tumor,
                above=weak.settings.score_above,
            )
            lines.append(_line(np.concatenate(weak.bags), np.concatenate(windows)))
        if training.bags:
            lines.append(_line(np.concatenate(training.bags), training.labels))
        line = np.mean(lines, axis=0)
        found = [1 / (1 + np.exp(-bag.astype(float) @ line)) for bag in test]
        return [BagScores(slide=float(one.max()), windows=one) for one in found]


def _line(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    values = values.astype(float)
    return values[labels == 1].mean(axis=0) - values[labels == 0].mean(axis=0)


def run(cohort, out: Path, settings, train):
    return run_study(plan_study(cohort, settings), out, HERE, train=train, learner_settings={})


def test_weak_strong_and_fine_tuned_are_compared_at_each_number_of_slides(tmp_path):
    cohort, learner = make_cohort(tmp_path), Learner()
    settings = WeakSettings(features=tmp_path / "features", **QUICK)
    report = run(cohort, tmp_path / "out", settings, learner)
    assert report.exit_status == 0
    points = [dict(one.point) for one in report.findings.points]
    assert points[0] == {"learner": "weak-only", "slides": 0}
    assert {"learner": "fine-tuned", "slides": 4} in points
    assert {"learner": "strong-only", "slides": "all"} in points
    given = {(bool(one.weak), bool(one.bags)) for one, _ in learner.sets}
    assert given == {(True, False), (False, True), (True, True)}
    for one, _ in learner.sets:
        if one.weak is not None:  # every training slide has a label of the slide
            assert len(one.weak.bags) == 16
            assert one.weak.windows is None
    primary = report.findings.comparisons[0]
    assert primary.is_primary
    assert primary.figure == "window_auc"
    assert dict(primary.first) == {"learner": "fine-tuned", "slides": 4}
    assert dict(primary.second) == {"learner": "strong-only", "slides": 4}
    assert {reach.learner for reach in report.findings.reaches} == {"strong-only", "fine-tuned"}
    assert "fine-tuned minus strong-only, 4 slides" in report.answer
    assert "fine-tuned on 4 slides minus strong-only on all slides" in report.answer
    pairs = [
        (dict(one.first)["slides"], dict(one.second)["learner"], dict(one.second)["slides"])
        for one in report.findings.comparisons
        if one.is_primary
    ]
    assert (4, "strong-only", "all") in pairs
    assert pairs[-1] == ("all", "weak-only", 0)
    page = report.page.read_text()
    for words in ("Weak-only learns from weak labels", "study weak", "replace outlines"):
        assert words in page
    assert show_study(tmp_path / "out", learner_settings={}).answer == report.answer


def test_weak_models_of_a_fold_and_seed_are_those_that_are_fine_tuned(tmp_path):
    cohort, learner = make_cohort(tmp_path), Learner()
    run(cohort, tmp_path / "out", WeakSettings(features=tmp_path / "features", **QUICK), learner)
    keys = {
        is_tuned: {(one.weak.key, seed) for one, seed in learner.sets if _is(one, is_tuned)}
        for is_tuned in (False, True)
    }
    assert len(keys[False]) == 3 * 2
    assert keys[True] == keys[False]


def _is(training, is_tuned: bool) -> bool:
    return training.weak is not None and bool(training.bags) == is_tuned


def with_weak(folder: Path, patients: tuple[str, ...]) -> Cohort:
    """The cohort with weak slides of these patients, whose outlines are shifted by a window."""
    strong = make_cohort(folder)
    rows, columns = TUMOR
    x0, x1 = ((edge + 1) * SIDE for edge in (columns.start, columns.stop))
    y0, y1 = (edge * SIDE for edge in (rows.start, rows.stop))
    ring = [(x0 + 1, y0 + 1), (x1 - 1, y0 + 1), (x1 - 1, y1 - 1), (x0 + 1, y1 - 1)]
    coarse = folder / "coarse.geojson"
    coarse.write_text(json.dumps(geojson([(ring, [])])))
    found = list(strong)
    for number, patient in enumerate(patients):
        name = f"w{number}"
        write_features(folder, name, is_tumor=True, seed=700 + number)
        row = replace(
            found[0],
            id=name,
            path=folder / f"{name}.tif",
            annotation=coarse,
            patient=patient,
            split="",
            further=(("quality", "Weak"),),
        )
        found.append(row)
    return Cohort.of_rows(found)


def test_outlines_of_weak_slides_are_learnt_from_and_never_tested(tmp_path):
    cohort, learner = with_weak(tmp_path, ("x1", "p00")), Learner()
    settings = WeakSettings(features=tmp_path / "features", source="outlines", **QUICK)
    report = run(cohort, tmp_path / "out", settings, learner)
    assert report.exit_status == 0
    with (tmp_path / "out" / "splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert not {row["slide"] for row in rows} & {"w0", "w1"}
    by_count = {True: set(), False: set()}
    for one, _ in learner.sets:
        if one.weak is None:
            continue
        assert one.weak.windows is not None
        assert all(labels.sum() == 6 for labels in one.weak.windows)
        by_count[len(one.weak.bags) == 1].add(one.weak.key)
    # The weak slide of a patient who is tested is left out in that fold, and only there.
    assert (len(by_count[True]), len(by_count[False])) == (1, 2)


def test_a_study_of_outlines_needs_weak_slides_of_other_patients(tmp_path):
    settings = WeakSettings(features=tmp_path / "features", source="outlines", **QUICK)
    with pytest.raises(SettingsError, match=r"quality to weak, .*--source scores"):
        plan_study(make_cohort(tmp_path), settings)
    report = run(with_weak(tmp_path, ("p00",)), tmp_path / "out", settings, Learner())
    assert report.exit_status == 2
    assert report.summary is not None
    reasons = {one.reason for one in report.summary.outcomes if one.status == "failed"}
    assert len(reasons) == 1
    assert "patients that are tested here" in reasons.pop()


def test_weak_slides_take_no_part_in_other_studies(tmp_path):
    plan = plan_study(with_weak(tmp_path, ("x1",)), SizeSettings(features=tmp_path / "features"))
    assert "w0" not in plan.data.ids
    assert len(plan.data.ids) == 24


def test_a_quality_that_nobody_knows_is_refused(tmp_path):
    cohort = make_cohort(tmp_path)
    odd = replace(next(iter(cohort)), further=(("quality", "so-so"),))
    with pytest.raises(SettingsError, match=r"quality of s00 is 'so-so'.*weak, strong"):
        plan_study(Cohort.of_rows([odd]), SizeSettings(features=tmp_path / "features"))


def test_windows_of_normal_slides_are_never_weak_tumour():
    scores = [np.array([0.9, 0.6, 0.2]), np.array([0.9, 0.1]), np.array([0.3, 0.4]), np.zeros(0)]
    labels = label_by_scores(scores, np.array([True, False, True, True]), above=0.5)
    assert [one.tolist() for one in labels] == [[1, 1, 0], [0, 0], [0, 1], []]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["scores", "outlines"])
def test_the_learner_goes_on_from_the_weak_model(tmp_path, source):
    cohort = with_weak(tmp_path, ("x1",))
    sizes = {**QUICK, "folds": 2, "seeds": 1, "draws": 1}
    settings = WeakSettings(features=tmp_path / "features", source=source, **sizes)
    sets = []

    def train(training, test, seed):
        sets.append((training, seed, train_bags(training, test[:2], seed)))
        return [BagScores(slide=0.5, windows=np.zeros(len(bag))) for bag in test]

    run(cohort, tmp_path / "out", settings, train)
    weak, tuned = (next(s for s in sets if _is(s[0], flag)) for flag in (False, True))
    assert weak[0].weak.key == tuned[0].weak.key
    model = fit_weak(weak[0].weak, weak[1])
    assert model is fit_weak(tuned[0].weak, tuned[1])
    bag = weak[0].weak.bags[0]
    assert train_bags(weak[0], [bag], weak[1])[0].slide == pytest.approx(model.predict(bag).slide)
    assert not np.allclose(weak[2][0].windows, tuned[2][0].windows)
