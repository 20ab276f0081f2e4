"""A curriculum of patches and whole slides: pictures, network, training, maps, and the study."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import geojson, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import DEFINITIONS, Resampling, froc_curve
from gigaslide.models import CELL_PX, build_network, pool_cells
from gigaslide.storage import SettingsError
from gigaslide.study import CurriculumSettings, estimate_seconds, plan_study, run_study, show_study
from gigaslide.study.curriculum.course import Course, find_steps
from gigaslide.study.curriculum.pictures import read_pictures
from gigaslide.study.curriculum.work import CurriculumWork, pool_matches
from gigaslide.training import SlidePicture, WholeSlideSettings, train_whole_slides
from gigaslide.training.whole_slides.examples import Pictures, blur_or_sharpen
from gigaslide.wsi import InputSpec, fit_stain
from scipy.ndimage import binary_dilation
from test_study import quick_plots, table

__all__ = ["quick_plots"]  # a fixture

WIDTH, HEIGHT = 320, 208  # level-0 px: 10 × 6.5 cells of 16 px at 8 µm/px, 32 level-0 px each
TISSUE = (slice(16, 200), slice(16, 304))  # rows, columns
TUMOR = (slice(64, 128), slice(192, 288))  # of a slide with tumour: cells 2 to 3, columns 6 to 8
QUICK = {"mpp": 8.0, "steps": 6, "checkpoints": 3, "patch_px": 32, "resamples": 100, "folds": 2}


def paint(*, is_tumor: bool, seed: int) -> np.ndarray:
    """Pink tissue on white; tumour is dark blue."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    for place, colour, wanted in (
        (TISSUE, (214, 150, 190), True),
        (TUMOR, (90, 50, 130), is_tumor),
    ):
        if wanted:
            shape = image[place].shape
            image[place] = np.clip(colour + rng.normal(0, 14, shape), 0, 255).astype(np.uint8)
    return image


