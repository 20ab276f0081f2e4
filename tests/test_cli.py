"""The command as a user types it: statuses, one-line errors, settings from options and YAML, a
whole small run."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import (
    TUMOR_RINGS,
    geojson,
    position_coded,
    stained_slide,
    tile_place,
    write_tiff,
)
from gigaslide.batch import BatchSettings, BatchSummary, SlideOutcome, describe_workers
from gigaslide.batch.stop import Stopped
from gigaslide.cli import main
from gigaslide.cli.demo import demo_settings
from gigaslide.cli.run_settings import (
    STAGES,
    RunSettings,
    check_cohort,
    check_files,
    with_mpp_of_slides,
    worst_status,
)
from gigaslide.cli.stages import WindowsToPredict, run_stages
from gigaslide.cli.tables import print_metrics, print_summary, print_table
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import EvaluateSettings
from gigaslide.inference import PredictSettings
from gigaslide.patching import PatchStore, TileSettings
from gigaslide.phantom import plan_cohort
from gigaslide.storage import SettingsError
from gigaslide.wsi import Detections, Heatmap, TissueSettings

HERE = ["--workers", "0"]
SMALL = ["--mpp", "0.5", "--patch-px", "75", "--centre-px", "32", "--margin-px", "8", *HERE]
SMALL_RUN = [
    *("--mpp", "0.5", "--tile.patch-px", "75", "--tile.centre-px", "32", "--tile.margin-px", "8"),
    *HERE,
]
SHORT = ["--train.examples", "64", "--train.batch-size", "16", "--train.validation-patches", "32"]


def write_cohort(folder: Path, rows: list[str]) -> Path:
    (folder / "cohort.csv").write_text(
        "slide,annotation,label,patient,split,mpp\n" + "\n".join(rows) + "\n"
    )
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
        '"n <script>.tif",,normal,<script>alert(1)</script>,test,',
        "broken.tif,,normal,e,test,",
    ]
    cohort = write_cohort(folder, rows)
    quick = ["--predict.orientations", "1", "--evaluate.resamples", "50"]
    options = [*SMALL_RUN, *SHORT, *quick]
    command = ["run", str(cohort), str(folder / "out"), *options]
    return folder, command, main(command)


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
    assert (predictions / "detections.csv").read_text().startswith("slide,x,y,probability\n")


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
    assert main([*words, "--orientations", "1"]) == 0
    alone = Heatmap.load(out / "alone" / "t2" / "heatmap.zarr").probability
    assert (
        alone.tobytes()
        == Heatmap.load(out / "predictions" / "t2" / "heatmap.zarr").probability.tobytes()
    )


def test_settings_come_from_yaml_and_options_win(tmp_path, capsys):
    config = tmp_path / "settings.yaml"
    config.write_text("phantom:\n  slides: 3\n  size_px: 500\n  mpp: 1.0\n")
    arguments = [
        "phantom",
        str(tmp_path / "out"),
        "--config",
        str(config),
        "--slides",
        "2",
        *HERE,
    ]
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
        (["predict", "nowhere.tif", "nowhere", "out"], "not a model folder"),
        (["evaluate", "nowhere.csv", "p", "r"], "nowhere.csv"),
        (["cohort", "nowhere"], "nowhere"),
        (["tile"], "COHORT is missing"),
        (["tile", "c", "s", "--patch-px", "ten"], "--patch-px: expected a valid integer, got ten"),
        (
            ["tile", "c", "s", "--patch-px", "60"],
            "--patch-px: expected greater than or equal to 75, got 60",
        ),
        (["tile", "c", "s", "--tissue.mpp", "-2"], "--tissue.mpp: expected greater than 0, got -2"),
        (["tile", "c", "s", "--centre-px", "400"], "centre_px 400 is larger than patch_px 299"),
        (["demo", "d", "--seed", "-1"], "seed: expected greater than or equal to 0, got -1"),
        (["phantom", "p", "--config", "nope.yaml"], "--config nope.yaml: no such file"),
        (["phantom", "p", "--config", "."], "--config .: no such file"),
    ],
)
def test_wrong_input_is_one_clear_line_and_status_1(command, words, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    shown = capfd.readouterr()
    assert words in shown.err + shown.out
    assert "Traceback" not in shown.err
    assert "pydantic" not in shown.err
    assert "function-after" not in shown.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("phantom:\n  slides: -3\n", "slides: expected greater than or equal to 1, got -3"),
        ("phantom:\n  slides: many\n", "slides: expected a valid integer, got many"),
        ("phantom:\n  slides: [\n", "line 3: cannot be read as YAML"),
        ("- phantom\n", "expected a section for each command, got a list"),
        ("phantum:\n  slides: 3\n", "no command is called phantum"),
    ],
)
def test_a_wrong_yaml_file_is_named_with_its_fault(text, words, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(text)
    assert main(["phantom", "out", "--config", "s.yaml"]) == 1
    shown = capfd.readouterr().err
    assert "s.yaml" in shown
    assert words in shown
    assert "pydantic" not in shown
    assert "Traceback" not in shown
    assert not Path("out").exists()


def test_an_output_that_cannot_be_made_is_one_line(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("")
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["phantom", "FILE/x", "--slides", "1", "--size-px", "300", *HERE]) == 1
    shown = capfd.readouterr().err
    assert "gigaslide: FILE/x: Not a directory; give another path" in shown
    assert "Traceback" not in shown


def test_fault_08_missing_spacing_says_how_to_give_it(tmp_path, capsys):
    write_tiff(tmp_path / "t.tif", stained_slide(1), mpp=None)
    (tmp_path / "t.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    cohort = write_cohort(tmp_path, ["t.tif,t.geojson,tumor,a,train,"])
    assert main(["tile", str(cohort), str(tmp_path / "store"), *SMALL]) == 1
    shown = capsys.readouterr().out
    assert "t.tif" in shown
    assert "mpp column" in shown
    assert "--slide-mpp" in shown
    assert main(["tile", str(cohort), str(tmp_path / "store"), *SMALL, "--slide-mpp", "0.5"]) == 0
    recipe = json.loads((tmp_path / "store" / "t" / "zarr.json").read_text())["attributes"][
        "recipe"
    ]
    assert recipe["settings"]["slide_mpp"] == 0.5


def test_cohort_proposes_a_table_that_tile_takes(tmp_path, capsys, monkeypatch):
    write_tiff(tmp_path / "in" / "A.tif", stained_slide(1))
    (tmp_path / "in" / "a.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    monkeypatch.chdir(tmp_path)
    header = "slide,annotation,label,patient,split,mpp,exhaustive\n"
    for words in (["in"], ["in", "-"], ["--dir", "in"], ["in", "--verbose"]):
        assert main(["cohort", *words]) == 0
        assert capsys.readouterr().out.startswith(header + "in/A.tif,in/a.geojson,tumor,")
    assert main(["cohort", "in", "in/cohort.csv"]) == 0
    assert Path("in/cohort.csv").read_text().startswith(header + "A.tif,a.geojson,tumor,")
    Path("in/cohort.csv").write_text("edited")
    assert main(["cohort", "in", "in/cohort.csv"]) == 1
    assert "in/cohort.csv: exists" in capsys.readouterr().err
    assert Path("in/cohort.csv").read_text() == "edited"


def predicted_cohort(monkeypatch, *words: str) -> Cohort:
    seen = []
    monkeypatch.setattr("gigaslide.cli.predict.predict_stage", lambda *some: seen.append(some) or 0)
    assert main(["predict", *words]) == 0
    assert seen[0][1:3] == (Path("model"), Path("out"))
    return seen[0][0]


def test_a_tilde_that_no_shell_expanded_is_the_home_folder(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    write_tiff(home / "slides" / "a.tif", position_coded(300, 200))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(home))
    assert main(["cohort", "~/slides", "~/c.csv"]) == 0
    assert main(["cohort", "~/slides", "--cohort=~/d.csv"]) == 0
    assert (home / "c.csv").read_text() == (home / "d.csv").read_text()
    (home / "e.csv").write_text("slide,annotation\n~/slides/a.tif,~/a.xml\n~none/b.tif,\n")
    first, second = Cohort.load(home / "e.csv")
    assert (first.path, first.annotation) == (home / "slides" / "a.tif", home / "a.xml")
    assert second.path == home / "~none" / "b.tif"  # no such user
    files = "tls_ca_file: ~/ca, tls_cert_file: ~/cert, tls_key_file: ~/key"
    (home / "s.yaml").write_text(f"tile: {{scheduler: tls://a:1, {files}}}\n")
    capsys.readouterr()
    words = ["tile", "~/c.csv", "~/store", "--mpp", "1", "--config", "~/s.yaml", "--dry-run"]
    assert main(words) == 0
    assert f"tls_ca_file: {home}/ca\n" in capsys.readouterr().out
    assert not list(Path().iterdir())


def test_from_python_a_tilde_is_a_letter_throughout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = Path("~") / "d.csv"
    Detections.of_slide("s", np.array([[3.0, 5]]), np.array([0.5])).save(path)
    assert Detections.load(path).x.tolist() == [3]
    BatchSummary(outcomes=(SlideOutcome(slide="s", status="done"),)).save(Path("~"))
    assert sorted(one.name for one in (tmp_path / "~").iterdir()) == ["d.csv", "summary.csv"]
    assert not (tmp_path / "home").exists()


def test_predict_takes_a_cohort_a_slide_or_a_folder_of_slides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.svs", "a.xml", "notes.txt"):
        (tmp_path / "slides" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "slides" / name).touch()
    cohort = predicted_cohort(monkeypatch, "slides", "model", "out")
    assert [slide.id for slide in cohort] == ["a", "b"]
    assert not cohort.has_splits  # every slide is predicted, whatever its proposed split
    options = ["--model", "model", "--predictions", "out", "--slides", "slides/b.svs"]
    assert [slide.id for slide in predicted_cohort(monkeypatch, *options)] == ["b"]
    for place in ("slides/image.zarr", "s3://bucket/image.svs"):
        (tmp_path / "slides" / "image.zarr").mkdir(exist_ok=True)
        assert [slide.id for slide in predicted_cohort(monkeypatch, place, "model", "out")] == [
            "image"
        ]
    write_cohort(tmp_path, ["slides/a.tif,,normal,p,train,"])
    assert predicted_cohort(monkeypatch, "cohort.csv", "model", "out").has_splits


def test_a_model_where_predict_expects_slides_is_told_the_order(small_run, tmp_path, capsys):
    folder = small_run[0]
    model = str(folder / "out" / "model")
    assert main(["predict", model, str(tmp_path / "out"), str(folder / "t2.tif")]) == 1
    shown = capsys.readouterr().err
    assert model in shown
    assert "SLIDES MODEL PREDICTIONS" in shown
    assert not list(tmp_path.iterdir())


def test_shared_settings_reach_every_stage_that_has_them():
    grey = TissueSettings(method="grey")
    settings = RunSettings(
        mpp=0.4,
        slide_mpp=0.25,
        allow_upsampling=True,
        tissue=grey,
        min_tissue=0.3,
        groups={"Krebs": "tumor"},
        seed=3,
        predict=PredictSettings(threshold=0.7),
    )
    tile, predict, evaluate = settings.tile, settings.predict, settings.evaluate
    for stage in (tile, predict):
        assert (stage.slide_mpp, stage.allow_upsampling) == (0.25, True)
        assert (stage.tissue, stage.min_tissue) == (grey, 0.3)
    assert predict.threshold == 0.7
    assert tile.mpp == 0.4
    assert (tile.groups, evaluate.groups) == ({"Krebs": "tumor"}, {"Krebs": "tumor"})
    assert (tile.seed, evaluate.seed, settings.train.seed) == (3, 3, 3)


def test_a_setting_of_a_stage_wins_even_where_it_is_the_default():
    settings = RunSettings(
        min_tissue=0.3,
        slide_mpp=0.25,
        seed=3,
        tissue=TissueSettings(method="grey"),
        predict=PredictSettings(min_tissue=0.5, tissue={"mpp": 4}),
        evaluate=EvaluateSettings(seed=0),
    )
    assert (settings.predict.min_tissue, settings.predict.slide_mpp) == (0.5, 0.25)
    assert settings.predict.tissue == TissueSettings(method="grey", mpp=4)
    assert (settings.evaluate.seed, settings.train.seed) == (0, 3)


def test_shared_settings_have_the_defaults_of_every_stage():
    shared = {name: getattr(RunSettings(), name) for name in RunSettings.model_fields}
    shared = {name: value for name, value in shared.items() if name not in STAGES}
    assert RunSettings(**shared).model_dump() == RunSettings().model_dump()


def test_run_passes_what_was_given_on_the_command_line(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "gigaslide.cli.run.run_stages", lambda cohort, out, plan, batch: seen.append(plan) or 0
    )
    cohort = str(write_cohort(tmp_path, ["t.tif,,tumor,a,train,"]))
    options = [
        "--groups.Krebs",
        "tumor",
        "--slide-mpp",
        "0.25",
        "--tissue.method",
        "grey",
        "--min-tissue",
        "0.3",
    ]
    stage = [
        "--allow-upsampling",
        "--seed",
        "3",
        "--predict.min-tissue",
        "0.5",
        "--train.seed",
        "0",
    ]
    assert main(["run", cohort, str(tmp_path / "out"), *options, *stage]) == 0
    predict, evaluate = seen[0].predict, seen[0].evaluate
    assert (predict.slide_mpp, predict.allow_upsampling, predict.tissue.method) == (
        0.25,
        True,
        "grey",
    )
    assert predict.min_tissue == 0.5
    assert (evaluate.groups, evaluate.seed, seen[0].train.seed) == ({"Krebs": "tumor"}, 3, 0)


@pytest.mark.parametrize(
    ("statuses", "expected"), [([0, 0], 0), ([0, 2], 2), ([2, 0, 1], 1), ([1, 2], 1), ([2, 2], 2)]
)
def test_the_worst_status_is_1(statuses, expected):
    assert worst_status(statuses) == expected


GOOD = ["t0.tif,,tumor,a,train,", "t1.tif,,tumor,b,validation,", "t2.tif,,tumor,c,test,"]


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (GOOD[:2], {}, "the split to evaluate, test"),
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
            "the split to evaluate, train",
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
    assert "the split to evaluate, test" in done.stderr


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


def test_a_scale_that_no_scanner_has_is_told_by_every_stage_that_runs_alone(tmp_path, capfd):
    write_tiff(tmp_path / "off.tif", stained_slide(1), mpp=0.05)
    cohort = write_cohort(tmp_path, ["off.tif,,normal,a,train,"])
    for _ in range(2):  # the second time nothing is made
        main(["tile", str(cohort), str(tmp_path / "store"), *SMALL])
        assert capfd.readouterr().err.count("0.05 µm/px at level 0") == 1


def test_a_slide_that_lost_many_tiles_has_one_line(tmp_path, capfd):
    path = write_tiff(tmp_path / "torn.tif", stained_slide(1), tile_px=64)
    content = bytearray(path.read_bytes())
    for place in range(24 * 7, 24 * 9):  # two rows of tiles
        start, length = tile_place(path, place)
        content[start : start + length] = b"\x55" * length
    path.write_bytes(content)
    cohort = write_cohort(tmp_path, ["torn.tif,,normal,a,train,"])
    words = ["tile", str(cohort), str(tmp_path / "store"), *SMALL[:-1], "2"]  # workers
    assert main(words) == 2
    said = capfd.readouterr()
    assert said.err.count("cannot decode") == 1
    assert said.out.count("partial: torn") == 1


def test_slides_without_tissue_are_named_in_one_line(capsys):
    outcomes = [
        SlideOutcome(slide=f"glass{n}", status=status, reason=reason, counts={"normal": 0})
        for n, (status, reason) in enumerate(
            [("done", "no tissue"), ("skipped", "unchanged; no tissue")]
        )
    ]
    outcomes.append(SlideOutcome(slide="good", status="done", counts={"normal": 3}))
    print_summary("tile", BatchSummary(outcomes=tuple(outcomes)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["2", "slides", "without", "tissue:", "glass0,", "glass1"]


@pytest.mark.parametrize("quick", [False, True])
def test_the_demo_keeps_the_papers_sizes_and_one_seed(quick):
    phantoms, plan = demo_settings(5, quick=quick)
    assert (plan.tile.patch_px, plan.tile.centre_px, plan.tile.mpp) == (139, 64, phantoms.mpp)
    assert {phantoms.seed, plan.tile.seed, plan.train.seed, plan.evaluate.seed} == {5}
    rows = [
        CohortSlide(
            id=p.id, path=Path(f"{p.id}.tif"), label=p.label, patient=p.patient, split=p.split
        )
        for p in plan_cohort(phantoms)
    ]
    check_cohort(Cohort.of_rows(rows), plan)


def test_a_phantom_that_failed_counts_in_the_demo(tmp_path, monkeypatch):
    summary = BatchSummary(
        outcomes=(
            SlideOutcome(slide="p", status="done"),
            SlideOutcome(slide="q", status="failed", reason="disk"),
        )
    )
    cohort = write_cohort(tmp_path, GOOD)
    monkeypatch.setattr("gigaslide.cli.demo.phantom_stage", lambda *_: (cohort, summary))
    monkeypatch.setattr("gigaslide.cli.demo.run_stages", lambda *_: 0)
    assert main(["demo", str(tmp_path / "out")]) == 2


def a_figure(value: float | None = 0.5, low: float | None = None, **more) -> dict:
    high = None if low is None else low + 0.25
    return {"value": value, "low": low, "high": high, **more}


def some_metrics(models: list[str]) -> dict:
    rates = {"0.25": a_figure(0.125, 0.0), "8": a_figure(1.0, note="no spread")}
    froc = {"score": a_figure(0.75, 0.5), "sensitivity_at_false_positives_per_slide": rates}
    return {
        "models": models,
        "patch_auc": a_figure(None, undefined="no patches"),
        "slide_auc": a_figure(1.0, note="no spread"),
        "froc": {"gigaslide": froc},
        "settings": {"confidence": 0.95},
        "operating_point": {
            "threshold": 0.25,
            "origin": "",
            "tumor_slides": 3,
            "tumor_slides_called": 2,
            "normal_slides": 4,
            "normal_slides_called": 1,
        },
    }


def test_metrics_are_a_table_with_numbers_to_the_right(capsys):
    print_metrics(some_metrics(["abc"]))
    header, *rows, calls = capsys.readouterr().out.splitlines()
    assert calls.endswith("from 0.25 on: 2 of 3 tumour slides, 1 of 4 normal slides")
    assert header.split() == ["figure", "value", "95%", "interval"]
    end = header.index("value") + len("value")
    assert [row[end - 5 : end].strip() for row in rows] == ["–", "1.000", "0.750", "0.125", "1.000"]
    assert rows[0].endswith("not defined: no patches")
    assert rows[1].endswith("no spread")
    assert rows[2].endswith("0.500 to 0.750")
    assert rows[4].endswith("1.000")
    assert not [row for row in rows if row != row.rstrip()]


def test_predictions_of_two_models_are_named(capsys):
    print_metrics(some_metrics(["abc"]))
    assert "models" not in capsys.readouterr().out
    print_metrics(some_metrics(["abc", "def"]))
    assert "2 different models: abc, def" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 140])
def test_a_table_fits_a_terminal_and_is_whole_in_a_pipe(width, monkeypatch):
    table = pd.DataFrame(
        {"slide": ["a" * 90, "b"], "patches": [12345, 7], "share": [0.5, float("nan")], "n": "x y"}
    )
    for is_terminal in (True, False):
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda is_terminal=is_terminal: is_terminal)
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "dumb")
        print_table(table)
        lines = out.getvalue().splitlines()
        if is_terminal:
            assert max(map(len, lines)) <= width
            assert "".join(line.split(" ")[0] for line in lines[1:]) == "a" * 90 + "b"
        else:
            assert len(lines) == 3
            assert lines[1].split() == ["a" * 90, "12345", "0.5", "x", "y"]
            assert lines[2].split() == ["b", "7", "x", "y"]


def test_choices_among_numbers_are_taken_as_words(tmp_path, capsys):
    arguments = ["--slides", "1", "--size-px", "400", "--tile-px", "128", *HERE]
    assert main(["phantom", str(tmp_path / "out"), *arguments]) == 0
    assert main(["predict", "s.tif", "nowhere", str(tmp_path / "p"), "--orientations", "1"]) == 1
    assert "not a model folder" in capsys.readouterr().err
    assert main(["predict", "s.tif", "nowhere", str(tmp_path / "p"), "--orientations", "3"]) == 1
    shown = capsys.readouterr()
    assert "1 or 8" in shown.err + shown.out


@pytest.mark.parametrize(
    ("options", "at_most", "words"),
    [
        ({"workers": 0}, 5, "this process"),
        ({"workers": 8}, 5, "5 processes on this machine"),
        ({"workers": 1}, None, "1 process on this machine"),
        ({"cluster": "slurm"}, 5, "jobs of Slurm"),
        ({"cluster": "pbs", "queue": "long"}, None, "jobs of PBS, queue long"),
        ({"scheduler": "tcp://h:1"}, 5, "workers of the Dask at tcp://h:1"),
    ],
)
def test_a_stage_says_where_it_runs(options, at_most, words):
    assert describe_workers(BatchSettings(**options), at_most=at_most) == words


def test_run_into_a_bucket_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(write_cohort(tmp_path, [])), "s3://bucket/out"]) == 1
    assert "run writes to a folder" in capsys.readouterr().err
    assert not Path("s3:").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_fault_36_a_stopped_command_says_how_to_go_on(
    tmp_path, monkeypatch, capsys, number, status
):
    def stopped(*_):
        raise Stopped(number)

    monkeypatch.setattr("gigaslide.cli.tile.Cohort.load", stopped)
    assert main(["tile", str(write_cohort(tmp_path, [])), str(tmp_path / "store")]) == status
    assert "run the same command again" in capsys.readouterr().err


def test_a_store_without_finished_slides_and_none_at_all_are_told(tmp_path, capsys):
    PatchStore.describe(tmp_path, settings=TileSettings().model_dump(mode="json"), slides={})
    assert main(["store", "info", str(tmp_path)]) == 0
    assert "no slide is finished yet" in capsys.readouterr().out
    assert main(["store", "info", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_the_windows_of_slides_to_come_are_estimated_from_those_planned():
    windows = WindowsToPredict(slides=4)
    assert windows.add(100) == 400
    windows.end(SlideOutcome(slide="a", status="skipped"))
    assert windows.add(40) == 210  # three slides of 70
    windows.end(SlideOutcome(slide="b", status="done"))
    assert (windows.add(10), windows.ended) == (150, 2)


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
