"""Studies whose folder, features, patients or cells are not as they should be, and what their
answer says where a target is not reached."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.eval import Resampling
from gigaslide.storage import SettingsError, StoreError
from gigaslide.study import LabelsSettings, SizeSettings, estimate_seconds, plan_study, show_study
from gigaslide.study.reaches import estimate_number, estimate_ratio
from study_cohorts import learn, make_cohort, write_features
from test_study import quick_plots, run, table

__all__ = ["quick_plots"]  # a fixture

FEW = {"folds": 2, "seeds": 2, "draws": 2, "resamples": 100}
CELLS = 2 * 2 * 2  # points of one learner, folds, seeds


def size_settings(folder, **changes) -> SizeSettings:
    fields = {"features": folder / "features", "slides": (4,), "learners": ("strong",), **FEW}
    return SizeSettings(**{**fields, **changes})


def counting(trained: list[int]):
    def train(training, test, seed):
        trained.append(seed)
        return learn(training, test, seed)

    return train


def test_slides_that_snap_to_levels_of_their_own_are_one_scale(tmp_path):
    cohort = make_cohort(tmp_path)
    for number, mpp in ((3, 0.971), (5, 1.029)):
        write_features(tmp_path, f"s{number:02}", is_tumor=False, seed=number, mpp=mpp)
    assert len(plan_study(cohort, size_settings(tmp_path)).data.ids) == 24
    write_features(tmp_path, "s05", is_tumor=False, seed=5, mpp=1.07)
    with pytest.raises(SettingsError, match=r"2 encoders or scales.*1\.07 µm/px \(s05\)"):
        plan_study(cohort, size_settings(tmp_path))


def test_features_of_another_slide_are_refused(tmp_path):
    cohort = make_cohort(tmp_path)
    (tmp_path / "features" / "s05.zarr").rename(tmp_path / "aside")
    (tmp_path / "features" / "s03.zarr").rename(tmp_path / "features" / "s05.zarr")
    with pytest.raises(StoreError, match="holds features of s03"):
        plan_study(cohort, size_settings(tmp_path))


def test_a_folder_of_features_that_does_not_exist_is_named_alone(tmp_path, caplog):
    cohort = make_cohort(tmp_path)
    with pytest.raises(SettingsError, match=r"featurse: no such folder.*gigaslide features"):
        plan_study(cohort, size_settings(tmp_path, features=tmp_path / "featurse"))
    assert caplog.records == []


def test_one_patient_written_in_two_ways_is_drawn_as_one(tmp_path):
    cohort = make_cohort(tmp_path)
    slides = [replace(s, patient=s.patient.upper()) if i % 2 else s for i, s in enumerate(cohort)]
    mixed = replace(cohort, slides=tuple(slides))
    report = run(mixed, tmp_path / "out", size_settings(tmp_path))
    assert len(report.findings.resampling.has_tumor) == 12
    assert report.findings.resampling.fewest_units == 6
    rows = table(tmp_path / "out" / "results.csv")
    assert {row["train_patients"] for row in rows if row["slides"] == "all"} == {"6"}


def test_the_ratio_has_no_value_where_a_learner_misses_the_target():
    ids = [f"s{n}" for n in range(24)]
    resampling = Resampling.draw(ids, ids, np.arange(24) % 2 == 0, resamples=100, seed=0)
    smallest = {"weak": 6.0, "strong": 6.0}

    def ratio(weak: float, strong: float, missed: int = 0):
        numbers = {"weak": np.full(101, weak), "strong": np.full(101, strong)}
        numbers["weak"][101 - missed :] = np.inf
        return estimate_ratio(numbers, smallest, resampling)

    assert ratio(np.inf, 48.0).value is None
    assert "not reached by the weak learner" in ratio(np.inf, 48.0).undefined
    assert "strong learner" in ratio(12.0, np.inf).undefined
    assert (ratio(12.0, 48.0).value, ratio(12.0, 48.0).note) == (4.0, "")
    assert "at most: the smallest sample of the strong" in ratio(12.0, np.exp(np.log(6.0))).note
    assert "at least: the smallest sample of the weak" in ratio(6.0, 48.0).note
    assert "no limit either way" in ratio(6.0, 6.0).note
    assert "in 5 of 100 resamples" in ratio(12.0, 48.0, missed=5).note
    often = np.full(101, 6.0)
    often[1:31] = np.inf
    note = estimate_number(often, 6.0, resampling).note
    assert "smallest number" in note
    assert "not reached in 30 of 100 resamples" in note


def test_an_answer_does_not_count_labels_that_never_suffice(tmp_path):
    cohort = make_cohort(tmp_path)

    def weak_guesses(training, test, seed):
        found = learn(training, test, seed)
        if training.learner == "strong":
            return found
        rng = np.random.default_rng(seed)
        return [replace(one, slide=float(rng.random())) for one in found]

    settings = LabelsSettings(
        features=tmp_path / "features", weak_labels=(4,), strong_labels=(12,), target=1.0, **FEW
    )
    report = run(cohort, tmp_path / "out", settings, weak_guesses)
    assert "each slide label: not defined" in report.answer
    assert "label: 0.0" not in report.answer


@pytest.mark.parametrize("left", [["run.jsonl", ".run.lock.x"], ["run.jsonl", "splits.csv"]])
def test_a_study_killed_before_its_settings_were_written_goes_on(tmp_path, left):
    cohort, settings = make_cohort(tmp_path), size_settings(tmp_path)
    run(cohort, tmp_path / "whole", settings)
    out = tmp_path / "out"
    out.mkdir()
    for name in left:
        found = tmp_path / "whole" / name
        (out / name).write_bytes(found.read_bytes() if found.is_file() else b"")
    assert run(cohort, out, settings).exit_status == 0
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match="is a file"):
        run(cohort, tmp_path / "file", settings)


def test_damaged_cells_are_holes_until_they_are_made_again(tmp_path, caplog):
    cohort, settings, out = make_cohort(tmp_path), size_settings(tmp_path), tmp_path / "out"
    run(cohort, out, settings)
    before = (out / "results.csv").read_bytes()
    first, second = sorted((out / "cells").iterdir())[:2]
    content = (first / "scores.npz").read_bytes()
    (first / "scores.npz").write_bytes(content[: len(content) // 2])
    middle = bytearray((second / "scores.npz").read_bytes())
    middle[60:90] = b"\0" * 30  # inside the first compressed array
    (second / "scores.npz").write_bytes(middle)
    shown = show_study(out, learner_settings={})
    assert [cell.id for cell in shown.findings.holes] == [first.name, second.name]
    assert "counts as missing" in caplog.text
    trained: list[int] = []
    assert run(cohort, out, settings, counting(trained)).exit_status == 0
    assert len(trained) == 2
    assert (out / "results.csv").read_bytes() == before


def test_a_plan_counts_cells_of_these_settings_only(tmp_path):
    cohort, settings, out = make_cohort(tmp_path), size_settings(tmp_path), tmp_path / "out"
    run(cohort, out, settings)
    plan = plan_study(cohort, settings)
    assert estimate_seconds(plan, out, learner_settings={}) == (0.0, True)
    seconds, is_measured = estimate_seconds(plan, out, learner_settings={"strong": {"epochs": 9}})
    assert seconds == 4.0 * CELLS
    assert not is_measured


def test_a_plan_knows_that_large_samples_take_longer(tmp_path):
    cohort, settings, out = make_cohort(tmp_path), size_settings(tmp_path), tmp_path / "out"
    run(cohort, out, settings)
    plan = plan_study(cohort, settings)
    cells = out / "cells"
    for cell in plan.cells:
        recipe = cells / cell.id / "recipe.json"
        stated = json.loads(recipe.read_text())
        stated["attributes"]["seconds"] = 90.0 if ("slides", "all") in cell.axes else 1.0
        recipe.write_text(json.dumps(stated))
    large = [cell.id for cell in plan.cells if ("slides", "all") in cell.axes]
    shutil.rmtree(cells / large[0])
    assert estimate_seconds(plan, out, learner_settings={}) == (90.0, True)
    for name in large[1:]:
        shutil.rmtree(cells / name)
    assert estimate_seconds(plan, out, learner_settings={}) == (len(large) * 1.0, True)


def test_another_seed_is_another_study_without_folds_too(tmp_path):
    cohort, out = make_cohort(tmp_path), tmp_path / "out"
    settings = size_settings(tmp_path, folds=1)
    run(cohort, out, settings)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("scores.npz")}
    with pytest.raises(SettingsError, match="--seed 0, not 4"):
        run(cohort, out, settings.model_copy(update={"seed": 4}))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("scores.npz")} == before


def test_a_study_shown_again_keeps_the_reasons_of_failures(tmp_path):
    cohort, out = make_cohort(tmp_path), tmp_path / "out"

    def fail(training, test, seed):
        if len(training.bags) <= 4:
            raise ValueError("no luck")
        return learn(training, test, seed)

    run(cohort, out, size_settings(tmp_path), fail, BatchSettings(workers=0))
    shown = show_study(out, learner_settings={})
    assert shown.exit_status == 2
    assert shown.page.read_text().count("no luck") == CELLS / 2


def test_cells_that_did_not_run_are_counted_and_not_listed(tmp_path):
    out = tmp_path / "out"
    run(make_cohort(tmp_path), out, size_settings(tmp_path))
    for cell in sorted((out / "cells").iterdir())[:3]:
        shutil.rmtree(cell)
    shown = show_study(out, learner_settings={})
    assert len(shown.findings.holes) == 3
    missing = shown.page.read_text().partition('id="missing"')[2].partition("<h2")[0]
    assert ">3</data> cells did not run yet" in missing
    assert shown.findings.holes[0].id not in missing


def test_counts_are_those_of_the_trainings_that_are_pooled(tmp_path):
    cohort, failed = make_cohort(tmp_path), []

    def fail_once(training, test, seed):
        if len(training.bags) > 4 and not failed:
            failed.append(seed)
            raise ValueError("once")
        return learn(training, test, seed)

    settings = size_settings(tmp_path, folds=5)
    report = run(cohort, tmp_path / "out", settings, fail_once)
    whole = next(p for p in report.findings.points if p.is_full)
    assert (whole.finished, whole.trainings) == (9, 1)
    assert whole.counts["train_slides"] == pytest.approx(24 * 4 / 5)


def test_a_test_set_of_one_class_has_no_auc_and_the_pooled_figure_has_one(tmp_path):
    cohort = make_cohort(tmp_path, patients=10, slides_per_patient=1)
    rows = [one for one in cohort if one.label == "normal" or one.patient in ("p00", "p02")]
    few = replace(cohort, slides=tuple(rows))
    report = run(few, tmp_path / "out", size_settings(tmp_path, folds=5))
    figures = [row["slide_auc"] for row in table(tmp_path / "out" / "results.csv")]
    assert sum(not text for text in figures) == 3 * 2 * 2  # folds without tumour, points, seeds
    point = next(one for one in report.findings.points if one.is_full)
    assert point.estimates["slide_auc"].value is not None
    assert report.exit_status == 0
