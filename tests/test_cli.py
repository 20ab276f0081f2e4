"""The command as a user types it: statuses, one-line errors, settings from options and YAML, a whole small run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TUMOR_RINGS, geojson, stained_slide, write_tiff
from gigaslide.cli import main
from gigaslide.wsi import Heatmap

SMALL = ["--mpp", "0.5", "--patch-px", "75", "--centre-px", "32", "--margin-px", "8", "--batch.workers", "0"]
SHORT = ["--train.examples", "64", "--train.batch", "16", "--train.validation-patches", "32"]


def write_cohort(folder: Path, rows: list[str]) -> Path:
    (folder / "cohort.csv").write_text("slide,annotation,label,patient,split,mpp\n" + "\n".join(rows) + "\n")
    return folder / "cohort.csv"


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Five slides, one of them empty, through every stage."""
    folder = tmp_path_factory.mktemp("run")
    for number in range(3):
        write_tiff(folder / f"t{number}.tif", stained_slide(number))
        (folder / f"t{number}.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    write_tiff(folder / "n <script>.tif", stained_slide(7))
    (folder / "broken.tif").write_bytes(b"")
    rows = [
        "t0.tif,t0.geojson,tumor,a,train,",
        "t1.tif,t1.geojson,tumor,b,validation,",
        "t2.tif,t2.geojson,tumor,c,test,",
        '"n <script>.tif",,normal,d,test,',
        "broken.tif,,normal,e,test,",
    ]
    cohort = write_cohort(folder, rows)
    command = ["run", str(cohort), str(folder / "out"), *SMALL, *SHORT, "--evaluate.resamples", "50"]
    return folder, command, main(command)


def test_fault_01_an_empty_file_never_stops_the_run(small_run):
    folder, _, status = small_run
    assert status == 2
    summary = (folder / "out" / "predictions" / "summary.csv").read_text()
    assert "broken,failed" in summary
    assert "not a slide" in summary
    assert {"report.html", "metrics.json"} <= {path.name for path in (folder / "out" / "report").iterdir()}
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
    assert (predictions / "detections.csv").read_text().startswith("slide,x,y,probability\n")


def test_fault_13_and_51_markup_in_a_slide_name_is_only_text(small_run):
    page = (small_run[0] / "out" / "report" / "report.html").read_text()
    assert "n <script>" not in page


def test_a_second_run_skips_every_stage(small_run, capsys):
    folder, command, _ = small_run
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "model").iterdir()}
    heatmap = folder / "out" / "predictions" / "t2" / "recipe.json"
    made = heatmap.stat().st_mtime_ns
    assert main(command) == 2
    told = capsys.readouterr().out
    assert "train     unchanged" in told
    assert "2 skipped" in told
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out" / "model").iterdir()}
    assert heatmap.stat().st_mtime_ns == made


def test_stages_one_by_one_say_the_same(small_run, capsys):
    folder, _, _ = small_run
    out = folder / "out"
    cohort = str(folder / "cohort.csv")
    assert main(["tile", cohort, str(out / "store"), *SMALL]) == 0
    assert "0 done, 2 skipped" in capsys.readouterr().out
    assert main(["train", str(out / "store"), str(out / "model"), *[o.replace("train.", "") for o in SHORT]]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert main(["predict", str(out / "model"), str(out / "alone"), str(folder / "t2.tif")]) == 0
    alone = Heatmap.load(out / "alone" / "t2" / "heatmap.zarr").probability
    assert alone.tobytes() == Heatmap.load(out / "predictions" / "t2" / "heatmap.zarr").probability.tobytes()


def test_settings_come_from_yaml_and_options_win(tmp_path, capsys):
    config = tmp_path / "settings.yaml"
    config.write_text("phantom:\n  slides: 3\n  size_px: 500\n  mpp: 1.0\n")
    arguments = ["phantom", str(tmp_path / "out"), "--config", str(config), "--slides", "2", "--batch.workers", "0"]
    assert main(arguments) == 0
    assert "2 slides: 2 done" in capsys.readouterr().out
    config.write_text("phantom:\n  slices: 3\n")
    assert main(["phantom", str(tmp_path / "out2"), "--config", str(config)]) == 1
    assert "slices" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["tile", "nowhere.csv", "store"], "nowhere.csv"),
        (["train", "nowhere", "model"], "gigaslide tile"),
        (["predict", "nowhere", "out", "nowhere.tif"], "not a model folder"),
        (["evaluate", "nowhere.csv", "p", "r"], "nowhere.csv"),
        (["cohort", "nowhere"], "nowhere"),
        (["tile", "--patch-px", "ten"], "ten"),
    ],
)
def test_wrong_input_is_one_clear_line_and_status_1(command, words, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    told = capfd.readouterr()
    assert words in told.err + told.out
    assert "Traceback" not in told.err
    assert not list(tmp_path.iterdir())


def test_fault_08_missing_spacing_says_how_to_give_it(tmp_path, capsys):
    write_tiff(tmp_path / "t.tif", stained_slide(1), mpp=None)
    (tmp_path / "t.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    cohort = write_cohort(tmp_path, ["t.tif,t.geojson,tumor,a,train,"])
    assert main(["tile", str(cohort), str(tmp_path / "store"), *SMALL]) == 1
    told = capsys.readouterr().out
    assert "t.tif" in told
    assert "mpp column" in told
    assert "--slide-mpp" in told
    assert main(["tile", str(cohort), str(tmp_path / "store"), *SMALL, "--slide-mpp", "0.5"]) == 0
    recipe = json.loads((tmp_path / "store" / "t" / "zarr.json").read_text())["attributes"]["recipe"]
    assert recipe["settings"]["slide_mpp"] == 0.5


def test_cohort_proposes_a_table_that_tile_takes(tmp_path, capsys, monkeypatch):
    write_tiff(tmp_path / "in" / "A.tif", stained_slide(1))
    (tmp_path / "in" / "a.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    monkeypatch.chdir(tmp_path)
    assert main(["cohort", "in"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("slide,annotation,label,patient,split,mpp\nin/A.tif,in/a.geojson,tumor,")


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys; from gigaslide.cli import main; main(['--help']);"
        "heavy = {'tensorflow', 'keras', 'dask', 'openslide', 'pandas', 'zarr', 'cv2'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("demo", "phantom", "cohort", "tile", "train", "predict", "evaluate", "run"):
        assert name in done.stdout


@pytest.mark.parametrize("name", ["demo", "phantom", "cohort", "tile", "train", "predict", "evaluate", "run"])
def test_every_command_explains_its_options(name, capsys):
    assert main([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"gigaslide {name}" in told
    if name in ("tile", "predict", "run"):
        assert "µm/px" in told