def make_slides(folder: Path, patients: int = 8, **columns: str) -> Cohort:
    """Patients with tumour and without take turns, a slide each, outlined exactly."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, cols = TUMOR
    ring = [(cols.start, rows.start), (cols.stop, rows.start), (cols.stop, rows.stop)]
    ring.append((cols.start, rows.stop))
    (folder / "tumor.geojson").write_text(json.dumps(geojson([(ring, [])])))
    listed = []
    for number in range(patients):
        is_tumor = number % 2 == 1
        path = folder / f"s{number}.tif"
        write_tiff(path, paint(is_tumor=is_tumor, seed=number), mpp=4.0)
        listed.append(
            CohortSlide(
                id=f"s{number}",
                path=path,
                annotation=folder / "tumor.geojson" if is_tumor else None,
                label="tumor" if is_tumor else "normal",
                patient=f"p{number}",
                mpp=4.0,
                further=tuple(columns.items()),
            )
        )
    cohort = Cohort.of_rows(listed)
    cohort.save(folder / "cohort.csv")
    return cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    return make_slides(tmp_path_factory.mktemp("slides"))


def picture(number: int, *, side: tuple[int, int] = (5, 8)) -> SlidePicture:
    """Odd slides are dark in 2 × 3 cells, which are tumour."""
    rng = np.random.default_rng(number)
    rows, columns = side
    image = rng.integers(170, 250, (CELL_PX * rows, CELL_PX * columns, 3)).astype(np.uint8)
    tumor = np.zeros(side, np.int8)
    if number % 2:
        tumor[1:3, 4:7] = 1
        image[CELL_PX : 3 * CELL_PX, 4 * CELL_PX : 7 * CELL_PX] //= 3
    labels = np.array([number % 2], np.int8)
    return SlidePicture(image=image, tissue=np.ones(side, bool), tumor=tumor, findings=labels)


def test_pooling_lies_between_mean_and_maximum():
    logits = np.array([[[-2.0], [3.0]], [[0.5], [9.0]]])
    inside = np.array([[True, True], [True, False]])
    values = [-2.0, 3.0, 0.5]
    expected = np.log(np.mean(np.exp(4 * np.array(values)))) / 4
    assert pool_cells(logits, inside, sharpness=4.0)[0] == pytest.approx(expected)
    assert pool_cells(logits, inside, sharpness=1e-6)[0] == pytest.approx(np.mean(values), abs=1e-4)
    assert pool_cells(logits, inside, sharpness=500.0)[0] == pytest.approx(3.0, abs=0.01)
    assert pool_cells(logits, ~inside & False, sharpness=4.0)[0] == -np.inf


@pytest.fixture(scope="module")
def trained():
    """Slides, and the scores of two trainings of the same seed, patches first, at the end."""
    slides = [picture(number) for number in range(6)]
    settings = WholeSlideSettings(steps=30, checkpoints=2, patch_px=32, learning_rate=0.01)
    found = []
    for _ in range(2):
        course = train_whole_slides(
            slides, settings, seed=3, has_patches=True, has_blur=True, side_px=128
        )
        steps = []
        for step, model in course:
            steps.append(step)
            scores = [model.predict(one) for one in slides]
            pooled = model.network.pooled.predict_on_batch(
                [np.full((1, 128, 128, 3), 200, np.float32), np.ones((1, 8, 8), np.float32)]
            )
            cells = model.network.maps.predict_on_batch(np.full((1, 128, 128, 3), 200, np.float32))
        found.append((steps, scores, np.asarray(pooled), np.asarray(cells)))
    return slides, found


def test_a_network_learns_and_its_map_shows_where(trained):
    slides, ((steps, scores, pooled, cells), _) = trained
    assert steps == [15, 30]
    slide_scores = np.array([one.slide[0] for one in scores])
    assert slide_scores[1::2].min() > slide_scores[::2].max()
    for one, slide in zip(scores[1::2], slides[1::2], strict=True):
        found, truth = one.cells[..., 0], slide.tumor == 1
        near = binary_dilation(truth, np.ones((3, 3)), iterations=2)  # what a cell looks at
        assert near.ravel()[found.argmax()]
        assert found[truth].min() > found[~near].max() + 0.2
    again = pool_cells(cells[0], np.ones((8, 8), bool), sharpness=4.0)
    np.testing.assert_allclose(pooled[0], again, rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_scores_whatever_was_trained_before(trained):
    _, ((_, first, *_), (_, second, *_)) = trained
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.cells, two.cells)


def test_a_training_begins_with_given_weights_and_keeps_their_normalisation(tmp_path):
    spec = InputSpec(patch_px=64, centre_px=32, mpps=(1.0,))
    network: Any = build_network("efficientnet_lite0", spec)
    tower = network.get_layer("efficientnet_lite0")
    rng = np.random.default_rng(4)
    for variable in tower.variables:
        if "moving_mean" in variable.path:
            variable.assign(rng.normal(0, 0.1, variable.shape))
    network.save_weights(tmp_path / "given.weights.h5")
    slides = [picture(number) for number in range(4)]
    settings = WholeSlideSettings(
        architecture="efficientnet_lite0", steps=2, checkpoints=2, patch_px=32
    )
    ends = []
    for _ in range(2):
        course = train_whole_slides(
            slides,
            settings,
            seed=1,
            has_patches=False,
            has_blur=False,
            side_px=128,
            initial_weights=str(tmp_path / "given.weights.h5"),
        )
        for _, model in course:
            found = {one.path: np.array(one) for one in model.network.maps.variables}
        ends.append(model.predict(slides[1]).cells)
    assert ends[0].shape == (5, 8, 1)
    np.testing.assert_array_equal(*ends)  # the second training does not begin where one ended
    given = {one.path: np.array(one) for one in tower.variables}
    shared = given.keys() & found.keys()
    assert len(shared) > 100
    for name in shared:
        is_same = np.array_equal(given[name], found[name])
        assert is_same == ("_bn/" in name), name


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


def test_patches_tell_of_tumour_alone():
    slides = [replace(picture(number), findings=np.array([number % 2, 0])) for number in (0, 1)]
    settings = WholeSlideSettings(patch_px=32, patches_per_step=4)
    pictures = Pictures(slides=slides, settings=settings, side_px=128, has_blur=False)
    batch = next(pictures.patches(np.random.default_rng(0)))
    np.testing.assert_array_equal(batch.labels, [[1, -1], [0, -1]] * 2)
    whole = next(pictures.whole(np.random.default_rng(0)))
    np.testing.assert_array_equal(whole.labels, [[1, 0], [0, 0]] * 2)


def test_patches_hold_what_their_label_says():
    slides = [picture(number, side=(5, 9)) for number in range(4)]
    unknown = replace(slides[3], tumor=np.where(slides[3].tumor == 1, 1, -1).astype(np.int8))
    settings = WholeSlideSettings(patch_px=32, patches_per_step=6)
    pictures = Pictures(
        slides=[*slides[:3], unknown], settings=settings, side_px=144, has_blur=False
    )
    batches = pictures.patches(np.random.default_rng(0))
    for _ in range(5):
        batch = next(batches)
        assert batch.images.shape == (6, 32, 32, 3)
        is_dark = (batch.images.mean(axis=3) < 90).any(axis=(1, 2))
        np.testing.assert_array_equal(batch.labels[:, 0] == 1, is_dark)
        assert (batch.labels[::2, 0] == 1).all()
    whole = next(pictures.whole(np.random.default_rng(0)))
    assert whole.images.shape == (4, 144, 144, 3)
    assert whole.cells.sum(axis=(1, 2)).tolist() == [45] * 4
    np.testing.assert_array_equal(whole.labels[:, 0], [1, 0, 1, 0])
    np.testing.assert_array_equal((whole.images.mean(axis=3) < 90).any(axis=(1, 2)), [1, 0, 1, 0])


def test_a_third_of_the_pictures_is_blurred_and_a_third_sharpened():
    image = np.random.default_rng(1).integers(60, 200, (40, 56, 3)).astype(np.uint8)
    rng, contrast = np.random.default_rng(2), []
    for _ in range(90):
        changed = blur_or_sharpen(image, rng)
        assert changed.shape == image.shape
        contrast.append(changed.std() / image.std())
    blurred, sharp = np.mean(np.array(contrast) < 0.9), np.mean(np.array(contrast) > 1.1)
    assert 0.2 < blurred < 0.47
    assert 0.2 < sharp < 0.47


def test_a_curriculum_needs_outlined_tumour_and_both_classes():
    settings = WholeSlideSettings(steps=2, patch_px=32)
    normal = [picture(number) for number in (0, 2)]
    blind = replace(picture(1), tumor=np.full((5, 8), -1, np.int8))
    for slides, has_patches, words in (
        (normal, False, "no tumour one"),
        ([*normal, blind], True, "no outlined tumour"),
    ):
        with pytest.raises(SettingsError, match=words):
            next(
                train_whole_slides(
                    slides,
                    settings,
                    seed=0,
                    has_patches=has_patches,
                    has_blur=False,
                    side_px=128,
                )
            )


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
