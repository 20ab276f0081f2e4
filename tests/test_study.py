"""Studies from their settings to the page: tables, stopped and failed cells, the answer."""

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.storage import SettingsError
from gigaslide.study import (
    BagScores,
    LabelsSettings,
    NoiseSettings,
    SizeSettings,
    TransferSettings,
    plan_study,
    run_study,
    show_study,
    train_bags,
)
from gigaslide.study.features.work import CellWork
from gigaslide.study.work import load_cell
from gigaslide.training import BagSettings
from sklearn.metrics import roc_auc_score
from study_cohorts import learn, make_cohort, write_features

HERE = BatchSettings(workers=0)
QUICK = {"folds": 3, "seeds": 2, "draws": 2, "resamples": 100}


def run(cohort, out: Path, settings, train=learn, batch=HERE):
    plan = plan_study(cohort, settings)
    return run_study(plan, out, batch, train=train, learner_settings={})


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch) -> None:
    """Write plots in the module's study only: they take longer than all the rest."""
    monkeypatch.setattr("gigaslide.eval.report.rendering.to_svg", lambda _: "<svg/>")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study of labels."""
    folder = tmp_path_factory.mktemp("labels")
    cohort = make_cohort(folder)
    settings = LabelsSettings(
        features=folder / "features", weak_labels=(6,), strong_labels=(6, 24), **QUICK
    )
    return cohort, settings, folder / "out", run(cohort, folder / "out", settings)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_cell_has_a_row_with_its_figures(finished):
    _, _, out, report = finished
    rows = table(out / "results.csv")
    assert len(rows) == (2 + 3) * 3 * 2
    assert {row["status"] for row in rows} == {"done"}
    assert {row["labels"] for row in rows} == {"6", "24", "all"}
    for row in rows:
        assert 0 <= float(row["slide_auc"]) <= 1
        assert int(row["train_slides"]) + int(row["test_slides"]) <= 24
        if row["labels"] != "all":
            assert row["labels_given"] == row["labels"]
        assert bool(row["window_auc_attention"]) == (row["learner"] == "weak")
    assert report.exit_status == 0


def test_figures_are_means_over_seeds_of_pooled_predictions(finished):
    cohort, settings, out, report = finished
    plan = plan_study(cohort, settings)
    work = CellWork(
        out=out,
        features={"": settings.features},
        seed=0,
        train=learn,
        learner_settings={},
        learners=settings.learners_of_bags,
    )
    aucs = []
    for seed in range(2):
        scores = np.full(24, np.nan)
        for cell in plan.cells:
            if dict(cell.axes) == {"learner": "strong", "labels": 24} and cell.seed == seed:
                result = load_cell(work, cell)
                assert result is not None
                scores[result.slides] = result.slide_scores
        aucs.append(roc_auc_score(plan.data.is_tumor, scores))
    point = next(
        p for p in report.findings.points if dict(p.point) == {"learner": "strong", "labels": 24}
    )
    assert point.estimates["slide_auc"].value == pytest.approx(np.mean(aucs))
    assert point.noise["slide_auc"] == pytest.approx(np.std(aucs, ddof=1))


def test_the_primary_figure_is_tested_and_corrected_for_all_comparisons(tmp_path):
    cohort = make_cohort(tmp_path, patients=20, slides_per_patient=1)
    settings = SizeSettings(
        features=tmp_path / "features", slides=(4, 8), learners=("strong",), **QUICK
    )
    report = run(cohort, tmp_path / "out", settings)
    rows = table(tmp_path / "out" / "comparisons.csv")
    primary = [row for row in rows if row["role"] == "primary"]
    assert [row["figure"] for row in primary] == ["slide_auc"] * 2
    assert {row["tests"] for row in primary} == {"2"}
    ordered = sorted(primary, key=lambda row: float(row["p_bootstrap"]))
    lowest = float(ordered[0]["p_bootstrap"])
    assert float(ordered[0]["p_holm"]) == pytest.approx(min(1, 2 * lowest))
    assert {row["test_sets"] for row in primary} <= {"3", ""}
    assert all(not row["p_bootstrap"] for row in rows if row["role"] == "exploratory")
    page = report.page.read_text()
    assert "p-values are two-sided" in page
    assert "<th>p (Holm)</th>" in page


def test_few_patients_get_intervals_and_no_p_value(finished):
    _, _, out, report = finished  # six patients of each class
    assert not report.findings.resampling.is_large_enough
    rows = table(out / "comparisons.csv")
    assert all(not row["p_bootstrap"] and not row["p_corrected_t"] for row in rows)
    assert any(row["low"] for row in rows)
    assert "too few patients" in report.answer
    page = report.page.read_text()
    assert "too few patients" not in page  # said once, in the notice
    assert "no p-values" in page
    assert "p (Holm)" not in page


def test_the_page_answers_first_and_loads_nothing(finished):
    _, _, out, report = finished
    page = report.page.read_text()
    assert report.study.question in page
    assert page.count("data:image/svg+xml") == 3
    assert page.index("<p>Difference in slide AUC, strong minus weak") < page.index('id="curves"')
    assert "http://" not in page.replace("http://www.w3.org", "")
    for words in ("training noise", "gigaslide study labels", "--weak-labels 6", "by patient"):
        assert words in page
    stated = yaml.safe_load((out / "study.yaml").read_text())
    assert stated["settings"]["weak_labels"] == [6]
    assert {reach.learner for reach in report.findings.reaches} == {"weak", "strong"}


class Stop:
    """Learns until a number of cells is done, then stops as a signal does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, training, test, seed):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return learn(training, test, seed)


