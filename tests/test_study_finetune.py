"""Starts of a network that is fine-tuned: what the study trains, averages, compares and refuses."""

import shutil

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import ARCHITECTURES, WEIGHTS, ModelCard, build_network, hash_weights
from gigaslide.patching import tile_cohort
from gigaslide.storage import ModelError, Recipe, SettingsError
from gigaslide.study import FinetuneSettings, plan_study, run_study
from gigaslide.study.finetune.patches import PatchFolder
from gigaslide.training import FineTuneSettings, FineTuneStart, LabelledPatches, fine_tune
from gigaslide.training.network import reuse
from gigaslide.wsi import InputSpec
from test_study import quick_plots, table
from tiny_network import TINY
from training_store import TILES, tumor_slide

pytestmark = pytest.mark.slow

__all__ = ["quick_plots"]  # a fixture

QUICK = {
    "architecture": "compact",
    "steps": 2,
    "batch_size": 4,
    "folds": 2,
    "seeds": 1,
    "resamples": 100,
    "patches_per_slide": 6,
    "freeze": ("none",),
    "learning_rates": (0.01, 0.001),
}


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "compact", TINY)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Cohort, its store, and weights to begin with."""
    folder = tmp_path_factory.mktemp("made")
    slides = [tumor_slide(folder, name, seed, "train") for seed, name in enumerate("abcd")]
    for seed, name in enumerate("wxyz"):
        path = write_tiff(folder / f"{name}.tif", stained_slide(seed + 7))
        slides.append(CohortSlide(id=name, path=path, label="normal", patient=name, split="train"))
    cohort = Cohort.of_rows(slides)
    cohort.save(folder / "cohort.csv")
    tile_cohort(cohort, folder / "store", TILES, BatchSettings(workers=0))
    spec = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
    build_network("compact", spec).save_weights(folder / "start.weights.h5")
    return cohort, folder


def settings_of(folder, **changes) -> FinetuneSettings:
    starts = {"made": folder / "start.weights.h5"}
    return FinetuneSettings(**{"store": folder / "store", "starts": starts, **QUICK, **changes})


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    cohort, folder = made
    out = tmp_path_factory.mktemp("study") / "out"
    plan = plan_study(cohort, settings_of(folder))
    return plan, out, run_study(plan, out, BatchSettings(workers=0))


def test_every_scenario_of_every_start_is_a_row(finished):
    _, out, report = finished
    rows = table(out / "results.csv")
    assert len(rows) == 2 * 2 * 2  # starts, rates, folds
    assert {(row["learner"], row["freeze"], row["rate"]) for row in rows} == {
        (start, "none", rate) for start in ("made", "random") for rate in ("0.01", "0.001")
    }
    assert all(0 <= float(row["window_auc"]) <= 1 for row in rows)
    assert report.exit_status == 0


def test_a_start_is_the_mean_of_its_scenarios_and_is_compared_once(finished):
    _, out, report = finished
    points = table(out / "points.csv")
    for start in ("made", "random"):
        values = {
            (row["freeze"], row["rate"]): float(row["value"])
            for row in points
            if (row["learner"], row["figure"]) == (start, "window_auc")
        }
        whole = values.pop(("all", "all"))
        assert len(values) == 2
        assert whole == pytest.approx(np.mean(list(values.values())), abs=1e-6)
    (noise,) = [
        float(row["sd_over_seeds"])
        for row in points
        if (row["learner"], row["freeze"], row["figure"]) == ("made", "all", "window_auc")
    ]
    assert noise > 0
    (primary,) = [one for one in report.findings.comparisons if one.is_primary]
    assert primary.figure == "window_auc"
    assert (primary.first[0][1], primary.second[0][1]) == ("made", "random")
    assert "mean over 2 scenarios" in report.answer
    assert "made minus random" in report.answer
    assert "learns from" not in report.page.read_text()  # no start is a learner
    page = report.page.read_text()
    for words in ("no uncertainty about patients", "patches of 75 px", "study finetune"):
        assert words in page


def test_patches_of_a_study_are_those_of_the_store_without_margin(made):
    _, folder = made
    patches = PatchFolder(path=folder / "store", per_slide=6)
    found = patches.read("b")
    assert found.shape == (6, 75, 75, 3)
    stored = patches.store.read("b", "tumor", np.array([0, -1]))
    np.testing.assert_array_equal(found[0], stored[0, 4:-4, 4:-4])
    np.testing.assert_array_equal(found[2], stored[1, 4:-4, 4:-4])
    assert {name: len(rows) for name, rows in patches.choose({"normal": 9}).items()} == {
        "normal": 6
    }


def test_equal_seeds_give_equal_scores(made):
    _, folder = made
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 255, (8, 75, 75, 3), np.uint8)
    labels = np.arange(8) % 2
    spec = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
    settings = FineTuneSettings(architecture="compact", steps=2, batch_size=4)

    def train(seed: int, *, freeze: str = "towers", start=folder / "start.weights.h5"):
        examples = LabelledPatches(patches=patches, labels=labels, spec=spec)
        begun = FineTuneStart(weights=start, freeze=freeze, learning_rate=0.05)
        return fine_tune(examples, patches[:3], settings, start=begun, seed=seed)

    first = train(1)
    assert first.shape == (3,)
    assert np.abs(first - train(2)).max() > 1e-5
    np.testing.assert_array_equal(first, train(1))
    compile_again = reuse._compiled.cache_clear
    for start in (folder / "start.weights.h5", None):
        free = train(3, freeze="none", start=start)
        compile_again()
        np.testing.assert_array_equal(free, train(3, freeze="none", start=start))
    assert np.abs(first - train(1, freeze="none", start=None)).max() > 1e-5
    with pytest.raises(SettingsError, match="one class"):
        fine_tune(
            LabelledPatches(patches=patches, labels=np.ones(8, int), spec=spec),
            patches,
            settings,
            start=FineTuneStart(weights=None, freeze="none", learning_rate=0.1),
            seed=0,
        )


def test_what_a_study_of_starts_lacks_is_told(made):
    cohort, folder = made
    with pytest.raises(SettingsError, match="--store"):
        plan_study(cohort, settings_of(folder, store=None))
    with pytest.raises(SettingsError, match=r"--starts\.NAME"):
        plan_study(cohort, settings_of(folder, starts={}))
    with pytest.raises(ModelError, match="absent"):
        plan_study(cohort, settings_of(folder, starts={"a": folder / "absent.weights.h5"}))
    with pytest.raises(ValueError, match="'random' is no name"):
        settings_of(folder, starts={"random": folder})


@pytest.mark.parametrize("name", ["model", "model/model.weights.h5"])
def test_a_start_that_learnt_from_a_tested_patient_is_refused(made, tmp_path, name):
    cohort, folder = made
    model = tmp_path / "model"
    model.mkdir()
    shutil.copy(folder / "start.weights.h5", model / WEIGHTS)
    ModelCard(
        architecture="compact",
        input_spec=InputSpec(patch_px=75, centre_px=32, mpps=(0.5,)),
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(model),
    ).save(model)
    for slides, is_refused in ((("elsewhere",), False), (("elsewhere", "b"), True)):
        made_of = {"slides": {slide: {} for slide in slides}}
        Recipe(stage="train", settings={}, inputs=made_of).save(model / "recipe.json")
        settings = settings_of(folder, starts={"colon": tmp_path / name})
        if not is_refused:
            plan_study(cohort, settings)
            continue
        with pytest.raises(SettingsError, match="the start colon learnt from 1 of the test"):
            plan_study(cohort, settings)


def test_the_command_prints_a_plan(made, tmp_path, capsys):
    _, folder = made
    words = ["study", "finetune", str(folder / "cohort.csv"), str(tmp_path / "out"), "--plan"]
    words += ["--store", str(folder / "store"), "--folds", "2", "--seeds", "1"]
    words += ["--starts.made", str(folder / "start.weights.h5"), "--freeze", "none"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "patches of 75 px at 0.5 µm/px" in printed
    assert "8 cells" in printed
    assert "hours" in printed
