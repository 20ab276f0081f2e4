"""A study of a curriculum of patches and whole slides: pictures, matches, plan, page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from curriculum_slides import HEIGHT, QUICK, make_slides
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.eval import DEFINITIONS, Resampling, froc_curve
from gigaslide.models import CELL_PX, build_network
from gigaslide.storage import SettingsError
from gigaslide.study import CurriculumSettings, estimate_seconds, plan_study, run_study, show_study
from gigaslide.study.curriculum.course import Course, find_steps
from gigaslide.study.curriculum.pictures import read_pictures
from gigaslide.study.curriculum.work import CurriculumWork, pool_matches
from gigaslide.wsi import InputSpec, fit_stain
from test_study import quick_plots, table

__all__ = ["quick_plots"]  # a fixture


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    return make_slides(tmp_path_factory.mktemp("slides"))


def test_weights_of_another_network_are_refused_before_the_pictures_are_read(cohort, tmp_path):
    spec = InputSpec(patch_px=64, centre_px=32, mpps=(1.0,))
    given = tmp_path / "given.weights.h5"
    build_network("compact", spec).save_weights(given)
    settings = CurriculumSettings(**QUICK, initial_weights=given)
    assert settings.training.width == 1.0
    assert settings.training.learning_rate == 0.0003
    assert read_pictures(cohort, settings).data.contents
    for other in ({"architecture": "efficientnet_lite0"}, {"width": 0.5}):
        with pytest.raises(SettingsError, match=r"--architecture is .*, --width"):
            read_pictures(cohort, settings.model_copy(update=other))
    with pytest.raises(ValueError, match="make study-weights"):
        CurriculumSettings(**QUICK, initial_weights=Path("imagenet"))


def test_pictures_can_have_their_stain_normalised(cohort):
    plain, even = (
        read_pictures(cohort, CurriculumSettings(**QUICK, stain=stain))
        for stain in ("none", "macenko")
    )
    before, after = (one.pictures["s1"].picture.image for one in (plain, even))
    fit = fit_stain(before[: HEIGHT // 2].reshape(-1, 3), "macenko")
    np.testing.assert_array_equal(after[: HEIGHT // 2], fit.apply(before[: HEIGHT // 2]))
    assert abs(after.astype(int) - before).mean() > 2
    np.testing.assert_array_equal(
        plain.pictures["s1"].picture.tissue, even.pictures["s1"].picture.tissue
    )
    assert plain.data.contents != even.data.contents


def test_pictures_show_the_slide_and_know_its_tumour(cohort):
    found = read_pictures(cohort, CurriculumSettings(**QUICK))
    one = found.pictures["s1"]
    assert one.picture.image.shape == (7 * CELL_PX, 10 * CELL_PX, 3)  # 104 px are 6.5 cells
    assert (one.picture.image[HEIGHT // 2 :] == 255).all()
    assert abs(int(one.picture.image[40, 100, 0]) - 90) < 60
    expected = np.zeros((7, 10), bool)
    expected[2:4, 6:9] = True
    np.testing.assert_array_equal(one.picture.tumor == 1, expected)
    assert one.lesion[2:4, 6:9].min() == 1
    assert one.lesion[6, 0] == 0
    assert not found.pictures["s0"].picture.tumor.any()
    data = found.data
    assert data.encoder == "8 µm/px"
    assert len(data.windows[0]) == 70
    assert (data.windows[1] == 1).sum() == 6
    assert (data.windows[1] == -1).sum() == 70 - one.picture.tissue.sum()
    assert one.draw_map("s1", np.full((7, 10), 0.3)).stride_level0 == 32


def test_slides_that_cannot_be_pictures_are_told(cohort, tmp_path, caplog):
    with pytest.raises(SettingsError, match=r"160 px long at 8 µm/px; give --mpp 13"):
        read_pictures(cohort, CurriculumSettings(**QUICK, most_px=100))
    with pytest.raises(SettingsError, match="s0: its finding polyp is 'maybe'"):
        read_pictures(
            make_slides(tmp_path, 2, polyp="maybe"),
            CurriculumSettings(**QUICK, findings=("polyp",)),
        )
    (tmp_path / "s1.tif").write_bytes(b"")
    with pytest.raises(SettingsError, match="no tumor slide that can be read"):
        read_pictures(Cohort.load(tmp_path / "cohort.csv"), CurriculumSettings(**QUICK))
    assert "s1: left out" in caplog.text


def test_the_best_map_finds_every_lesion(cohort, tmp_path):
    settings = CurriculumSettings(**QUICK, radius_um=120.0)
    found = read_pictures(cohort, settings)
    work = CurriculumWork(
        out=tmp_path,
        seed=0,
        learner_settings={},
        training=settings.training,
        initial_weights="",
        radius_um=settings.radius_um,
    )
    slide = found.pictures["s1"]
    truth = np.where(slide.picture.tumor == 1, 0.9, 0.1)
    right = work._match("s1", slide, truth)
    wrong = work._match("s1", slide, truth[:, ::-1])
    assert right is not None
    assert wrong is not None
    assert right.best.tolist() == pytest.approx([0.9])
    assert wrong.best.max() < 0.2
    assert wrong.probability[wrong.match == "false positive"].max() == pytest.approx(0.9)


def test_matches_of_test_sets_are_pooled_by_slide():
    first = {
        "judged": np.array([0, 1]),
        "false_positive": np.array([0.4]),
        "false_positive_slide": np.array([1]),
        "best": np.array([0.8]),
        "is_itc": np.array([False]),
        "lesion_slide": np.array([0]),
    }
    second = {name: array[:0] for name, array in first.items()} | {"judged": np.array([1])}
    second |= {"false_positive": np.array([0.9]), "false_positive_slide": np.array([1])}
    sets = [np.array([5, 0]), np.array([2, 3])]
    is_tumor = np.array([False, False, True, False, False, True])
    pooled, known = pool_matches([first, second], sets, is_tumor)
    assert known.tolist() == [0, 3, 5]
    assert pooled.is_normal.tolist() == [True, True, False]
    assert pooled.false_positive_slide.tolist() == [0, 1]
    assert pooled.lesion_slide.tolist() == [2]
    curve = froc_curve(pooled, DEFINITIONS["gigaslide"], rates=(0.25, 0.5))
    assert curve.at_rates == (0.0, 1.0)


def test_steps_to_the_baselines_best_are_found_anew_in_each_resample():
    ids = [f"s{number}" for number in range(24)]
    resampling = Resampling.draw(ids, ids, np.arange(24) % 2 == 0, resamples=100, seed=0)

    def course(learner: str, values: list[float]) -> Course:
        return Course(
            learner=learner,
            augmentation="none",
            steps=np.array([10, 100, 1000]),
            estimates=(),
            draws=np.tile(values, (101, 1)),
        )

    whole = course("whole", [0.5, 0.8, 0.7])
    fast, slow = find_steps([course("curriculum", [0.7, 0.9, 0.9]), whole], resampling)
    assert fast.target == slow.target == 0.8
    assert fast.number.value == pytest.approx(10**1.5)  # half the way, on a log scale
    assert slow.number.value == pytest.approx(100)
    soon, _ = find_steps([course("curriculum", [0.8, 0.9, 0.9]), whole], resampling)
    assert soon.number.note == "at most: the smallest number tried reaches it"
    never, _ = find_steps([course("curriculum", [0.5, 0.6, 0.7]), whole], resampling)
    assert never.number.value is None
    assert never.number.undefined == "not reached with any number tried"


def test_a_plan_guesses_by_the_pixels_that_are_learnt_from(cohort, tmp_path):
    def guess(**changes) -> list[float]:
        settings = CurriculumSettings(**{**QUICK, "augmentation": ("none",), **changes})
        plan = plan_study(cohort, settings)
        points = plan.design.points
        assert [dict(point)["learner"] for point in points] == ["curriculum", "whole"]
        return [plan.study.guess_seconds(point, settings, plan.found) for point in points]

    few, (many, whole), fine = guess(steps=100), guess(steps=1000), guess(steps=1000, mpp=4.0)
    assert many < whole  # patches are smaller than slides
    assert many > 4 * few[0]
    assert fine[1] == pytest.approx(4 * whole, rel=0.2)
    plan = plan_study(cohort, CurriculumSettings(**QUICK, seeds=1))
    seconds, is_measured = estimate_seconds(plan, tmp_path)
    expected = [plan.study.guess_seconds(one.axes, plan.settings, plan.found) for one in plan.cells]
    assert (seconds, is_measured) == (pytest.approx(sum(expected)), False)


@pytest.fixture(scope="module")
def finished(cohort, tmp_path_factory):
    """A finished study with a further finding that one slide does not know."""
    folder = tmp_path_factory.mktemp("study")
    slides = [
        replace(one, further=(("dark", ["yes", "no", "no", "yes", ""][number % 5]),))
        for number, one in enumerate(cohort)
    ]
    told = replace(cohort, slides=tuple(slides))
    settings = CurriculumSettings(**QUICK, seeds=1, findings=("Dark",))
    report = run_study(plan_study(told, settings), folder / "out", BatchSettings(workers=0))
    return told, settings, folder / "out", report


def test_every_cell_is_tested_at_equal_steps(finished):
    _, _, out, report = finished
    assert report.exit_status == 0
    rows = table(out / "results.csv")
    assert len(rows) == 2 * 2 * 2  # learners, augmentations, folds
    assert {(row["learner"], row["patch_steps"], row["whole_slide_steps"]) for row in rows} == {
        ("curriculum", "3", "3"),
        ("whole", "0", "6"),
    }
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("slide_auc", "cam_froc"))
    figures = {row["figure"] for row in table(out / "points.csv")}
    assert figures >= {"slide_auc", "window_auc", "cam_froc", "slide_auc_Dark"}
    compared = [row for row in table(out / "comparisons.csv") if row["role"] == "primary"]
    assert [(row["first"], row["second"]) for row in compared[:1]] == [
        ("curriculum, augmentation none", "whole, augmentation none")
    ]
    assert len(compared) == 4


def test_the_page_tells_steps_maps_and_methods(finished):
    _, _, out, report = finished
    page = report.page.read_text()
    for words in (
        report.study.question,
        "best slide AUC of whole slides alone",
        "FROC score of the maps",
        "log-sum-exp",
        "pictures of the whole slide at 8 µm/px",
        "gigaslide study curriculum",
        "slide AUC of Dark, patches first minus whole slides alone",
        "<th>slide AUC of Dark</th>",
    ):
        assert words in page
    assert {one.learner for one in report.findings.courses} == {"curriculum", "whole"}
    shown = show_study(out)
    assert shown.answer == report.answer


def test_a_stopped_curriculum_goes_on_and_a_changed_slide_trains_anew(finished, tmp_path):
    told, settings, out, _ = finished
    before = (out / "results.csv").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/scores.npz")}
    (out / "results.csv").unlink()
    report = run_study(plan_study(told, settings), out, BatchSettings(workers=0))
    assert report.summary is not None
    assert {one.status for one in report.summary.outcomes} == {"skipped"}
    assert (out / "results.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    wider = settings.model_copy(update={"radius_um": 300.0})
    assert plan_study(told, wider).data.contents != plan_study(told, settings).data.contents


def test_the_command_plans_and_writes_nothing(tmp_path, capsys):
    make_slides(tmp_path / "own", 4)
    source = str(tmp_path / "own" / "cohort.csv")
    words = ["study", "curriculum", source, str(tmp_path / "out"), "--mpp", "8"]
    assert main([*words, "--folds", "2", "--seeds", "1", "--plan"]) == 0
    printed = capsys.readouterr().out
    assert "pictures at 8 µm/px" in printed
    assert "8 cells" in printed
    assert not (tmp_path / "out").exists()