def test_a_stopped_study_goes_on_and_gives_the_same_tables(finished, tmp_path):
    cohort, settings, out, _ = finished
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        run(cohort, again, settings, Stop(7))
    done = list((again / "cells").iterdir())
    assert len(done) == 7
    (done[0] / "scores.npz").write_bytes(b"")  # the disk was full
    trained = []

    def count(training, test, seed):
        trained.append(seed)
        return learn(training, test, seed)

    report = run(cohort, again, settings, count)
    assert len(trained) == 30 - 6
    for name in ("results.csv", "points.csv", "comparisons.csv", "splits.csv"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    assert report.exit_status == 0


def test_more_seeds_keep_what_is_there(finished, tmp_path):
    cohort, settings, _, _ = finished
    run(cohort, tmp_path / "out", settings)
    trained = []

    def count(training, test, seed):
        trained.append(seed)
        return learn(training, test, seed)

    run(cohort, tmp_path / "out", settings.model_copy(update={"seeds": 3}), count)
    assert len(trained) == 5 * 3


def fail_some(training, test, seed):
    if training.learner == "weak" and len(training.bags) == 6:
        raise ValueError("no luck <today>")
    return learn(training, test, seed)


def test_a_failed_cell_is_a_hole_that_is_told(finished, tmp_path):
    cohort, settings, _, _ = finished
    out = tmp_path / "out"
    report = run(cohort, out, settings, fail_some)
    assert report.exit_status == 2
    assert len(report.findings.holes) == 6
    rows = table(out / "results.csv")
    missing = [row for row in rows if row["status"] == "missing"]
    assert {(row["learner"], row["labels"]) for row in missing} == {("weak", "6")}
    page = report.page.read_text()
    assert "The table has holes" in page
    assert "no luck &lt;today&gt;" in page
    comparison = next(r for r in table(out / "comparisons.csv") if "labels 6" in r["second"])
    assert not comparison["difference"]
    assert comparison["note"]
    mended = run(cohort, out, settings, learn, BatchSettings(workers=0, retry_failed=True))
    assert mended.exit_status == 0


def test_one_missing_fold_takes_its_seed_out_of_the_figures(finished, tmp_path):
    cohort, settings, _, _ = finished

    def fail_once(training, test, seed):
        if len(training.bags) == 6 and training.learner == "weak" and not failed:
            failed.append(1)
            raise ValueError("once")
        return learn(training, test, seed)

    failed: list[int] = []
    report = run(cohort, tmp_path / "out", settings, fail_once)
    weak = next(p for p in report.findings.points if p.point[1] == ("labels", 6))
    assert (weak.finished, weak.trainings) == (5, 1)
    assert weak.estimates["slide_auc"].value is not None


def test_scores_that_are_no_numbers_fail_their_cell(finished, tmp_path):
    cohort, settings, _, _ = finished

    def diverge(training, test, seed):
        return [BagScores(slide=np.nan, windows=np.zeros(len(bag))) for bag in test]

    report = run(cohort, tmp_path / "out", settings, diverge)
    assert report.exit_status == 1
    assert report.summary is not None
    assert "diverged" in report.summary.outcomes[0].reason


def test_a_cell_survives_the_way_to_a_worker(finished, tmp_path):
    cohort, settings, out, _ = finished
    work = CellWork(
        out=out,
        features={"": settings.features},
        seed=0,
        train=learn,
        learner_settings={},
        learners=settings.learners_of_bags,
    )
    cell = plan_study(cohort, settings).cells[3]
    sent = pickle.loads(pickle.dumps(work))
    assert sent(cell).status == "skipped"
    assert len(pickle.dumps(work)) < 1000


def test_folders_of_something_else_are_left_alone(finished, tmp_path):
    cohort, settings, out, _ = finished
    noise = NoiseSettings(features=settings.features, folds=3)
    with pytest.raises(SettingsError, match="holds a study of labels"):
        run(cohort, out, noise)
    with pytest.raises(SettingsError, match="--seed 0, not 5"):
        run(cohort, out, settings.model_copy(update={"seed": 5}))
    with pytest.raises(SettingsError, match="other splits"):
        run(cohort, out, settings.model_copy(update={"folds": 4}))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"no study\.yaml"):
        run(cohort, tmp_path, settings)


