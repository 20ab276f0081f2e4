"""The command line as such: statuses, one-line errors, settings from options and YAML, home
folders, what a stopped command says."""

import signal
from pathlib import Path

import numpy as np
import pytest
from command_lines import HERE, SMALL, write_cohort
from conftest import position_coded, stained_slide, write_tiff
from gigaslide.batch import BatchSettings, BatchSummary, SlideOutcome, describe_workers
from gigaslide.batch.stop import Stopped
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.wsi import Detections


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
        (["tile", "nowhere.csv", "store"], "nowhere.csv: no such file, expected a cohort CSV"),
        (["tile", ".", "store"], ".: is a folder, expected a cohort CSV; gigaslide cohort . "),
        (["train", "nowhere", "model"], "gigaslide tile"),
        (["predict", "nowhere.tif", "nowhere", "out"], "nowhere: no such folder"),
        (["evaluate", "nowhere.csv", "p", "r"], "nowhere.csv"),
        (["cohort", "nowhere"], "nowhere"),
        (["tile"], "COHORT is missing"),
        (["features", "cohort.csv", "out"], "--encoder is missing"),
        (["model", "info", "nowhere"], "nowhere: no such folder"),
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


def test_a_scale_that_no_scanner_has_is_told_by_every_stage_that_runs_alone(tmp_path, capfd):
    write_tiff(tmp_path / "off.tif", stained_slide(1), mpp=0.05)
    cohort = write_cohort(tmp_path, ["off.tif,,normal,a,train,"])
    for _ in range(2):  # the second time nothing is made
        main(["tile", str(cohort), str(tmp_path / "store"), *SMALL])
        assert capfd.readouterr().err.count("0.05 µm/px at level 0") == 1


def test_choices_among_numbers_are_taken_as_words(tmp_path, capsys):
    arguments = ["--slides", "1", "--size-px", "400", "--tile-px", "128", *HERE]
    assert main(["phantom", str(tmp_path / "out"), *arguments]) == 0
    assert main(["predict", "s.tif", "nowhere", str(tmp_path / "p"), "--orientations", "1"]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_fault_36_a_stopped_command_says_how_to_go_on(
    tmp_path, monkeypatch, capsys, number, status
):
    def stopped(*_):
        raise Stopped(number)

    monkeypatch.setattr("gigaslide.cohort.Cohort.load", stopped)
    assert main(["tile", str(write_cohort(tmp_path, [])), str(tmp_path / "store")]) == status
    assert "run the same command again" in capsys.readouterr().err
