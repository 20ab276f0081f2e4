"""`gigaslide run` as a user types it: a whole small run, and what is checked before it begins."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import GOOD, SHORT, SMALL, write_cohort
from conftest import stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cli.stages.pipeline import run_stages
from gigaslide.cli.stages.run_settings import (
    RunSettings,
    check_cohort,
    check_files,
    with_mpp_of_slides,
    worst_status,
)
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import EvaluateSettings
from gigaslide.patching import TileSettings
from gigaslide.storage import SettingsError
from gigaslide.training.checkpoints.files import checkpoint_folder
from gigaslide.wsi import Heatmap


def test_fault_01_an_empty_file_never_stops_the_run(small_run):
    folder, _, status = small_run
    assert status == 2
    summary = (folder / "out" / "predictions" / "summary.csv").read_text()
    assert "broken,failed" in summary
    assert "not a slide" in summary
    assert {"report.html", "metrics.json"} <= {
        path.name for path in (folder / "out" / "report").iterdir()
    }
    assert "broken" in (folder / "out" / "report" / "report.html").read_text()


def test_predictions_hold_heatmap_picture_and_detections(small_run):
    predictions = small_run[0] / "out" / "predictions"
    heatmap = Heatmap.load(predictions / "t2" / "heatmap.zarr")
    assert heatmap.scored.sum() > 100
    assert {path.name for path in (predictions / "t2").iterdir()} == {
        "heatmap.zarr",
        "heatmap.png",
        "detections.csv",
        "recipe.json",
    }
    assert (predictions / "detections.csv").read_text().startswith("slide,x,y,probability,")


def test_fault_13_and_51_markup_in_the_cohort_is_only_text(small_run):
    page = (small_run[0] / "out" / "report" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_a_second_run_skips_every_stage(small_run, capsys):
    folder, command, _ = small_run
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "model").iterdir()}
    heatmap = folder / "out" / "predictions" / "t2" / "recipe.json"
    made = heatmap.stat().st_mtime_ns
    assert main(command) == 2
    shown = capsys.readouterr().out
    assert "train     unchanged" in shown
    assert "evaluate  unchanged" in shown
    assert "3 skipped" in shown
    assert "operating threshold 0.5, not chosen: 1 tumour and 0 normal validation slides" in shown
    for line in ("tile: this process", "train: this machine", "predict: ", "evaluate: "):
        assert line in shown
    assert before == {
        path: path.stat().st_mtime_ns for path in (folder / "out" / "model").iterdir()
    }
    assert heatmap.stat().st_mtime_ns == made


def test_stages_one_by_one_say_the_same(small_run, capsys):
    folder, _, _ = small_run
    out = folder / "out"
    cohort = str(folder / "cohort.csv")
    assert main(["tile", cohort, str(out / "store"), *SMALL]) == 0
    assert "0 done, 2 skipped" in capsys.readouterr().out
    assert (
        main(
            [
                "train",
                str(out / "store"),
                str(out / "model"),
                *[o.replace("train.", "") for o in SHORT],
            ]
        )
        == 0
    )
    assert "unchanged" in capsys.readouterr().out
    words = ["predict", str(folder / "t2.tif"), str(out / "model"), str(out / "alone")]
    assert main([*words, "--orientations", "1", "--allow-tumor-on-glass"]) == 0
    alone = Heatmap.load(out / "alone" / "t2" / "heatmap.zarr").probability
    assert (
        alone.tobytes()
        == Heatmap.load(out / "predictions" / "t2" / "heatmap.zarr").probability.tobytes()
    )


@pytest.mark.parametrize(
    ("statuses", "expected"), [([0, 0], 0), ([0, 2], 2), ([2, 0, 1], 1), ([1, 2], 1), ([2, 2], 2)]
)
def test_the_worst_status_is_1(statuses, expected):
    assert worst_status(statuses) == expected


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (GOOD[:2], {}, "the split test, so there is nothing to evaluate"),
        (GOOD[1:], {}, "no tumor slide in train to tile"),
        (
            ["t0.tif,,tumor,a,train,", "n.tif,,normal,b,validation,", GOOD[2]],
            {},
            "no tumor slide in validation",
        ),
        (["t.tif,,tumor,a,,"], {}, "no tumor slide in train and none in validation"),
        (
            GOOD,
            {"evaluate": EvaluateSettings(split="train")},
            "the split train, so there is nothing to evaluate",
        ),
        ([*GOOD[:2], "t2.tif,,,c,test,"], {}, "has a label"),
    ],
)
def test_a_cohort_that_lacks_a_stage_s_slides_is_refused_before_any_work(
    rows, options, words, tmp_path
):
    cohort = Cohort.load(write_cohort(tmp_path, rows))
    with pytest.raises(SettingsError, match=words):
        run_stages(cohort, tmp_path / "out", RunSettings(**options), BatchSettings())
    assert not (tmp_path / "out").exists()
    check_cohort(Cohort.load(write_cohort(tmp_path, GOOD)), RunSettings())


def test_a_cohort_is_refused_without_waiting_for_keras(tmp_path):
    cohort = write_cohort(tmp_path, GOOD[:2])
    code = (
        f"import sys; from gigaslide.cli import main; status = main(['run', {str(cohort)!r}, "
        "'nowhere']);sys.exit(10 * status + bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 10, done.stderr
    assert "the split test, so there is nothing to evaluate" in done.stderr


def test_files_that_do_not_exist_are_told_before_any_work(small_run, tmp_path, caplog):
    folder = small_run[0]
    rows = [
        f"{folder}/t{n}.tif,{folder}/t{n}.geojson,tumor,{n},{split},"
        for n, split in ((0, "train"), (1, "validation"), (2, "test"))
    ]
    rows += ["gone.tif,,normal,g,test,", f"{folder}/n <script>.tif,away.xml,normal,n,test,"]
    cohort = Cohort.load(write_cohort(tmp_path, rows))
    check_files(cohort, RunSettings())
    (told,) = caplog.messages
    assert told.startswith("2 files ")
    assert str(tmp_path / "gone.tif") in told
    assert "away.xml" in told
    assert "t0" not in told
    rows = [*rows[:2], "gone.tif,,normal,g,test,", "lost.tif,x.xml,tumor,h,test,"]
    cohort = Cohort.load(write_cohort(tmp_path, rows))
    with pytest.raises(SettingsError, match=r"exists: .*gone\.tif, .*lost\.tif"):
        run_stages(cohort, tmp_path / "out", RunSettings(), BatchSettings())
    assert not (tmp_path / "out").exists()


def test_run_into_a_bucket_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(write_cohort(tmp_path, [])), "s3://bucket/out"]) == 1
    assert "run writes to a folder" in capsys.readouterr().err
    assert not Path("s3:").exists()


def test_without_mpp_a_run_takes_that_of_the_coarsest_slide(tmp_path):
    rows = [
        CohortSlide(
            id=f"s{number}",
            path=write_tiff(tmp_path / f"s{number}.tif", stained_slide(number), mpp=mpp),
            label="normal",
            split=split,
        )
        for number, (mpp, split) in enumerate([(0.3, "train"), (0.5, "test"), (5.0, "test")])
    ]
    rows.append(CohortSlide(id="gone", path=tmp_path / "gone.tif", split="train"))
    cohort = Cohort.of_rows(rows)
    chosen = with_mpp_of_slides(cohort, RunSettings())
    assert (chosen.tile.mpp, chosen.tile.patch_px) == (0.5, 299)
    fine = with_mpp_of_slides(Cohort.of_rows([rows[0]]), RunSettings())
    assert fine.tile.mpp == 0.3
    for given in (RunSettings(mpp=0.4), RunSettings(tile=TileSettings(mpp=0.4))):
        assert with_mpp_of_slides(cohort, given).tile.mpp == 0.4


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--train.initial-weights", "mistyped.weights.h5"], "mistyped.weights.h5"),
        (["--train.initial-weights", "mistyped.weights.h5", "--members", "2"], "mistyped"),
        (["--train.initial-weights", "imagenet"], "efficientnet_lite0"),
    ],
)
def test_initial_weights_that_do_not_exist_are_told_before_tiling(
    options, fact, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    write_cohort(tmp_path, GOOD)
    assert main(["run", "cohort.csv", "out", *options]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert fact in line
    assert not (tmp_path / "out").exists()


def test_mistyped_weights_are_told_without_waiting_for_keras(tmp_path):
    write_cohort(tmp_path, GOOD)
    words = ["run", "cohort.csv", "out", "--train.initial-weights", "mistyped.weights.h5"]
    code = (
        f"import sys; from gigaslide.cli import main; status = main({words!r});"
        "sys.exit(10 * status + bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 10, done.stderr


def test_a_training_that_has_begun_needs_its_initial_weights_no_more(tmp_path, monkeypatch, capfd):
    """The run says so, and goes on to the next check, of the slides' files."""
    monkeypatch.chdir(tmp_path)
    write_cohort(tmp_path, GOOD)
    step = checkpoint_folder(tmp_path / "out" / "model") / "step_00000002"
    step.mkdir(parents=True)
    (step / "recipe.json").write_text(
        '{"stage": "train", "settings": {}, "inputs": {"initial_weights": "ab"}, "made_with": {}}'
    )
    assert main(["run", "cohort.csv", "out", "--train.initial-weights", "gone.weights.h5"]) == 1
    warning, error = capfd.readouterr().err.splitlines()
    assert warning.startswith("WARNING: gone.weights.h5")
    assert "step_00000002 began" in warning
    assert "t2.tif" in error


@pytest.mark.parametrize("given", [None, False])
def test_a_run_goes_on_with_a_model_that_calls_glass_tumor_unless_told_not_to(given):
    predict = {} if given is None else {"allow_tumor_on_glass": given}
    settings = RunSettings.model_validate({"predict": predict})
    assert settings.predict.allow_tumor_on_glass is (given is None)