def test_a_study_is_shown_again_from_its_cells(finished, tmp_path):
    _, _, out, report = finished
    before = {name: (out / name).read_bytes() for name in ("results.csv", "comparisons.csv")}
    for name in before:
        (out / name).unlink()
    shown = show_study(out, learner_settings={})
    assert shown.answer == report.answer
    assert {name: (out / name).read_bytes() for name in before} == before


def test_wrong_labels_are_a_study_too(tmp_path):
    cohort = make_cohort(tmp_path)
    settings = NoiseSettings(
        features=tmp_path / "features",
        flipped=(0.4,),
        **{name: value for name, value in QUICK.items() if name != "draws"},
    )
    report = run(cohort, tmp_path / "out", settings)
    assert report.exit_status == 0
    rows = table(tmp_path / "out" / "results.csv")
    assert {row["flipped"] for row in rows} == {"0.0", "0.4"}
    assert all((row["flipped_labels"] == "0") == (row["flipped"] == "0.0") for row in rows)
    assert "without wrong labels" in report.answer


def test_pooling_and_length_of_the_trainings_can_be_chosen(tmp_path):
    cohort = make_cohort(tmp_path)
    plain = SizeSettings(features=tmp_path / "features", slides=(8,), **{**QUICK, "seeds": 1})
    settings = plain.model_copy(update={"epochs": 2, "pooling": "log-sum-exp"})
    seen = set()

    def train(training, test, seed):
        one = training.settings
        seen.add((training.learner, one.labels, one.pooling, one.epochs))
        return train_bags(training, test, seed)

    run(cohort, tmp_path / "out", settings, train=train)
    assert seen == {("weak", "slides", "log-sum-exp", 2), ("strong", "windows", None, 2)}
    page = (tmp_path / "out" / "study.html").read_text()
    assert "pooled over a slide by log-sum-exp" in page
    assert "2 passes" in page
    assert all(row["window_auc"] for row in table(tmp_path / "out" / "results.csv"))
    study = plan_study(cohort, plain).study
    assert study.describe_learners(plain) == {
        name: BagSettings(labels=labels).model_dump(mode="json")
        for name, labels in (("weak", "slides"), ("strong", "windows"))
    }
    assert study.describe_learners(settings) != study.describe_learners(plain)


def test_the_cohorts_own_split_is_tested_once(finished, tmp_path):
    cohort, settings, _, _ = finished
    report = run(cohort, tmp_path / "out", settings.model_copy(update={"folds": 1}))
    assert len(report.findings.resampling.is_normal) == 8
    assert report.findings.points[0].estimates["window_auc"].value is not None
    assert "8 of them as test slides" in report.page.read_text()


def test_the_command_plans_runs_and_shows(tmp_path, capsys):
    cohort = make_cohort(tmp_path, patients=8, slides_per_patient=1)
    cohort.save(tmp_path / "cohort.csv")
    out = tmp_path / "out"
    few = ["--folds", "2", "--seeds", "1", "--resamples", "100", "--slides", "3"]
    words = ["study", "size", str(tmp_path / "cohort.csv"), str(out)]
    words += ["--features", str(tmp_path / "features"), *few, "--draws", "1"]
    assert main([*words, "--plan"]) == 0
    assert not out.exists()
    planned = capsys.readouterr().out
    assert "8 cells" in planned
    assert "weak, slides all: 1 seed" in planned
    assert main(words) == 0
    assert main(["study", "show", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("weak, slides all") == 3  # plan and both tables
    assert {path.name for path in out.iterdir()} >= {"study.html", "results.csv", "study.yaml"}
    before = (out / "results.csv").read_bytes()
    assert main(words) == 0
    assert "8 skipped" in capsys.readouterr().out
    assert (out / "results.csv").read_bytes() == before


def test_encoders_are_compared_with_the_first_on_the_same_windows(tmp_path):
    cohort = make_cohort(tmp_path, patients=20, slides_per_patient=1)
    noise = tmp_path / "noise"
    for number, slide in enumerate(cohort):
        write_features(noise, slide.id, is_tumor=False, seed=900 + number, encoder="random")
    encoders = {"good": tmp_path / "features", "random": noise / "features"}
    settings = TransferSettings(encoders=encoders, folds=3, seeds=2, resamples=100)
    report = run(cohort, tmp_path / "out", settings)
    good, bad = (point.estimates["slide_auc"].value for point in report.findings.points)
    assert good > 0.9
    assert bad < 0.8
    (primary,) = [one for one in report.findings.comparisons if one.is_primary]
    assert primary.difference.difference.value == pytest.approx(good - bad)
    assert primary.difference.p_value is not None
    assert "Difference in slide AUC, good minus random" in report.answer
    assert {row["encoder"] for row in table(tmp_path / "out" / "results.csv")} == {"good", "random"}
    more = {**encoders, "third": tmp_path / "features"}
    trained = []

    def count(training, test, seed):
        trained.append(seed)
        return learn(training, test, seed)

    run(cohort, tmp_path / "out", settings.model_copy(update={"encoders": more}), count)
    assert len(trained) == 3 * 2  # those of the third encoder only


def test_encoders_that_saw_other_windows_are_refused(tmp_path):
    cohort = make_cohort(tmp_path)
    other = tmp_path / "other"
    for number, slide in enumerate(cohort):
        write_features(other, slide.id, is_tumor=True, seed=number, side_level0=50.0)
    encoders = {"a": tmp_path / "features", "b": other / "features"}
    with pytest.raises(SettingsError, match=r"other/features: s00 has other windows than in a"):
        plan_study(cohort, TransferSettings(encoders=encoders))
    with pytest.raises(SettingsError, match="two or more"):
        plan_study(cohort, TransferSettings(encoders={"a": tmp_path}))
